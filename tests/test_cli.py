"""The command line, as a user runs it."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest
from run_recorder.runner.process_guard import listens

from .graphs import failing, saved, slow_then_saved
from .hosts import CLI, Host, cli, free_port

NOWHERE = "http://127.0.0.1:9"


def error_of(done: subprocess.CompletedProcess) -> dict:
    """The one JSON document on standard output, which is an error."""
    body = json.loads(done.stdout)
    assert set(body) == {"error"}
    assert {"type", "message"} <= set(body["error"])
    return body["error"]


# --- prompts


def test_list_show_and_wait_print_tables_for_people(host: Host, folder: str) -> None:
    record = host.run(saved(f"{folder}/a", marker={}))
    for arguments in (("list",), ("show", record["prompt_id"]), ("wait", record["prompt_id"])):
        done = cli("prompts", *arguments, "--comfyui", host.url)
        assert done.returncode == 0, done.stderr
        assert record["prompt_id"] in done.stdout, "an id that is cut can't be given to the other commands"
        assert "success" in done.stdout
    assert "a_00001_.png" in cli("prompts", "show", record["prompt_id"], "--comfyui", host.url).stdout


def test_json_is_the_record_and_nothing_else(host: Host, folder: str) -> None:
    record = host.run(saved(f"{folder}/a", marker={}))
    for command in ("show", "wait"):
        done = cli("prompts", command, record["prompt_id"], "--json", env={"COMFYUI_URL": host.url})
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == record
    done = cli("prompts", "list", "--json", "--comfyui", host.url)
    assert record in json.loads(done.stdout)["items"]


def test_wait_waits(host: Host, folder: str) -> None:
    prompt_id = host.queue(slow_then_saved(f"{folder}/a", 2))
    done = cli("prompts", "wait", prompt_id, "--json", "--comfyui", host.url)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "success"
    assert host.path(f"{folder}/a.done").exists()


def test_waiting_for_a_prompt_that_fails_is_work_that_failed(host: Host, folder: str) -> None:
    prompt_id = host.queue(failing(f"{folder}/a"))
    done = cli("prompts", "wait", prompt_id, "--json", "--comfyui", host.url)
    assert done.returncode == 1
    assert json.loads(done.stdout)["status"] == "error"


def test_an_unknown_prompt_is_nothing_to_work_on(host: Host) -> None:
    for command in ("show", "wait"):
        done = cli("prompts", command, "nosuch", "--json", "--comfyui", host.url)
        assert done.returncode == 2
        assert error_of(done)["type"] == "not_found"
        plain = cli("prompts", command, "nosuch", "--comfyui", host.url)
        assert plain.returncode == 2
        assert plain.stdout == ""
        assert "nosuch" in plain.stderr


def test_without_a_server_there_is_nothing_to_work_with() -> None:
    done = cli("prompts", "list", "--json", "--comfyui", NOWHERE)
    assert done.returncode == 2
    assert NOWHERE in error_of(done)["message"]
    plain = cli("prompts", "list", "--comfyui", NOWHERE)
    assert (plain.returncode, plain.stdout) == (2, "")
    assert NOWHERE in plain.stderr
    assert "Traceback" not in plain.stderr


@pytest.mark.parametrize(
    "arguments",
    [("nosuch",), ("prompts",), ("prompts", "show"), ("prompts", "list", "--nosuch"), ("mark",)],
)
def test_bad_use_exits_with_2(arguments: tuple[str, ...]) -> None:
    done = cli(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_bad_use_with_json_is_an_error_as_json() -> None:
    done = cli("prompts", "list", "--json", "--limit", "x")
    assert done.returncode == 2
    assert error_of(done)


def test_help_names_every_command() -> None:
    done = cli("--help")
    assert done.returncode == 0
    for command in ("demo", "prompts", "mark"):
        assert command in done.stdout


# --- mark


def files(folder: Path, count: int, prefix: str = "a") -> None:
    for number in range(1, count + 1):
        (folder / f"{prefix}_{number:05}_.png").write_bytes(b"x" * number)


@pytest.mark.parametrize("size", ["0", "00", "-5", "\N{SUPERSCRIPT TWO}", "abc", "", "9" * 30])
@pytest.mark.parametrize("name", ["COLUMNS", "LINES"])
def test_a_size_of_the_terminal_that_is_none_is_not_believed(name: str, size: str, tmp_path: Path) -> None:
    done = cli("--version", env={name: size})
    assert (done.returncode, done.stdout.split()[:1]) == (0, ["run-recorder"]), done.stderr
    failed = cli("mark", str(tmp_path / "no" / "a"), env={name: size})
    assert (failed.returncode, "is no folder" in failed.stderr) == (2, True)


def test_mark_writes_a_marker(tmp_path: Path) -> None:
    files(tmp_path, 3)
    files(tmp_path, 2, "a_b")
    done = cli("mark", tmp_path / "a", "--frames", "3", "--json")
    assert done.returncode == 0, done.stderr
    marker = json.loads((tmp_path / "a.done").read_text("utf-8"))
    assert json.loads(done.stdout)
    assert (marker["FrameCount"], marker["Status"], marker["Producer"]) == (3, "success", "cli")
    assert marker["PromptId"] is None
    assert [file["Name"] for file in marker["Files"]] == [f"a_{n:05}_.png" for n in (1, 2, 3)]
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix != ".png") == ["a.done"]


@pytest.mark.parametrize("count", [2, 4])
def test_mark_refuses_any_other_number_of_files(tmp_path: Path, count: int) -> None:
    files(tmp_path, 3)
    done = cli("mark", tmp_path / "a", "--frames", str(count), "--json")
    assert done.returncode == 1
    assert "3" in error_of(done)["message"]
    assert not list(tmp_path.glob("*.done"))


def test_mark_with_a_status_of_failure_writes_failed_and_takes_the_other_away(tmp_path: Path) -> None:
    files(tmp_path, 1)
    assert cli("mark", tmp_path / "a").returncode == 0
    assert cli("mark", tmp_path / "a", "--status", "error").returncode == 0
    assert json.loads((tmp_path / "a.failed").read_text("utf-8"))["Status"] == "error"
    assert not (tmp_path / "a.done").exists()
    assert cli("mark", tmp_path / "a", "--status", "success").returncode == 0
    assert not (tmp_path / "a.failed").exists()


@pytest.mark.parametrize("prompt_id", ["", "x" * 100_000])
def test_mark_takes_no_id_that_no_record_has(tmp_path: Path, prompt_id: str) -> None:
    files(tmp_path, 1)
    done = cli("mark", tmp_path / "a", "--prompt-id", prompt_id)
    assert (done.returncode, "it is recorded under" in done.stderr) == (2, True)
    assert not (tmp_path / "a.done").exists()
    assert cli("mark", tmp_path / "a", "--prompt-id", "x" * 200).returncode == 0


def test_mark_says_no_to_what_it_cannot_do(tmp_path: Path) -> None:
    for arguments in (
        (tmp_path / "a", "--status", "finished"),
        (tmp_path / "a", "--frames", "x"),
        (tmp_path / "a", "--frames", "-1"),
        (tmp_path / "nosuch" / "a",),
        (tmp_path / "con",),
        (tmp_path / ("x" * 300),),
    ):
        done = cli("mark", *arguments, "--json")
        assert done.returncode == 2, arguments
        assert error_of(done)["message"]
    assert list(tmp_path.iterdir()) == []


# --- demo


def test_the_demo_records_marks_and_prints(tmp_path: Path) -> None:
    done = cli("demo", "--once", env={"HOME": str(tmp_path), "TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert ".done" in done.stdout
    assert "success" in done.stdout
    assert "Traceback" not in done.stderr


def test_the_demo_runs_a_story_of_three_scenes_and_validates_it(tmp_path: Path) -> None:
    done = cli("demo", "--once", "--json", "--dir", tmp_path / "demo")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [(scene["Success"], scene["FrameCount"]) for scene in told["run"]["Scenes"]] == [(True, 3)] * 3
    assert told["run"]["Validation"] == {"Passed": True, "Errors": [], "Warnings": []}
    assert told["marker"]["FrameCount"] == 3
    assert told["prompt"]["batch"]["scene_id"] == "scene-003"
    assert Path(told["run"]["Report"]).read_text("utf-8").startswith("<!doctype html>")
    assert cli("validate", told["run"]["RunDir"]).stdout.startswith("run-summary validation: PASS")
    assert not (tmp_path / "demo" / "server.json").exists()


def test_the_demo_talks_to_no_server_that_it_did_not_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        stranger.settimeout(0.2)
        port = stranger.getsockname()[1]
        done = cli("demo", "--once", "--json", "--port", str(port), "--dir", tmp_path / "demo")
        assert (done.returncode, error_of(done)["type"]) == (2, "conflict")
        assert f"--port {port}" in error_of(done)["message"] and "listens" in error_of(done)["message"]
        asked = 0
        with contextlib.suppress(TimeoutError, socket.timeout):
            while True:
                connection, _ = stranger.accept()
                connection.settimeout(0.2)
                with connection, contextlib.suppress(OSError):
                    asked += len(connection.recv(100))
        assert asked == 0, "it asked a stranger"


def test_a_port_is_a_process_s_own_only_where_that_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours:
        port = ours.getsockname()[1]
        assert listens(os.getpid(), port)
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
            assert not listens(other.pid, port)
            other.communicate(b"\n", timeout=20)
    assert not listens(os.getpid(), port)


def test_the_demo_goes_on_until_it_is_interrupted(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("Ctrl-C can't be sent to one process here")
    demo = subprocess.Popen(
        [*CLI, "demo", "--port", str(free_port()), "--dir", str(tmp_path / "demo")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    said: list[str] = []
    assert demo.stdout is not None
    reader = threading.Thread(target=lambda: said.extend(iter(demo.stdout.readline, "")), daemon=True)
    reader.start()
    try:
        deadline = time.monotonic() + 60
        while "http://" not in "".join(said) and time.monotonic() < deadline and demo.poll() is None:
            time.sleep(0.1)
        second = cli("demo", "--once", "--json", "--dir", tmp_path / "demo")
        assert (second.returncode, json.loads(second.stdout)["error"]["type"]) == (2, "conflict")
        assert "a demo that runs has" in second.stderr + second.stdout
        assert demo.poll() is None, "it ended by itself"
        demo.send_signal(2)
        assert demo.wait(20) in (0, 130)
    finally:
        demo.kill()
        demo.wait()
    assert "Traceback" not in (demo.stderr.read() if demo.stderr else "")


def test_a_demo_in_the_place_of_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", "utf-8")
    done = cli("demo", "--once", "--dir", tmp_path / "file")
    assert (done.returncode, "is no folder" in done.stderr) == (1, True)
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "demo.lock").symlink_to(tmp_path / "file")
    done = cli("demo", "--once", "--dir", tmp_path / "base")
    assert (done.returncode, "is a link" in done.stderr) == (1, True)
    assert (tmp_path / "file").read_text("utf-8") == "mine"


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_names_in_any_script_are_printed_on_any_console(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "絵_00001_.png").write_bytes(b"x")
    done = cli("mark", tmp_path / "絵", *options, env={"PYTHONIOENCODING": "cp1252"})
    assert (done.returncode, done.stderr) == (0, "")
    shown = "絵" if options else "\\u7d75"
    assert f"{shown}.done" in done.stdout


def test_the_beginning_of_an_id_will_do_where_only_one_prompt_has_it(host: Host, folder: str) -> None:
    start = uuid.uuid4().hex[:7]
    ids = [str(uuid.UUID(f"{start}{last}{uuid.uuid4().hex[8:]}")) for last in "01"]
    for prompt_id in ids:
        host.wait(host.queue(saved(f"{folder}/a"), prompt_id=prompt_id))
    at = ("--comfyui", host.url)
    for words in (("prompts", "show"), ("prompts", "wait"), ("prompts", "follow"), ("why",)):
        shown = cli(*words, ids[0][:8], "--json", *at)
        assert shown.returncode == 0, (words, shown.stderr)
        assert ids[0] in shown.stdout
    assert ids[1] in cli("compare", ids[0][:8], ids[1][:12], "--json", *at).stdout
    several = cli("prompts", "show", ids[0][:7], *at)
    assert several.returncode == 2
    assert f"2 prompts begin with {ids[0][:7]!r}" in several.stderr and ids[1] in several.stderr
    never = cli("prompts", "show", "zzzzzzzz", *at)
    assert (never.returncode, "never seen" in never.stderr) == (2, True)
