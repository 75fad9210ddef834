"""Every command against a server that answers oddly, in every way there is: a clear sentence, bounded, no traceback."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from run_recorder.runner.validate import validate_run

from .server import WAYS, HostileServer, hostile_disk

if not sys.platform.startswith("linux"):
    pytest.skip("the memory of a process is read from /proc", allow_module_level=True)

DRIVER = Path(__file__).parent / "drive.py"
PROCESSES = 6
MOST_MEMORY = 200 * 2**20
MOST_SECONDS = 60.0
"""That a single command may take: its policy gives it about three, and eight processes share two cores here."""
pytestmark = pytest.mark.timeout(900)
SECRET = b"a secret of somebody else"
ODD = [way for way in WAYS if way != "good"]
POLICY = {
    "max-wait-seconds": 2,
    "history-poll-interval-seconds": 1,
    "post-execution-timeout-seconds": 1,
    "scene-retry-budget": 0,
    "done-marker-timeout-seconds": 1,
    "stability-seconds": 1,
    "stability-retries": 0,
    "frame-wait-timeout-seconds": 3,
}
KNOBS = [part for name, value in POLICY.items() for part in (f"--{name}", str(value))]
PATIENT = [*KNOBS, "--max-wait-seconds", "12"]
"""Where the good server has to answer in time: it shares two cores with clients that unpack bombs."""
FEW_PROCESSES = 3
LARGE = (
    "history-brackets",
    "history-bomb",
    "history-endless",
    "names-50000",
    "ws-outputs",
    "classes-wide",
    "classes-brackets",
    "view-large-picture",
)
GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {}},
    "2": {"class_type": "SaveImage", "inputs": {"filename_prefix": "a", "images": ["1", 0]}},
}
SCENE = {
    "1": {"class_type": "EmptyImage", "inputs": {"text": "__SCENE_PROMPT__"}},
    "2": {"class_type": "SaveImage", "inputs": {"filename_prefix": "__SCENE_PREFIX__", "images": ["1", 0]}},
}
Case = tuple[str, list[str], dict[str, str]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HostileServer]:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    made = HostileServer(hostile_disk(tmp_path / "disk", secret))
    yield made
    made.stop()


def drive(cases: list[Case], processes: int = PROCESSES) -> dict[str, dict[str, Any]]:
    """Run them in several processes at once; what became of each by its name, and no process had too much memory."""

    def some(part: list[Case]) -> list[dict[str, Any]]:
        done = subprocess.run(
            [sys.executable, str(DRIVER)],
            input=json.dumps(part),
            capture_output=True,
            text=True,
            timeout=840,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return [json.loads(line) for line in done.stdout.splitlines()]

    parts = [cases[number::processes] for number in range(processes)]
    with ThreadPoolExecutor(processes) as threads:
        told = [one for lines in threads.map(some, parts) for one in lines]
    found = {one["name"]: one for one in told if "name" in one}
    assert set(found) == {case[0] for case in cases}
    return found


def faults(found: dict[str, dict[str, Any]], codes: tuple[int, ...]) -> list[str]:
    """Each way in which a command did what none may."""
    wrong = []
    before = 0
    for name, one in found.items():
        if one["failure"] is not None or "Traceback" in one["error"]:
            wrong.append(f"{name}: {one['failure'] or one['error']}")
        elif one["code"] not in codes:
            wrong.append(f"{name}: exit {one['code']}: {one['out'][-500:]} {one['error'][-500:]}")
        elif one["seconds"] > MOST_SECONDS:
            wrong.append(f"{name}: took {one['seconds']:.0f} s")
        if one["memory"] > MOST_MEMORY and (not before or one["memory"] != before):
            wrong.append(f"{name}: {one['memory'] / 2**20:.0f} MiB")
            before = one["memory"]
    return wrong


def nothing_got_out(server: HostileServer, tmp_path: Path, within: set[str]) -> None:
    """No file beside those that were asked for, nobody's secret in them, no request to where redirects lead."""
    assert {path.name for path in tmp_path.iterdir()} <= within | {"secret", "disk"}
    assert (tmp_path / "secret").read_bytes() == SECRET
    assert server.trapped == 0, "a redirect was followed"
    for path in tmp_path.rglob("*"):
        if path.is_file() and not path.is_symlink() and "disk" not in path.parts and path.stat().st_size < 10**6:
            assert path.name == "secret" or SECRET not in path.read_bytes(), path


