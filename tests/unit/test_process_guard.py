"""What we start we end, by number and time of start; what we didn't start is not touched."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest
from run_recorder.runner.process_guard import Identity, end, end_leftover, started

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(300)"]
STUBBORN = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
"""


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process with the same command line, which somebody else has started."""
    process = subprocess.Popen(SLEEP, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def _started(tmp_path: Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return started(SLEEP, folder=tmp_path, log=tmp_path / "log", note=tmp_path / "note.json")


def test_what_was_started_is_ended_with_the_block_and_a_stranger_of_the_same_name_is_not(
    tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    with _started(tmp_path) as process:
        note = json.loads((tmp_path / "note.json").read_text("utf-8"))
        assert note["pid"] == process.pid
        assert process.poll() is None
    assert process.poll() is not None
    assert not (tmp_path / "note.json").exists()
    assert stranger.poll() is None


def test_it_is_ended_when_the_block_fails_too(tmp_path: Path, stranger: subprocess.Popen[bytes]) -> None:
    with pytest.raises(KeyboardInterrupt), _started(tmp_path) as process:
        raise KeyboardInterrupt
    assert process.poll() is not None
    assert stranger.poll() is None


def test_a_number_that_was_given_to_another_process_is_left_alone(
    tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    note = tmp_path / "note.json"
    note.write_text(json.dumps({"pid": stranger.pid, "started": time.time() - 3600}), "utf-8")
    assert end_leftover(note) is False
    with _started(tmp_path):
        assert stranger.poll() is None
    assert stranger.poll() is None


def test_what_a_killed_owner_left_running_is_ended_by_the_next(
    tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    left = subprocess.Popen(SLEEP, stdout=subprocess.DEVNULL)
    identity = Identity.of(left.pid)
    assert identity is not None
    (tmp_path / "note.json").write_text(json.dumps({"pid": identity.pid, "started": identity.started}), "utf-8")
    with _started(tmp_path) as process:
        assert left.wait(20) is not None
        assert process.poll() is None
    assert stranger.poll() is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x", "started": 1}', '{"pid": 0, "started": 0}'])
def test_a_note_that_says_nothing_ends_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "note.json").write_text(text, "utf-8")
    assert end_leftover(tmp_path / "note.json") is False


@pytest.mark.skipif(sys.platform == "win32", reason="pipes")
def test_a_pipe_in_the_place_of_the_log_or_the_note_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "note.json")
    with _started(tmp_path):
        assert json.loads((tmp_path / "note.json").read_text("utf-8"))["pid"]
    (tmp_path / "log").unlink()
    os.mkfifo(tmp_path / "log")
    with pytest.raises(OSError, match="log is a named pipe"), _started(tmp_path):
        pass
    assert not (tmp_path / "note.json").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_one_that_does_not_listen_is_made_to_end_with_its_children(tmp_path: Path) -> None:
    child = f"{STUBBORN}\ntime.sleep(300)"
    parent = f"{STUBBORN}\nimport subprocess, sys\nc = subprocess.Popen([sys.executable, '-c', {child!r}])"
    parent += "\nprint(c.pid, flush=True)\ntime.sleep(300)"
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    identity, below = Identity.of(process.pid), Identity.of(pid)
    assert identity is not None and below is not None
    assert end(identity, 0.3) is True
    assert process.wait(20) is not None
    process.stdout.close()
    deadline = time.monotonic() + 20
    while below.process() is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert below.process() is None
    assert end(identity) is False


def test_a_process_that_is_gone_has_no_identity() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert not psutil.pid_exists(process.pid) or Identity.of(process.pid) is None
