"""The SHA-256 of files that markers list, read on a thread of its own: a film takes minutes, and nobody else waits."""

from __future__ import annotations

import contextlib
import hashlib
import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..files.guarded_files import TooLargeError, copy_regular, reason_of
from .folder import FileStamp, stamp_of

MAX_HASHED_BYTES = 64 * 1024**3
"""A larger file has no hash: a file without data can claim any size, and would hold up everything else."""
CHANGED = "changed while it was read for its hash"
CUT_SHORT = "was not read for its hash: the recorder was stopped before"


@dataclass(frozen=True, slots=True)
class Hashed:
    """What came of reading a file for its hash."""

    digest: str | None
    """SHA-256, in hexadecimal; null where the file could not be read, or is not the one that was listed."""
    note: str | None = None
    """Why there is none; null where there is one."""


@dataclass(frozen=True, slots=True)
class HashedFile:
    """A file that is to be read for its hash, as it was when it was listed."""

    path: Path
    stamp: FileStamp
    root: Path | None = None
    """The output folder, with every link followed; the way from it to the file has none. Null: any way is followed."""


class _CutShortError(Exception):
    """The rest of a file need not be read; says why."""


def hash_file(file: HashedFile, is_wanted: Callable[[], bool] = lambda: True) -> Hashed:
    """Read a file for its hash. What can't be read, or is another than was listed, has a note instead; none is raised.

    `is_wanted` is asked before each piece: false ends the reading.
    """
    digest, path, left = hashlib.sha256(), file.path, file.stamp.bytes

    def take(piece: bytes) -> None:
        nonlocal left
        left -= len(piece)
        if left < 0:
            raise _CutShortError(CHANGED)  # it may grow for ever
        if not is_wanted():
            raise _CutShortError(CUT_SHORT)
        digest.update(piece)

    try:
        if path.lstat().st_size > MAX_HASHED_BYTES:
            raise TooLargeError(path, MAX_HASHED_BYTES)
        copy_regular(path, take, MAX_HASHED_BYTES, file.root)
    except _CutShortError as error:
        return Hashed(None, f"{path.name} {error}")
    except (OSError, ValueError) as error:
        return Hashed(None, f"{path.name} could not be read for its hash ({reason_of(error)})")
    if stamp_of(path) != file.stamp:
        return Hashed(None, f"{path.name} {CHANGED}")
    return Hashed(digest.hexdigest())


@dataclass(slots=True, eq=False)
class HashJob:
    """Files that are being read. Any thread may look; one thread reads."""

    files: dict[Path, HashedFile]
    """By their paths; a file of two markers is read once."""
    found: dict[Path, Hashed] = field(default_factory=dict)
    """What is known so far. Whole once `is_done`."""
    _done: threading.Event = field(default_factory=threading.Event)
    _wanted: bool = True

    @property
    def is_done(self) -> bool:
        """True once each file has its hash, or a note why not."""
        return self._done.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait until it is done, at most so long; whether it is."""
        return self._done.wait(seconds)

    def give_up(self) -> dict[Path, Hashed]:
        """Read no more; what is known, and a note for each of the others."""
        self._wanted = False
        known = dict(self.found)
        return {path: known.get(path) or Hashed(None, f"{path.name} {CUT_SHORT}") for path in self.files}

    def run(self) -> None:
        """Read the files that are still wanted."""
        for path, file in self.files.items():
            if not self._wanted:
                break
            self.found[path] = hash_file(file, lambda: self._wanted)
        self._done.set()


class Hashing:
    """Reads files one after the other, in the order in which they were asked for. Its thread starts with the first."""

    def __init__(self, done: Callable[[], None]) -> None:
        self._done = done
        self._jobs: queue.SimpleQueue[HashJob | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def begin(self, files: Iterable[HashedFile]) -> HashJob:
        """Read these; `done`, that was given at the start, is called on the reading thread once they are through."""
        job = HashJob({file.path: file for file in files})
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="run-recorder-hashing", daemon=True)
            self._thread.start()
        self._jobs.put(job)
        return job

    def stop(self) -> None:
        """Let the thread end after what it has; it is not waited for."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread = None

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()
            with contextlib.suppress(Exception):  # whoever listens must not end the reading for all
                self._done()
