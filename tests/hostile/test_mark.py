"""`run-recorder mark` in a folder that others write in: it marks what is there, and touches nothing outside of it."""

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from run_recorder.cli import main

pytestmark = [
    pytest.mark.timeout(60, func_only=True),
    pytest.mark.skipif(sys.platform == "win32", reason="makes links, pipes and sockets"),
]

SECRET = "somebody's own"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An output folder with two frames, beside a file that is nobody's business."""
    (tmp_path / "secret").write_text(SECRET, "utf-8")
    (tmp_path / "secret").chmod(0o600)
    output = tmp_path / "output"
    output.mkdir()
    for number in (1, 2):
        (output / f"a_{number:05}_.png").write_bytes(b"x" * number)
    return output


def a_link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "secret")


def a_dangling_link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "nothing")


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path may not be long
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    finally:
        os.chdir(here)


ODD = [a_link, a_dangling_link, a_link_to_itself, a_pipe, a_socket]


def outside(folder: Path) -> dict[str, tuple[int, str]]:
    beside = [path for path in folder.parent.iterdir() if path != folder]
    return {path.name: (path.lstat().st_mode, path.read_text("utf-8")) for path in beside if path.is_file()}


@pytest.mark.parametrize("status", ["success", "error"])
@pytest.mark.parametrize("odd", ODD, ids=lambda make: make.__name__)
def test_what_stands_at_either_marker_s_name_is_neither_followed_nor_waited_for(
    folder: Path, odd: Callable[[Path], None], status: str
) -> None:
    odd(folder / "a.done")
    odd(folder / "a.failed")
    before = outside(folder)
    assert main(["mark", str(folder / "a"), "--status", status]) == 0
    written, other = ("a.done", "a.failed") if status == "success" else ("a.failed", "a.done")
    assert (folder / written).lstat().st_mode & 0o170000 == 0o100000
    assert json.loads((folder / written).read_text("utf-8"))["FrameCount"] == 2
    assert not os.path.lexists(folder / other), "only one of the two stands"
    assert outside(folder) == before and set(before) == {"secret"}


def test_a_folder_at_the_marker_s_name_is_told_and_stays(folder: Path, capsys: pytest.CaptureFixture) -> None:
    (folder / "a.done").mkdir()
    (folder / "a.done" / "work").touch()
    assert main(["mark", str(folder / "a")]) == 1
    assert "a.done could not be put in place" in capsys.readouterr().err
    assert (folder / "a.done" / "work").exists()
    assert sorted(path.name for path in folder.iterdir()) == ["a.done", "a_00001_.png", "a_00002_.png"]


@pytest.mark.parametrize("odd", ODD, ids=lambda make: make.__name__)
@pytest.mark.parametrize("hashed", [(), ("--hash-files",)], ids=["", "hashed"])
def test_only_regular_files_are_marked_and_read(
    folder: Path, odd: Callable[[Path], None], hashed: tuple[str, ...]
) -> None:
    odd(folder / "a_00003_.png")
    assert main(["mark", str(folder / "a"), *hashed, "--frames", "2"]) == 0
    assert [file["Name"] for file in json.loads((folder / "a.done").read_text("utf-8"))["Files"]] == [
        "a_00001_.png",
        "a_00002_.png",
    ]
    assert main(["mark", str(folder / "a"), "--frames", "3"]) == 1


@pytest.mark.parametrize(
    "name", ["..", "a/..", ".", "", "a/", "a/.", "a\nb", "a:b", "a.", "con", "x" * 5000, "a\x1b]0;t\x07"]
)
def test_a_prefix_that_is_no_name_leaves_everything_as_it_was(folder: Path, name: str) -> None:
    before = sorted(path.name for path in folder.iterdir())
    beside = outside(folder)
    assert main(["mark", f"{folder}/{name}", "--frames", "0"]) == 2
    assert sorted(path.name for path in folder.iterdir()) == before
    assert outside(folder) == beside and set(beside) == {"secret"}


@pytest.mark.parametrize("odd", ODD, ids=lambda make: make.__name__)
def test_what_stands_where_the_folder_should_is_refused(folder: Path, odd: Callable[[Path], None]) -> None:
    def known() -> tuple[int, int, int, int]:
        """All but the time of access: a link is read when it is looked at."""
        found = (folder / "sub").lstat()
        return found.st_mode, found.st_ino, found.st_mtime_ns, found.st_ctime_ns

    odd(folder / "sub")
    before = known()
    assert main(["mark", str(folder / "sub" / "a"), "--frames", "0"]) == 2
    assert known() == before and outside(folder).keys() == {"secret"}


def test_temporaries_that_others_made_are_swept_without_following_them(folder: Path) -> None:
    trap = folder / ".rr-00000000-1-1-000000000000.tmp"
    trap.symlink_to(folder.parent / "secret")
    os.utime(trap, (0, 0), follow_symlinks=False)
    os.utime(folder.parent / "secret", (0, 0))
    assert main(["mark", str(folder / "a")]) == 0
    assert (folder.parent / "secret").read_text("utf-8") == SECRET


def test_a_folder_that_cannot_be_listed_has_no_marker_of_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a_00001_.png").write_bytes(b"x")

    def refused(path: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refused)
    assert main(["mark", str(tmp_path / "a"), "--frames", "0"]) == 1
    assert "can't be read: Permission denied" in capsys.readouterr().err
    assert not (tmp_path / "a.done").exists()
