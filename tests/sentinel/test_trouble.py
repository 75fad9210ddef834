"""What watchdog and the kernel can do to a watch: it goes on."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from run_recorder.sentinel import group_markers as markers_module
from run_recorder.sentinel import inside, native
from run_recorder.sentinel import watch as watch_module
from run_recorder.sentinel.callbacks import KeeperCallbacks
from run_recorder.sentinel.options import Options
from run_recorder.sentinel.service import Sentinel
from run_recorder.telemetry.process.problems import Problems

from .watching import frames, listed, marker, put, until

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


def test_an_observer_that_dies_is_started_again(
    tmp_path: Path, watching: Callable[[], Sentinel], caplog: pytest.LogCaptureFixture
) -> None:
    watch = watching().watches[0]
    assert watch.mode == "events"
    dead = watch._events.native
    assert dead is not None
    dead.stop()
    put(tmp_path, *frames("a", 3), age=0)
    until(lambda: listed(marker(tmp_path, "a")) == set(frames("a", 3)))
    assert watch._events.native not in (None, dead)
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


def test_links_in_a_circle_and_into_nothing_are_no_trouble(tmp_path: Path) -> None:
    put(tmp_path, *frames("a", 2), *frames("sub/b", 2))
    (tmp_path / "sub" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "lost_00001_.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "fold_00001_.png").symlink_to(tmp_path / "sub", target_is_directory=True)
    for polling in (False, True):
        sentinel = Sentinel([tmp_path], Options(stable_seconds=0.3, scan_interval=0.2, polling=polling))
        sentinel.start()
        until(lambda: marker(tmp_path, "a") and marker(tmp_path / "sub", "b"))
        (tmp_path / "a_00002_.png").write_bytes(b"again")
        until(lambda: any("replaces" in note for note in (marker(tmp_path, "a") or {"Notes": ()})["Notes"]))
        sentinel.stop()
        assert sorted(path.name for path in tmp_path.rglob("*.done")) == ["a.done", "b.done"]
        (tmp_path / "a.done").unlink()


def test_a_folder_that_is_missing_or_a_file_is_waited_for_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "CHECK_SECONDS", 0.1)
    folder = tmp_path / "later"
    sentinel = Sentinel([folder], OPTIONS)
    sentinel.start()
    try:
        until(lambda: sentinel.watches[0].state == "waiting for the folder")
        folder.write_bytes(b"a file")
        time.sleep(0.3)
        assert sentinel.watches[0].mode == "waiting"
        folder.unlink()
        put(folder, *frames("a", 2))
        until(lambda: listed(marker(folder, "a")) == set(frames("a", 2)))
    finally:
        sentinel.stop()
    assert sum("waiting for it" in record.message for record in caplog.records) == 1


def test_a_window_shorter_than_the_file_systems_times_is_raised_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "time_step", lambda _folder: 2.0)
    sentinel = Sentinel([tmp_path], Options(stable_seconds=0.5))
    put(tmp_path, *frames("a", 1), age=1)
    sentinel.once()
    assert sentinel.watches[0].keeper.groups.window == 2.0
    assert marker(tmp_path, "a") is None, "it is younger than the window"
    assert sum("keeps times to 2 s" in record.message for record in caplog.records) == 1


def test_a_folder_that_may_not_be_read_costs_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, *frames("closed/a", 2), *frames("open/b", 2))
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    Sentinel([tmp_path], OPTIONS).once()
    assert (marker(tmp_path / "open", "b") is None, marker(tmp_path / "closed", "a")) == (False, None)


@pytest.mark.parametrize("polling", [False, True])
def test_a_folder_is_told_while_it_cant_be_read_and_then_scanned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, polling: bool
) -> None:
    put(tmp_path, *frames("sub/a", 2), *frames("gone/a", 2), *frames("sub", 2))  # and a group that is called as it is
    shut = {"sub", "gone"}
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name not in shut and access(path, mode))
    monkeypatch.setattr(watch_module, "CHECK_SECONDS", 0.1)
    problems = Problems()
    told = inside._callbacks(SimpleNamespace(problems=problems))  # type: ignore[arg-type]
    sentinel = Sentinel([tmp_path], Options(stable_seconds=0.3, scan_interval=0.1, polling=polling), callbacks=told)
    sentinel.start()
    try:
        until(lambda: marker(tmp_path, "sub"))
        assert sum("so there is no marker" in record.message for record in caplog.records) == 2
        (problem,) = problems.all()
        assert (problem.what, problem.count) == (inside.ODD, 2)
        assert marker(tmp_path / "sub", "a") is None
        shutil.rmtree(tmp_path / "gone")
        shut.clear()
        until(lambda: marker(tmp_path / "sub", "a") and not problems.all())
    finally:
        sentinel.stop()


def test_one_group_that_cant_be_written_costs_no_other_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write, full = markers_module.write_temporary, [True]

    def fill(place: Any, told: Any) -> Path:
        if place.prefix.name == "a" and full[0]:
            raise OSError(28, "No space left on device")
        return write(place, told)

    monkeypatch.setattr(markers_module, "write_temporary", fill)
    failures: list[str] = []
    sentinel = Sentinel([tmp_path], OPTIONS, callbacks=KeeperCallbacks(failed=lambda _key, why: failures.append(why)))
    put(tmp_path, *frames("a", 2), *frames("b", 2))
    sentinel.start()
    try:
        until(lambda: marker(tmp_path, "b") and failures)
        assert marker(tmp_path, "a") is None
        full[0] = False
        until(lambda: listed(marker(tmp_path, "a")) == set(frames("a", 2)))
    finally:
        sentinel.stop()
    assert sum("No space left" in record.message for record in caplog.records) == 1
