"""File systems that come, go, fill up and refuse: real mounts, in a mount namespace of this test's own."""

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from run_recorder.sentinel import folder_events
from run_recorder.sentinel.options import Options
from run_recorder.sentinel.service import Sentinel

from .watching import frames, listed, marker, put
from .watching import until as watching_until

ENTER = "import sys; from tests.sentinel.test_mounts import *; globals()[sys.argv[1]](Path(sys.argv[2]))"


@pytest.fixture
def inside(tmp_path: Path) -> Callable[[str], str]:
    """Runs a function of this module in a mount namespace; what it logged."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces here: nothing is mounted")

    def run(name: str) -> str:
        command = [unshare, "-rm", sys.executable, "-c", ENTER, name, str(tmp_path)]
        repo = Path(__file__).resolve().parents[2]
        done = subprocess.run(command, cwd=repo, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr

    return run


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


until = partial(watching_until, seconds=30)


def watching(folder: Path) -> Sentinel:
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    sentinel = Sentinel([folder], Options(stable_seconds=0.3, scan_interval=0.2))
    sentinel.start()
    return sentinel


def a_share(tmp: Path) -> None:
    behind, share = tmp / "behind", tmp / "share"
    behind.mkdir()
    share.mkdir()
    mount("-t", "tmpfs", "none", behind)
    mount("--bind", behind, share)
    folder_events.tells_of_changes = lambda folder: not os.path.ismount(folder)  # a stand-in for a network file system
    sentinel = watching(share)
    put(share, *frames("a", 2), age=0)
    until(lambda: listed(marker(share, "a")) == set(frames("a", 2)))
    assert sentinel.watches[0].mode == "polling"
    subprocess.run(["umount", "-l", str(share)], check=True)
    until(lambda: sentinel.watches[0].mode == "waiting")
    put(behind, *frames("b", 3), age=0)
    put(share, *frames("c", 1))  # into the folder that the mount hides
    time.sleep(0.6)
    assert marker(share, "c") is None, "a mount point without its mount is not the folder"
    mount("--bind", behind, share)
    until(lambda: listed(marker(share, "b")) == set(frames("b", 3)))
    put(share, *frames("a", 1, first=3), age=0)
    until(lambda: listed(marker(share, "a")) == set(frames("a", 3)))
    sentinel.stop()
    assert {path.name for path in behind.iterdir()} == {*frames("a", 3), *frames("b", 3), "a.done", "b.done"}


def a_full_disk(tmp: Path) -> None:
    disk, other = tmp / "disk", tmp / "other"
    disk.mkdir()
    mount("-t", "tmpfs", "-o", "size=128k", "none", disk)
    sentinel = watching(disk)
    put(disk, *frames("a", 2), age=0)
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 1024):
                pass
        except OSError:
            pass
    until(lambda: sentinel.open_groups() and "could not be written" in sentinel.open_groups()[0].why)
    assert marker(disk, "a") is None
    ballast.unlink()
    until(lambda: listed(marker(disk, "a")) == set(frames("a", 2)))
    sentinel.stop()
    assert {path.name for path in disk.iterdir()} == {*frames("a", 2), "a.done"}
    assert not other.exists()


def a_folder_that_may_not_be_written(tmp: Path) -> None:
    disk = tmp / "disk"
    disk.mkdir()
    mount("-t", "tmpfs", "none", disk)
    put(disk, *frames("a", 2))
    mount("-o", "remount,ro", disk)
    sentinel = watching(disk)
    until(lambda: sentinel.open_groups() and "could not be written" in sentinel.open_groups()[0].why)
    mount("-o", "remount,rw", disk)
    until(lambda: listed(marker(disk, "a")) == set(frames("a", 2)))
    sentinel.stop()
    assert {path.name for path in disk.iterdir()} >= {*frames("a", 2), "a.done"}


def test_a_share_that_goes_away_and_comes_back_is_watched_on(inside) -> None:
    told = inside("a_share")
    assert told.count("is polled every") == 1


def test_a_full_disk_is_waited_out(inside) -> None:
    assert inside("a_full_disk").count("it is tried again") == 1


def test_a_folder_that_may_not_be_written_is_tried_again(inside) -> None:
    assert inside("a_folder_that_may_not_be_written").count("it is tried again") == 1
