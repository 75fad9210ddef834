"""Files are read for their hashes one after the other, on a thread that holds nobody up."""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from run_recorder.telemetry.markers import hashing
from run_recorder.telemetry.markers.folder import FileStamp, stamp_of
from run_recorder.telemetry.markers.hashing import CHANGED, CUT_SHORT, Hashed, HashedFile, Hashing, HashJob, hash_file

from .support import write

PIECE = 2**20


def listed(path: Path, content: bytes = b"data") -> HashedFile:
    write(path, content)
    stamp = stamp_of(path)
    assert stamp is not None
    return HashedFile(path, stamp)


def test_a_hash_is_that_of_the_content(tmp_path: Path) -> None:
    for content in (b"", b"data", b"x" * (3 * PIECE + 1)):
        file = listed(tmp_path / "a.png", content)
        assert hash_file(file) == Hashed(hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("change", ["longer", "as long", "another file", "gone"])
def test_a_file_that_is_another_than_was_listed_has_no_hash(tmp_path: Path, change: str) -> None:
    path = tmp_path / "a.png"
    file = listed(path)
    if change == "longer":
        path.write_bytes(b"more data")
    elif change == "as long":
        file = HashedFile(path, FileStamp(file.stamp.bytes, file.stamp.modified_ns - 1, file.stamp.inode))
    elif change == "another file":
        write(tmp_path / "b.png", b"data")
        (tmp_path / "b.png").replace(path)
    else:
        path.unlink()
    hashed = hash_file(file)
    assert hashed.digest is None and hashed.note is not None
    assert hashed.note == f"a.png {CHANGED}" if change != "gone" else "could not be read" in hashed.note


def test_a_file_that_is_written_while_it_is_read_has_no_hash(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    file = listed(path, b"x" * 2 * PIECE)

    def append() -> bool:
        with path.open("ab") as more:
            more.write(b"y")
        return True

    assert hash_file(file, append).note == f"a.mp4 {CHANGED}"


def test_reading_ends_between_two_pieces_once_nobody_wants_it(tmp_path: Path) -> None:
    wanted = iter([True, False])
    file = listed(tmp_path / "a.mp4", b"x" * 3 * PIECE)
    assert hash_file(file, lambda: next(wanted)) == Hashed(None, f"a.mp4 {CUT_SHORT}")


def test_jobs_are_done_in_their_order_and_each_is_told(tmp_path: Path) -> None:
    told = threading.Semaphore(0)
    reader = Hashing(told.release)
    jobs = [reader.begin([listed(tmp_path / f"{number}.png", bytes([number]))]) for number in range(3)]
    assert all(job.wait(10) for job in jobs) and all(told.acquire(timeout=10) for _ in jobs)
    for number, job in enumerate(jobs):
        assert job.found == {tmp_path / f"{number}.png": Hashed(hashlib.sha256(bytes([number])).hexdigest())}
        assert job.is_done and job.give_up() == job.found
    reader.stop()


def test_a_file_of_two_markers_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    file = listed(tmp_path / "a.png")

    def hash_once(file: HashedFile, _is_wanted: Callable[[], bool]) -> Hashed:
        read.append(file.path)
        return Hashed("")

    monkeypatch.setattr(hashing, "hash_file", hash_once)
    assert Hashing(lambda: None).begin([file, file]).wait(10)
    assert read == [file.path]


def test_a_job_that_is_given_up_says_so_of_what_was_not_read(tmp_path: Path) -> None:
    files = {path: listed(path) for path in (tmp_path / "a.png", tmp_path / "b.png")}
    job = HashJob(files)
    job.found[tmp_path / "a.png"] = Hashed("known")
    told = job.give_up()
    assert told == {tmp_path / "a.png": Hashed("known"), tmp_path / "b.png": Hashed(None, f"b.png {CUT_SHORT}")}
    job.run()
    assert job.is_done and set(job.found) == {tmp_path / "a.png"}


def test_who_is_told_and_fails_ends_no_reading(tmp_path: Path) -> None:
    def fail() -> None:
        raise RuntimeError("a fault of who listens")

    reader = Hashing(fail)
    for name in ("a.png", "b.png"):
        assert reader.begin([listed(tmp_path / name)]).wait(10)
