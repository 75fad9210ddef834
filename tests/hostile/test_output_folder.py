"""An output folder in which somebody else put links, pipes, devices and odd names: each costs its own group at most."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from run_recorder.sentinel import inside
from run_recorder.sentinel.evidence import EndedPrompt, NamedFile
from run_recorder.sentinel.lock import HOLDER_NAME, LOCK_NAME, FolderLock, HeldError
from run_recorder.sentinel.metrics import SentinelMetrics
from run_recorder.sentinel.options import Options
from run_recorder.sentinel.service import Sentinel
from run_recorder.sentinel.standing import read
from run_recorder.telemetry.markers.file import MAX_MARKER_BYTES
from run_recorder.telemetry.process.problems import Problems

from ..hosts import cli
from ..sentinel.watching import Watcher, frames, listed, marker, put, until

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="links and pipes"),
    pytest.mark.timeout(60, func_only=True),
]
OPTIONS = Options(stable_seconds=0.3, scan_interval=0.2)
SECRET = b"somebody else's"
GOOD = set(frames("good", 2))
Odd = Callable[[Path], None]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A folder with a group that nothing is wrong with, beside a secret of another user's."""
    put(tmp_path / "output", *GOOD, *frames("sub/deep", 1))
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "secret").chmod(0o600)
    put(tmp_path / "outside", *frames("out", 1))
    return tmp_path / "output"


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(path.parent)  # a socket's path has at most 108 bytes
        try:
            server.bind(path.name)
        finally:
            os.chdir(here)


def a_device(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("NOT RUN: a device can be made by root alone")
    try:
        os.mknod(path, 0o666 | 0o020000, os.makedev(1, 5))  # as /dev/zero, which never ends
    except PermissionError:
        pytest.skip("NOT RUN: no device may be made here")


def a_link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "secret")