def test_there_are_ways_enough() -> None:
    assert len(ODD) >= 40


def test_queue(server: HostileServer, tmp_path: Path) -> None:
    graph = tmp_path / "graph.json"
    graph.write_text(json.dumps(GRAPH), "utf-8")
    cases: list[Case] = []
    for way in WAYS:
        where = [
            "--output",
            str(tmp_path / "queue" / way / "out"),
            "--runs-dir",
            str(tmp_path / "queue" / way / "runs"),
        ]
        more = ["--wait-for-done-marker"] if way.startswith("marker") else []
        arguments = ["queue", str(graph), "--comfyui", server.url(way), *where, "--json", *KNOBS, *more]
        cases.append((way, arguments, {}))
    found = drive(cases)
    assert faults(found, (0, 1, 2)) == []
    assert found["good"]["code"] == 0, found["good"]
    for way, one in found.items():
        told = json.loads(one["out"])
        assert set(told) >= {"error"} or set(told) == {"PromptId", "Success", "Files", "Telemetry", "Error"}, way
        folders = [path for path in (tmp_path / "queue" / way).glob("runs/2*") if path.is_dir()]
        for folder in folders:
            if "error" not in told or told["error"]["type"] == "refused":
                assert (folder / "artifact-metadata.json").exists(), way
                wrong = [line for line in validate_run(folder).errors if "Total frames" not in line]
                assert wrong == [], way
                assert list(folder.glob("*.zip")), way
    nothing_got_out(server, tmp_path, {"graph.json", "queue"})


def scenes_of(out: str) -> list[dict[str, Any]]:
    return list(json.loads(out or "{}").get("Scenes", ()))


def test_run_of_two_servers_of_which_one_is_hostile(server: HostileServer, tmp_path: Path) -> None:
    graph, story = tmp_path / "graph.json", tmp_path / "story.json"
    graph.write_text(json.dumps(SCENE), "utf-8")
    scenes = [{"id": f"scene-{number:03}", "prompt": f"p{number}"} for number in (1, 2)]
    story.write_text(json.dumps({"id": "s", "logline": "A light.", "scenes": scenes}), "utf-8")
    cases: list[Case] = []
    for way in WAYS:
        arguments = ["run", "--story", str(story), "--workflow", str(graph), "--runs-dir", str(tmp_path / "runs" / way)]
        arguments += ["--comfyui", server.url(way), "--comfyui", server.url("good"), "--json", *PATIENT]
        cases.append((way, arguments, {}))
    found = drive(cases, FEW_PROCESSES)
    late = [case for case in cases if not any(one["Success"] for one in scenes_of(found[case[0]]["out"]))]
    for case in late:
        shutil.rmtree(tmp_path / "runs" / case[0], ignore_errors=True)
    found |= drive(late, 1)  # the good server, too, did not answer in time: asked again with nobody beside
    assert faults(found, (0, 1)) == []
    assert found["good"]["code"] == 0, found["good"]
    for way, one in found.items():
        told = json.loads(one["out"])
        (folder,) = [path for path in (tmp_path / "runs" / way).iterdir() if path.is_dir()]
        assert any(scene["Success"] for scene in told["Scenes"]), (way, "the good server's scene was lost, too")
        for scene in told["Scenes"]:
            assert scene["Success"] or (scene["Errors"] and all(len(line) < 5000 for line in scene["Errors"])), way
        assert (folder / "report.html").exists(), way
        assert list(folder.glob("*.zip")), way
        assert [line for line in validate_run(folder).errors if "Total frames" not in line] == [], way
    nothing_got_out(server, tmp_path, {"graph.json", "story.json", "runs"})


