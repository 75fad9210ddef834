"""What was collected comes into the output folder, and takes nobody's file away."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from run_recorder.runner.attempts import Attempt, Outcome
from run_recorder.runner.collected import Collected
from run_recorder.runner.keeping import Kept, keep_best

from .support import tree

NAMES = ("a_00001_.png", "sub/b_00001_.png", "sub/deep/c.png")


@pytest.fixture
def keep(tmp_path: Path) -> Callable[[], Kept]:
    """Keep a try's files, of which each holds its own name."""
    (tmp_path / "out").mkdir()

    def kept() -> Kept:
        attempts = []
        for number in (1, 2):
            attempt = Attempt(number, f"p{number}", tmp_path / "out" / f".try-{number}")
            attempt.collected = Collected(files=list(NAMES))
            for name in NAMES:
                (attempt.folder / name).parent.mkdir(parents=True, exist_ok=True)
                (attempt.folder / name).write_text(name, "utf-8")
            attempts.append(attempt)
        attempts[1].success = True
        return keep_best(Outcome(attempts), tmp_path / "out")

    return kept


def whole(kept: Kept) -> None:
    assert [Path(one).relative_to(kept.folder).as_posix() for one in kept.files] == list(NAMES)
    assert all(Path(one).read_text("utf-8") == name for one, name in zip(kept.files, NAMES, strict=True))
    assert list(kept.folder.parent.rglob(".try-*")) == []


def test_they_have_their_names_where_nothing_lies(keep: Callable[[], Kept], tmp_path: Path) -> None:
    kept = keep()
    whole(kept)
    assert (kept.folder, kept.note) == (tmp_path / "out", None)
    again = keep()
    whole(again)
    assert (again.folder, again.note) == (tmp_path / "out", None), "the same content may be written again"
    assert tree(tmp_path / "out") == sorted(NAMES)


def a_file(path: Path) -> None:
    path.write_text("my only copy", "utf-8")


def a_folder(path: Path) -> None:
    (path / "in").mkdir(parents=True)


def a_link(path: Path) -> None:
    secret = path.with_name("secret")
    secret.write_text("somebody's", "utf-8")
    path.symlink_to(secret)


def a_dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("made"))


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.skipif(os.name == "nt", reason="links and pipes")
@pytest.mark.parametrize("make", [a_file, a_folder, a_link, a_dangling_link, a_pipe])
@pytest.mark.parametrize("name", NAMES)
def test_where_one_s_name_is_taken_all_are_kept_together(
    keep: Callable[[], Kept], tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    there = tmp_path / "out" / name
    there.parent.mkdir(parents=True, exist_ok=True)
    make(there)
    before = tree(tmp_path / "out")
    mode = there.lstat().st_mode
    kept = keep()
    whole(kept)
    assert kept.folder.parent == tmp_path / "out" and kept.folder.name.startswith("collected-")
    assert kept.note is not None and name in kept.note and str(kept.folder) in kept.note
    assert there.lstat().st_mode == mode
    assert set(before) <= set(tree(tmp_path / "out"))
    assert not there.is_file() or there.read_text("utf-8") in ("my only copy", "somebody's")
    assert not there.with_name("made").exists()


@pytest.mark.skipif(os.name == "nt", reason="links")
@pytest.mark.parametrize("folder", ["sub", "sub/deep"])
@pytest.mark.parametrize("what", ["a link out", "a file"])
def test_a_folder_that_leads_out_or_is_a_file_takes_nothing_in(
    keep: Callable[[], Kept], tmp_path: Path, folder: str, what: str
) -> None:
    outside, place = tmp_path / "elsewhere", tmp_path / "out" / folder
    outside.mkdir()
    for name in NAMES:
        (outside / Path(name).name).write_text("somebody's", "utf-8")
    place.parent.mkdir(exist_ok=True)
    if what == "a file":
        place.write_text("a file", "utf-8")
    else:
        place.symlink_to(outside, target_is_directory=True)
    kept = keep()
    whole(kept)
    assert kept.note is not None
    assert {path.read_text("utf-8") for path in outside.iterdir()} == {"somebody's"}
    assert what != "a file" or place.read_text("utf-8") == "a file"


def test_a_marker_takes_an_older_one_s_place_and_no_other_file_s(keep: Callable[[], Kept], tmp_path: Path) -> None:
    def kept(older: str) -> Kept:
        attempt = Attempt(1, "p", tmp_path / "out" / ".try-1", collected=Collected(files=["a.png"]), success=True)
        attempt.folder.mkdir()
        (attempt.folder / "a.png").write_text("a", "utf-8")
        (attempt.folder / "a.done").write_text('{"Timestamp": "2026-01-02T00:00:00.000Z"}', "utf-8")
        attempt.collected.marker_path = str(attempt.folder / "a.done")
        (tmp_path / "out" / "a.done").write_text(older, "utf-8")
        found = keep_best(Outcome([attempt]), tmp_path / "out")
        assert attempt.collected.marker_path == str(found.folder / "a.done")
        return found

    assert kept('{"Timestamp": "2026-01-01T00:00:00.000Z"}').note is None
    assert "01-02" in (tmp_path / "out" / "a.done").read_text("utf-8")
    assert kept("my notes on what is done").note is not None
    assert (tmp_path / "out" / "a.done").read_text("utf-8") == "my notes on what is done"