def a_dangling_link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "made")


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def a_link_without_end(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_folder(path: Path) -> None:
    path.mkdir()


def too_large(path: Path) -> None:
    path.touch()
    os.truncate(path, MAX_MARKER_BYTES + 1)


def too_deep(path: Path) -> None:
    path.write_text("[" * 100_000, "utf-8")


ODD: dict[str, Odd] = {
    "a named pipe": a_pipe,
    "a socket": a_socket,
    "a device": a_device,
    "a link": a_link,
    "a link to nothing": a_dangling_link,
    "a link to itself": a_link_to_itself,
    "a link to a device": a_link_without_end,
    "a folder": a_folder,
    "larger": too_large,
    "too deep": too_deep,
}


def untouched(output: Path) -> None:
    secret = output.parent / "secret"
    assert (secret.read_bytes(), secret.stat().st_mode & 0o777) == (SECRET, 0o600)
    assert not (output.parent / "made").exists()
    assert not list((output.parent / "outside").glob("*.done"))


def good_ones_are_marked(output: Path) -> None:
    assert listed(marker(output, "good")) == GOOD
    assert listed(marker(output / "sub", "deep")) == set(frames("deep", 1))
    untouched(output)


@pytest.fixture
def once(output: Path, caplog: pytest.LogCaptureFixture) -> Callable[[Path], str]:
    """One scan, as `sentinel watch --once` makes it, after which the good groups have their markers; what it logs."""

    def scan(folder: Path) -> str:
        sentinel = Sentinel([folder], Options())
        try:
            sentinel.take_locks()
            sentinel.once()
        finally:
            sentinel.stop()
        good_ones_are_marked(output)
        return caplog.text

    return scan


def test_the_command_marks_what_it_can_and_tells_the_rest(output: Path) -> None:
    for number, make in enumerate(make for what, make in ODD.items() if what != "a device"):
        put(output, *frames(f"odd{number}", 1))
        make(output / f"odd{number}.done")
        make(output / f"pic{number}_00001_.png")
    a_dangling_link(output / HOLDER_NAME)
    a_link(output / LOCK_NAME)
    told = cli("sentinel", "watch", output, "--once", timeout=30)
    assert told.returncode == 1
    assert "9 can't be marked" in told.stderr
    good_ones_are_marked(output)
    assert all(f"odd{number}.done" in told.stderr for number in range(9))
    assert "can't be locked (is a link)" in told.stderr


# ---------------------------------------------------------------- markers' names


@pytest.mark.parametrize("name", ["odd.done", "odd.failed"])
@pytest.mark.parametrize("what", ODD)
def test_what_stands_at_a_marker_s_name_costs_its_group_and_is_told(
    output: Path, what: str, name: str, once: Callable[[Path], str]
) -> None:
    put(output, *frames("odd", 2))
    ODD[what](output / name)
    mode = (output / name).lstat().st_mode
    told = once(output)
    assert name in told and "no marker" in told
    assert (output / name).lstat().st_mode == mode, "it stays as it is"
    other = {"odd.done", "odd.failed"} - {name}
    assert not (output / other.pop()).exists()


@pytest.mark.parametrize("what", ["a named pipe", "a link to nothing", "a folder"])
def test_one_whose_files_are_gone_is_told_too(output: Path, what: str, once: Callable[[Path], str]) -> None:
    ODD[what](output / "odd.done")
    assert "odd.done" in once(output)


def test_a_folder_that_is_named_as_a_marker_is_watched_like_any_other(
    output: Path, once: Callable[[Path], str]
) -> None:
    put(output / "odd.done", *frames("in", 2))
    once(output)
    assert listed(marker(output / "odd.done", "in")) == set(frames("in", 2))


SPOILED: dict[str, Any] = {
    "a name of 5,000 letters": [{"Name": "x" * 5000, "Bytes": 1, "Modified": "x"}],
    "a name with NUL": [{"Name": "a\0b", "Bytes": 1, "Modified": "x"}],
    "half a surrogate": [{"Name": "a\udcff\ud800", "Bytes": 1, "Modified": "x"}],
    "a name elsewhere": [{"Name": "../secret", "Bytes": 1, "Modified": "x"}],
    "an absolute name": [{"Name": "/etc/passwd", "Bytes": 1, "Modified": "x"}],
    "a name that is a list": [{"Name": [], "Bytes": 1, "Modified": "x"}],
    "files that are a number": 5,
    "no file": [],
}


@pytest.mark.parametrize("has_files", [True, False])
@pytest.mark.parametrize("what", SPOILED)
def test_a_marker_of_ours_may_say_anything(
    output: Path, what: str, has_files: bool, once: Callable[[Path], str]
) -> None:
    if has_files:
        put(output, *frames("odd", 2))
    told = {"Timestamp": [1], "Producer": "sentinel", "Latest": {}, "PromptId": 7, "Files": SPOILED[what]}
    (output / "odd.done").write_text(json.dumps(told), "utf-8")
    once(output)


def test_a_prompt_s_marker_whose_time_is_no_text_costs_nothing(output: Path) -> None:
    put(output, *frames("odd", 2))
    (output / "odd.done").write_text(json.dumps({"Timestamp": 5, "PromptId": "q", "Files": []}), "utf-8")
    sentinel = Sentinel([output], OPTIONS)
    sentinel.once()
    watch = sentinel.watches[0]
    ended = EndedPrompt("p", "success", tuple(NamedFile("", name) for name in frames("odd", 2)))
    watch.feed.put(ended)
    watch.catch_up()
    assert (marker(output, "odd") or {})["PromptId"] == "p"


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("what", [what for what in ODD if what not in ("larger", "too deep")])
def test_only_regular_files_are_a_group_s(output: Path, what: str, once: Callable[[Path], str]) -> None:
    put(output, *frames("odd", 1))
    ODD[what](output / "odd_00002_.png")
    ODD[what](output / "alone_00001_.png")
    once(output)
    assert listed(marker(output, "odd")) == set(frames("odd", 1))
    assert marker(output, "alone") is None


def test_a_link_to_a_folder_outside_or_in_a_circle_is_not_entered(output: Path, once: Callable[[Path], str]) -> None:
    (output / "away").symlink_to(output.parent / "outside", target_is_directory=True)
    (output / "sub" / "up").symlink_to(output, target_is_directory=True)
    (output / "one").symlink_to("other")
    (output / "other").symlink_to("one")
    once(output)
    assert sorted(path.name for path in output.rglob("*.done")) == ["deep.done", "good.done"]


NAMES = [
    b"\xff_00001_.png",
    b"caf\xe9_00001_.png",
    b"\x1b]0;title\x07_00001_.png",
    b"line\nbreak_00001_.png",
    b"aux_00001_.png",
    b"x" * 247 + b"_001.png",
    b"x" * 251 + b".png",
    "\u202egnp_00001_.png".encode(),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_marker_can_stand_under_is_told(output: Path, name: bytes, once: Callable[[Path], str]) -> None:
    with open(os.fsencode(output) + b"/" + name, "wb") as file:
        file.write(b"x")
    os.utime(os.fsencode(output) + b"/" + name, (1, 1))
    told = once(output)
    is_marked = len(list(output.glob("*.done"))) == 2
    assert is_marked or "no marker" in told
    assert "\x1b" not in told


def test_a_folder_whose_name_is_no_utf_8_has_its_markers(output: Path, once: Callable[[Path], str]) -> None:
    folder = Path(os.fsdecode(os.fsencode(output) + b"/\xff"))
    put(folder, *frames("in", 1))
    once(output)
    assert listed(marker(folder, "in")) == set(frames("in", 1))


# ---------------------------------------------------------------- the sentinel's own files


@pytest.mark.parametrize("what", [what for what in ODD if what not in ("larger", "too deep")])
@pytest.mark.parametrize("name", [HOLDER_NAME, LOCK_NAME])
def test_its_own_files_are_written_through_nothing(
    output: Path, name: str, what: str, once: Callable[[Path], str]
) -> None:
    ODD[what](output / name)
    told = once(output)
    if name == LOCK_NAME:
        assert "can't be locked" in told


@pytest.mark.parametrize("what", ODD)
def test_who_holds_the_folder_is_told_whatever_the_note_of_it_is(output: Path, what: str) -> None:
    held = FolderLock(output)
    held.acquire()
    (output / HOLDER_NAME).unlink()
    ODD[what](output / HOLDER_NAME)
    with pytest.raises(HeldError, match="another sentinel"):
        FolderLock(output).acquire()
    held.release()
    untouched(output)


def test_the_note_of_the_holder_says_no_control_characters_and_little(output: Path) -> None:
    held = FolderLock(output)
    held.acquire()
    (output / HOLDER_NAME).write_text(json.dumps({"pid": 7, "host": "\x1b[2J" + "h" * 3000}), "utf-8")
    with pytest.raises(HeldError, match="process number 7") as told:
        FolderLock(output).acquire()
    held.release()
    assert "\x1b" not in str(told.value) and len(str(told.value)) < 1000


# ---------------------------------------------------------------- as it goes on


def test_pipes_hang_neither_a_watch_nor_its_end(output: Path) -> None:
    for name in ("a.done", "b.failed", HOLDER_NAME):
        os.mkfifo(output / name)
    put(output, *frames("a", 1), *frames("b", 1))
    watcher = Watcher(str(output), "--stable-seconds", "0.5")
    try:
        watcher.until(lambda: marker(output, "good"))
        watcher.until(lambda: sum("no marker" in line for line in watcher.errors) == 2)
    finally:
        assert watcher.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("polling", [False, True])
def test_health_and_metrics_tell_of_it_until_it_is_gone(output: Path, polling: bool) -> None:
    put(output, *frames("odd", 2), *frames("named ", 1))
    os.mkfifo(output / "odd.done")
    problems, metrics = Problems(), SentinelMetrics()
    told = inside._callbacks(SimpleNamespace(problems=problems))  # type: ignore[arg-type]
    sentinel = Sentinel(
        [output],
        Options(stable_seconds=0.3, scan_interval=0.2, polling=polling),
        callbacks=metrics.counting(told),
    )
    sentinel.start()
    try:
        until(lambda: marker(output, "good") and marker(output / "sub", "deep"))
        [problem] = until(problems.all)
        assert problem.what == "sentinel entry"
        assert problems.counts()["sentinel entry"] == 2
        assert metrics.registry.get_sample_value("run_recorder_sentinel_odd_entries_total") == 2
        (output / "odd.done").unlink()
        assert listed(until(lambda: marker(output, "odd"))) == set(frames("odd", 2))
        assert problems.all(), "the other one is still there"
        (output / frames("named ", 1)[0]).unlink()
        until(lambda: not problems.all())
    finally:
        sentinel.stop()


def test_what_a_server_says_of_files_is_looked_for_in_the_folder_alone(output: Path) -> None:
    (output / "away").symlink_to(output.parent / "outside", target_is_directory=True)
    names = [
        NamedFile("", "x" * 5000 + ".png"),
        NamedFile("", "a\0.png"),
        NamedFile("", "\ud800_00001_.png"),
        NamedFile("x" * 5000, "a_00001_.png"),
        NamedFile("\0", "a_00001_.png"),
        NamedFile("../outside", "out_00001_.png"),
        NamedFile("away", "out_00001_.png"),
        NamedFile(str(output.parent / "outside"), "out_00001_.png"),
        NamedFile("", "../outside/out_00001_.png"),
        *(NamedFile("", name) for name in GOOD),
    ]
    sentinel = Sentinel([output], OPTIONS)
    watch = sentinel.watches[0]
    watch.once()
    watch.feed.put(EndedPrompt("p", "success", tuple(names)))
    watch.catch_up()
    told = marker(output, "good") or {}
    assert (told["PromptId"], listed(told)) == ("p", GOOD)
    untouched(output)


def test_a_marker_that_is_replaced_while_it_is_read_is_read(output: Path) -> None:
    """A writer's rename between the look and the opening is no exchange by somebody else."""
    done, beside = output / "a.done", output / "beside"
    done.write_text('{"Timestamp": "x", "Producer": "sentinel"}', "utf-8")
    deadline = time.monotonic() + 0.5
    pid = os.fork()
    if not pid:
        try:
            while time.monotonic() < deadline:
                beside.write_text('{"Timestamp": "x", "Producer": "sentinel"}', "utf-8")
                beside.replace(done)
        finally:
            os._exit(0)
    while time.monotonic() < deadline:
        stands = read(done)
        assert stands is not None and stands.is_ours
    os.waitpid(pid, 0)
