"""`run-recorder sentinel watch`, as a user runs it: real folders, real processes, real signals."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ..hosts import CLI, cli, free_port
from .watching import Watcher, frames, listed, marker, put

QUICK = ("--stable-seconds", "0.5", "--scan-interval", "0.2")
READY = "ready"


@pytest.fixture
def watch() -> Iterator[Callable[..., Watcher]]:
    """A function that starts a watcher over a folder, and comes back once it watches."""
    started: list[Watcher] = []

    def start(folder: Path, *arguments: str) -> Watcher:
        put(folder, f"{READY}.png")
        watcher = Watcher(str(folder), *QUICK, *arguments)
        started.append(watcher)
        watcher.until(lambda: watcher.marked(READY))
        return watcher

    yield start
    for watcher in started:
        if watcher.process.poll() is None:
            watcher.end(signal.SIGTERM)


def once(folder: Path, *arguments: str):  # type: ignore[no-untyped-def]
    return cli("sentinel", "watch", str(folder), "--once", *arguments)


# --- once


def test_once_marks_what_is_complete_and_ends(tmp_path: Path) -> None:
    put(tmp_path, *frames("a", 3), *frames("sub/b", 2))
    done = once(tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    told = {Path(line["Path"]).name: line for line in map(json.loads, done.stdout.splitlines())}
    assert set(told) == {"a.done", "b.done"}
    assert {key: value for key, value in told["a.done"].items() if key != "Path"} == marker(tmp_path, "a")
    assert marker(tmp_path / "sub", "b")["FrameCount"] == 2
    assert {"Producer": "sentinel", "PromptId": None, "Status": "success"}.items() <= told["a.done"].items()
    assert {path.name for path in tmp_path.iterdir()} == {*frames("a", 3), "a.done", "sub"}, "something was left"


def test_once_leaves_alone_what_is_right_and_what_is_young(tmp_path: Path) -> None:
    put(tmp_path, *frames("a", 3))
    put(tmp_path, *frames("young", 3), age=0)
    assert once(tmp_path, "--stable-seconds", "3600").returncode == 0
    assert marker(tmp_path, "a") is None
    put(tmp_path, *frames("a", 3), age=7200)
    assert once(tmp_path, "--stable-seconds", "3600").returncode == 0
    before = (tmp_path / "a.done").stat()
    again = once(tmp_path, "--stable-seconds", "3600", "--json")
    assert (again.returncode, again.stdout) == (0, "")
    assert (tmp_path / "a.done").stat().st_mtime_ns == before.st_mtime_ns
    assert marker(tmp_path, "young") is None


def test_a_group_of_too_few_files_gets_no_marker(tmp_path: Path) -> None:
    put(tmp_path, *frames("few", 2), *frames("enough", 3))
    done = once(tmp_path, "--min-frames", "3")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "1 marked, 1 not complete, 0 failed")
    assert marker(tmp_path, "few") is None
    assert marker(tmp_path, "enough")["FrameCount"] == 3


@pytest.mark.skipif(sys.platform == "win32", reason="rights of folders are others there")
@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_once_names_a_folder_that_may_not_be_read(tmp_path: Path, mode: int) -> None:
    put(tmp_path, *frames("closed/a", 2), *frames("open/b", 2))
    without = ["setpriv", *(f"--{which}=-dac_override,-dac_read_search" for which in ("bounding-set", "inh-caps"))]
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root reads everything, and there is no setpriv")
    command = [*(without if os.geteuid() == 0 else []), *CLI, "sentinel", "watch", str(tmp_path), "--once"]
    (tmp_path / "closed").chmod(mode)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    finally:
        (tmp_path / "closed").chmod(0o755)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        "1 marked, 0 not complete, 0 failed, 1 can't be marked",
    )
    assert f"{tmp_path / 'closed'} can't be looked into (Permission denied)" in done.stderr
    assert marker(tmp_path / "open", "b")


def test_no_recursive_leaves_folders_below_alone(tmp_path: Path) -> None:
    put(tmp_path, *frames("a", 1), *frames("sub/b", 1))
    assert once(tmp_path, "--no-recursive").returncode == 0
    assert marker(tmp_path, "a") is not None
    assert marker(tmp_path / "sub", "b") is None


def test_the_contracts_examples_of_grouping(tmp_path: Path) -> None:
    of_a = ["a_00001_.png", "a_00001.flac", "a_100000_.png", "a_00001-audio.mp4", "a-00001.png", "a00001.png"]
    put(tmp_path, *of_a, "a.0001.exr", "a_b_00001_.png", "render_1080.png", ".a_00002_.png", "a_00003_.png.tmp")
    put(tmp_path, "b_0_00001_.png", "b_0_00002_.png", "b_1_00001_.png")  # %batch_num%
    assert once(tmp_path).returncode == 0
    assert listed(marker(tmp_path, "a")) == {*of_a, "a.0001.exr"}
    assert listed(marker(tmp_path, "a_b")) == {"a_b_00001_.png"}
    assert listed(marker(tmp_path, "render_1080")) == {"render_1080.png"}
    assert listed(marker(tmp_path, "b_0")) == {"b_0_00001_.png", "b_0_00002_.png"}
    assert listed(marker(tmp_path, "b_1")) == {"b_1_00001_.png"}
    assert len(list(tmp_path.glob("*.done"))) == 5


def test_beside_the_nodes_marker_nothing_is_written(tmp_path: Path) -> None:
    put(tmp_path, *frames("a", 2))
    nodes = {"Timestamp": "2026-08-01T10:20:30.456Z", "FrameCount": 2, "Producer": "node", "PromptId": "p"}
    (tmp_path / "a.done").write_text(json.dumps(nodes), "utf-8")
    assert once(tmp_path).returncode == 0
    assert marker(tmp_path, "a") == nodes


# --- bad use


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--stable-seconds", "0"),
        ("--stable-seconds", "-1"),
        ("--stable-seconds", "nan"),
        ("--stable-seconds", "soon"),
        ("--scan-interval", "0"),
        ("--scan-interval", "inf"),
        ("--min-frames", "0"),
        ("--metrics-port", "70000"),
        ("--comfyui", "ftp://x"),
    ],
)
def test_a_bad_number_is_bad_use_and_named(tmp_path: Path, option: str, value: str) -> None:
    done = once(tmp_path, option, value)
    assert done.returncode == 2
    assert option in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


def test_a_file_or_nothing_instead_of_a_folder_is_bad_use(tmp_path: Path) -> None:
    put(tmp_path, "file.png")
    for path in (tmp_path / "file.png", tmp_path / "nowhere"):
        done = once(path)
        assert done.returncode == 2
        assert path.name in "".join((done.stdout + done.stderr).split("\n"))
    assert cli("sentinel", "watch").returncode == 2


# --- watching


@pytest.mark.parametrize("how", [(), ("--polling",)], ids=["events", "polling"])
def test_a_marker_comes_after_the_last_frame_and_a_grown_group_gets_a_new_one(
    tmp_path: Path, watch: Callable[..., Watcher], how: tuple[str, ...]
) -> None:
    watcher = watch(tmp_path, *how)
    put(tmp_path, *frames("シーン 1/shot", 5), age=0)
    shots = tmp_path / "シーン 1"
    watcher.until(lambda: watcher.marked("shot"))
    assert listed(marker(shots, "shot")) == {Path(name).name for name in frames("shot", 5)}
    put(shots, *frames("shot", 2, first=6), age=0)
    watcher.until(lambda: listed(marker(shots, "shot")) == set(frames("shot", 7)))
    assert "replaces a marker" in marker(shots, "shot")["Notes"][0]
    watcher.until(lambda: [line["FrameCount"] for line in watcher.marked("shot")] == [5, 7])  # told once it is there
    assert watcher.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("how", [(), ("--polling",)], ids=["events", "polling"])
def test_a_folder_may_go_and_come_back(tmp_path: Path, watch: Callable[..., Watcher], how: tuple[str, ...]) -> None:
    folder = tmp_path / "out"
    watcher = watch(folder, *how)
    shutil.rmtree(folder)
    watcher.until(lambda: any("not there" in line for line in watcher.errors))
    put(folder, *frames("back", 2))
    watcher.until(lambda: watcher.marked("back"))
    put(folder, *frames("later", 2), age=0)
    watcher.until(lambda: watcher.marked("later"))


def test_a_second_watcher_is_told_who_watches(tmp_path: Path, watch: Callable[..., Watcher]) -> None:
    first = watch(tmp_path)
    second = once(tmp_path)
    assert second.returncode == 2
    assert str(first.process.pid) in second.stdout + second.stderr
    first.process.kill()
    first.end()
    assert once(tmp_path).returncode == 0, "a dead watcher holds no lock"


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_signals_end_it_cleanly(tmp_path: Path, watch: Callable[..., Watcher], number: int, code: int) -> None:
    watcher = watch(tmp_path)
    assert watcher.end(number) == code
    assert not watcher.errors
    assert {path.name for path in tmp_path.iterdir()} == {f"{READY}.png", f"{READY}.done"}


def test_metrics_are_served_and_count(tmp_path: Path, watch: Callable[..., Watcher]) -> None:
    port = free_port()
    watcher = watch(tmp_path, "--metrics-port", str(port))
    put(tmp_path, *frames("a", 2), age=0)
    watcher.until(lambda: watcher.marked("a"))

    def scraped() -> dict[tuple[str, tuple[str, ...]], float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            return {(s.name, tuple(s.labels.values())): s.value for f in families for s in f.samples}

    watcher.until(lambda: scraped()["run_recorder_sentinel_open_groups", ()] == 0)
    told = scraped()
    assert told["run_recorder_sentinel_markers_total", ("success",)] == 2
    assert told["run_recorder_sentinel_failures_total", ()] == 0
    assert told["run_recorder_sentinel_delay_seconds_count", ()] == 2
    assert told["run_recorder_sentinel_scans_total", ("start",)] == 1
    modes = [told["run_recorder_sentinel_folders", (mode,)] for mode in ("events", "polling", "waiting")]
    assert modes.count(1) == 1


def test_a_burst_loses_nothing(tmp_path: Path, watch: Callable[..., Watcher]) -> None:
    watcher = watch(tmp_path)
    writers = [threading.Thread(target=put, args=(tmp_path, *frames(f"g{n}", 1500)), kwargs={"age": 0}) for n in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    for name in ("g1", "g2"):
        watcher.until(lambda name=name: len(listed(marker(tmp_path, name))) == 1500, 30)
