"""What watchdog and the kernel can do to a watch: it goes on."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from run_recorder.sentinel import native
from run_recorder.sentinel.service import Sentinel
from run_recorder.sentinel.watch import Options

from .watching import frames, listed, marker, put

OPTIONS = Options(stable_seconds=0.3, scan_interval=0.2)


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Callable[[], Sentinel]]:
    started: list[Sentinel] = []

    def start() -> Sentinel:
        put(tmp_path, "sub/ready.png")
        started.append(Sentinel([tmp_path], OPTIONS))
        started[0].start()
        until(lambda: marker(tmp_path / "sub", "ready"))
        return started[0]

    yield start
    for sentinel in started:
        sentinel.stop()


def until(told: Callable[[], Any], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not told():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_observer_that_dies_is_started_again(
    tmp_path: Path, watching: Callable[[], Sentinel], caplog: pytest.LogCaptureFixture
) -> None:
    watch = watching().watches[0]
    assert watch.mode == "events"
    dead = watch._native
    assert dead is not None
    dead.stop()
    put(tmp_path, *frames("a", 3), age=0)
    until(lambda: listed(marker(tmp_path, "a")) == set(frames("a", 3)))
    assert watch._native not in (None, dead)
    assert sum("has died" in record.message for record in caplog.records) == 1


def test_without_inotify_watches_it_polls_and_says_so_once(
    tmp_path: Path,
    watching: Callable[[], Sentinel],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(native, "inotify_watches", lambda: 1)  # as many after the start as before it: none came
    watch = watching().watches[0]
    assert watch.mode == "polling"
    put(tmp_path, *frames("sub/a", 3), age=0)
    until(lambda: listed(marker(tmp_path / "sub", "a")) == set(frames("a", 3)))
    assert sum("max_user_watches" in record.message for record in caplog.records) == 1
