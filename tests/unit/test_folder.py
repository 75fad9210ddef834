"""What lies in a folder, what has changed there, and what time it is there."""

import os
import time
from pathlib import Path

import pytest
from run_recorder.telemetry.markers.folder import FileStamp, changed, folder_clock, list_folder, stamp_of

from .support import write


def test_a_file_s_stamp_is_its_size_time_and_inode(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", b"12345", modified=1000.25)
    assert stamp_of(path) == FileStamp(5, 1_000_250_000_000, str(path.stat().st_ino))


@pytest.mark.parametrize("name", ["missing", "folder", "a\0b", "x" * 300, "fifo", "dangling"])
def test_what_is_no_regular_file_has_no_stamp(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert stamp_of(tmp_path / name) is None


def test_only_regular_files_that_count_are_listed(tmp_path: Path) -> None:
    for name in ("a.png", "b.exr", ".hidden", "c.tmp", "d.done", "e.failed"):
        write(tmp_path / name)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere")
    listed = list_folder(tmp_path)
    assert sorted(listed) == ["a.png", "b.exr"]
    assert listed["a.png"] == stamp_of(tmp_path / "a.png")
    assert stamp_of(tmp_path / "link.png") is None


def test_only_names_with_one_of_the_heads_are_looked_at(tmp_path: Path) -> None:
    for name in ("a1.png", "b1.png", "c1.png"):
        write(tmp_path / name)
    assert sorted(list_folder(tmp_path, ("a", "c"))) == ["a1.png", "c1.png"]
    assert list_folder(tmp_path, ()) == {}


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert list_folder(tmp_path / "missing") == {}
    assert list_folder(write(tmp_path / "file")) == {}


def test_what_is_new_or_differs_in_size_time_or_inode_has_changed() -> None:
    before = {name: FileStamp(1, 2, "3") for name in ("same", "size", "time", "inode", "gone")}
    now = {
        "same": FileStamp(1, 2, "3"),
        "size": FileStamp(9, 2, "3"),
        "time": FileStamp(1, 9, "3"),
        "inode": FileStamp(1, 2, "9"),
        "new": FileStamp(1, 2, "3"),
    }
    assert sorted(changed(now, before)) == ["inode", "new", "size", "time"]
    assert changed(now, now) == {}


def test_a_replaced_file_with_the_same_size_and_time_has_changed(tmp_path: Path) -> None:
    write(tmp_path / "a", b"one", modified=5)
    before = list_folder(tmp_path)
    write(tmp_path / "b", b"two", modified=5).replace(tmp_path / "a")
    assert list(changed(list_folder(tmp_path), before)) == ["a"]


def test_the_folder_s_clock_is_that_of_a_file_written_now_and_leaves_none(tmp_path: Path) -> None:
    clock = folder_clock(tmp_path)
    assert clock is not None
    assert abs(clock - time.time()) < 2
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_has_no_clock(tmp_path: Path) -> None:
    assert folder_clock(tmp_path / "missing") is None
