"""A run's archive: the same bytes from the same files, streamed, and never half there."""

import errno
import os
import shutil
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from run_recorder.runner import archive
from run_recorder.runner.archive import write_archive


def _run(folder: Path) -> Path:
    for name, data in (("b/2.png", b"2" * 1000), ("b/1.png", b"1"), ("a.txt", b"a" * 5000), ("ü/ж.json", b"{}")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def test_the_same_files_give_the_same_bytes_wherever_and_whenever_they_are(tmp_path: Path) -> None:
    first, second = _run(tmp_path / "one"), tmp_path / "two"
    shutil.copytree(first, second)
    for path in second.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    (second / "a.txt").chmod(0o600)
    write_archive(first, first / "run.zip")
    write_archive(second, second / "run.zip")
    assert (first / "run.zip").read_bytes() == (second / "run.zip").read_bytes()
    write_archive(first, first / "run.zip")
    assert (first / "run.zip").read_bytes() == (second / "run.zip").read_bytes()


def test_it_holds_every_file_once_and_leaves_itself_locks_and_temporaries_out(tmp_path: Path) -> None:
    run = _run(tmp_path / "run")
    (run / ".lock").write_text("", "utf-8")
    write_archive(run, run / "run.zip")
    assert write_archive(run, run / "run.zip") == 4
    with zipfile.ZipFile(run / "run.zip") as told:
        assert told.namelist() == ["a.txt", "b/1.png", "b/2.png", "ü/ж.json"]
        assert told.testzip() is None
        assert told.read("b/2.png") == b"2" * 1000


def test_a_large_file_is_not_held_in_memory(tmp_path: Path) -> None:
    with (tmp_path / "film.mp4").open("wb") as file:
        file.truncate(96 * 1024 * 1024)
    tracemalloc.start()
    write_archive(tmp_path, tmp_path / "run.zip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 1024 * 1024


def test_where_it_cannot_be_written_the_earlier_one_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _run(tmp_path / "run")
    write_archive(run, run / "run.zip")
    before = (run / "run.zip").read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archive, "_add", full)
    with pytest.raises(OSError, match="No space left"):
        write_archive(run, run / "run.zip")
    assert (run / "run.zip").read_bytes() == before
    assert sorted(path.name for path in run.iterdir()) == ["a.txt", "b", "run.zip", "ü"]


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_a_link_that_leads_out_of_the_run_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret", "utf-8")
    run = _run(tmp_path / "run")
    (run / "link").symlink_to(tmp_path / "secret")
    write_archive(run, run / "run.zip")
    with zipfile.ZipFile(run / "run.zip") as told:
        assert "link" not in told.namelist()