def test_a_run_of_servers_that_all_send_too_much_keeps_its_memory(server: HostileServer, tmp_path: Path) -> None:
    graph, story = tmp_path / "graph.json", tmp_path / "story.json"
    graph.write_text(json.dumps(SCENE), "utf-8")
    scenes = [{"id": f"scene-{number:03}", "prompt": f"p{number}"} for number in range(1, 7)]
    story.write_text(json.dumps({"id": "s", "logline": "A light.", "scenes": scenes}), "utf-8")
    arguments = ["run", "--story", str(story), "--workflow", str(graph), "--runs-dir", str(tmp_path / "runs"), *KNOBS]
    for way in LARGE:
        arguments += ["--comfyui", server.url(way)]
    found = drive([("many", [*arguments, "--json"], {})])
    assert faults(found, (1,)) == []


def test_preflight(server: HostileServer, tmp_path: Path) -> None:
    graph = tmp_path / "graph.json"
    graph.write_text(json.dumps(GRAPH), "utf-8")
    cases: list[Case] = [
        (
            way,
            ["preflight", "--workflow", str(graph), "--output", str(tmp_path), "--comfyui", server.url(way), "--json"],
            {},
        )
        for way in WAYS
    ]
    found = drive(cases)
    assert faults(found, (0, 1)) == []
    assert found["good"]["code"] == 0, found["good"]
    assert all({"Passed", "Checks"} == set(json.loads(one["out"])) for one in found.values())


def test_prompts_and_gpu(server: HostileServer) -> None:
    asking = (["list"], ["show", "p"], ["wait", "p", "--timeout", "1"], ["follow", "p"])
    ways = [way for way in WAYS if way.startswith(("all", "record", "events", "good"))]
    cases: list[Case] = [
        (f"{way}: {words[0]}", ["prompts", *words, "--comfyui", server.url(way)], {})
        for way in ways
        for words in asking
    ]
    cases += [(f"{way}: gpu", ["gpu", "--comfyui", server.url(way)], {}) for way in WAYS]
    cases = [case for case in cases if case[0] not in FOREVER]
    found = drive(cases)
    assert faults(found, (0, 1, 2)) == []


FOREVER = ("events-endless-line: follow",)
"""A stream that breaks is opened again, for as long as somebody looks: it ends with Ctrl-C."""


def test_the_sentinels_client(server: HostileServer) -> None:
    found = drive([(way, ["sentinel-client", server.url(way)], {}) for way in WAYS])
    assert faults(found, (0,)) == []


def test_a_token_goes_to_nobody_but_the_server_that_was_named(server: HostileServer, tmp_path: Path) -> None:
    graph = tmp_path / "graph.json"
    graph.write_text(json.dumps(GRAPH), "utf-8")
    cases: list[Case] = []
    for way in ("all-redirected", "ws-redirected", "history-redirected", "view-redirected"):
        arguments = ["queue", str(graph), "--comfyui", server.url(way), "--output", str(tmp_path / way), *KNOBS]
        cases.append((way, arguments, {"RUN_RECORDER_TOKEN": "secret "}))
    drive(cases)
    assert server.trapped == 0
    assert {token for _, token in server.tokens} == {"Bearer secret"}


def test_it_took_no_longer_than_it_may(server: HostileServer, tmp_path: Path) -> None:
    """An endless file ends at the policy's time, and leaves nothing on the disk."""
    graph = tmp_path / "graph.json"
    graph.write_text(json.dumps(GRAPH), "utf-8")
    free, began = shutil.disk_usage(tmp_path).free, time.monotonic()
    arguments = [
        "queue",
        str(graph),
        "--comfyui",
        server.url("view-endless"),
        "--output",
        str(tmp_path / "out"),
        *KNOBS,
    ]
    found = drive([("view-endless", arguments, {})])
    assert faults(found, (1,)) == []
    assert time.monotonic() - began < MOST_SECONDS
    assert list((tmp_path / "out").rglob("*")) == []
    assert free - shutil.disk_usage(tmp_path).free < 2**30
