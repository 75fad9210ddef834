"""Files in folders that others may write: what is opened there, and what never is."""

import os
import socket
import sys
from pathlib import Path

import pytest
from run_recorder.telemetry.files.guarded_files import (
    OddEntryError,
    TooLargeError,
    append_regular,
    copy_regular,
    open_regular,
    read_regular,
    regular_status,
    write_whole,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="makes links, pipes and sockets")


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello")
    assert read_regular(tmp_path / "a", 5) == b"hello"
    assert read_regular(tmp_path / "a", 5, tmp_path) == b"hello"
    assert regular_status(tmp_path / "a").st_size == 5


def test_a_file_larger_than_its_bound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello")
    with pytest.raises(TooLargeError, match="a is larger than 4 bytes"):
        read_regular(tmp_path / "a", 4)


def test_a_file_without_end_is_read_to_its_bound(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    taken: list[bytes] = []
    with pytest.raises(TooLargeError):
        copy_regular(tmp_path / "a", taken.append, 2_000_000)
    assert sum(map(len, taken)) <= 2_000_000


@pytest.mark.parametrize("root", [False, True])
def test_what_is_no_regular_file_is_never_opened(tmp_path: Path, root: bool) -> None:
    (tmp_path / "target").write_bytes(b"secret")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket"))
    for name, what in {
        "link": "is a link",
        "dangling": "is a link",
        "pipe": "is a named pipe",
        "folder": "is a folder",
        "socket": "is a socket",
    }.items():
        with pytest.raises(OddEntryError, match=f"{name} {what}"):
            open_regular(tmp_path / name, tmp_path if root else None)
        with pytest.raises(OddEntryError, match=f"{name} {what}"):
            append_regular(tmp_path / name)
    listening.close()


def test_what_is_written_goes_to_the_end_of_a_file(tmp_path: Path) -> None:
    for said in (b"one", b"two"):
        with append_regular(tmp_path / "a") as file:
            file.write(said)
    assert (tmp_path / "a").read_bytes() == b"onetwo"


def test_a_link_on_the_way_may_stay_inside_and_not_lead_out(tmp_path: Path) -> None:
    inside, outside = tmp_path / "root", tmp_path / "outside"
    (inside / "real").mkdir(parents=True)
    outside.mkdir()
    (inside / "real" / "a").write_bytes(b"in")
    (outside / "a").write_bytes(b"out")
    (inside / "around").symlink_to("real")
    (inside / "away").symlink_to(outside)
    assert read_regular(inside / "around" / "a", 9, inside) == b"in"
    for way in (inside / "away" / "a", inside / ".." / "outside" / "a", outside / "a"):
        with pytest.raises(OddEntryError, match="lies outside"):
            read_regular(way, 9, inside)
    with pytest.raises(OddEntryError, match="lies outside"):
        write_whole(inside / "away" / "b", b"x", inside)
    assert not (outside / "b").exists()


def test_a_folder_exchanged_for_a_link_while_the_way_is_walked_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "sub").mkdir(parents=True)
    outside.mkdir()
    (outside / "a").write_bytes(b"secret")
    really = os.path.realpath

    def exchange(path: object, **more: object) -> str:
        found = really(path)  # type: ignore[call-overload]
        if Path(found).name == "sub":
            (root / "sub").rmdir()
            (root / "sub").symlink_to(outside)
        return str(found)

    monkeypatch.setattr(os.path, "realpath", exchange)
    with pytest.raises(OSError):
        read_regular(root / "sub" / "a", 100, root)


def test_writing_replaces_a_link_and_never_follows_it(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"mine")
    target.chmod(0o600)
    (tmp_path / "state").symlink_to(target)
    write_whole(tmp_path / "state", b"new", tmp_path)
    assert target.read_bytes() == b"mine"
    assert not (tmp_path / "state").is_symlink()
    assert (tmp_path / "state").read_bytes() == b"new"
    (tmp_path / "gone").symlink_to(tmp_path / "made")
    write_whole(tmp_path / "gone", b"new")
    assert not (tmp_path / "made").exists()


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        write_whole(tmp_path / "folder", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_private_file_is_private_from_its_first_byte(tmp_path: Path) -> None:
    write_whole(tmp_path / "key", b"x", mode=0o600)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
