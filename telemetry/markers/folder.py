"""What lies in a folder, what has changed there since, and what time the folder thinks it is."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..files.temporaries import temporary_name
from .prefix import counts_as_output


class FileStamp(NamedTuple):
    """What tells one version of a file from another."""

    bytes: int
    modified_ns: int
    inode: str
    """As text: some file systems count further than a database's integers."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of one folder at one moment."""

    files: dict[str, FileStamp]
    finished: float
    """When the listing was finished, on `time.perf_counter`."""
    heads: tuple[str, ...] = ("",)
    """Only names that begin with one of these were looked at."""
    begun: int | None = None
    """How many prompts of this process had begun by then; null where one still ran, or nobody counted."""

    def saw(self, name: str) -> bool:
        """Whether a file of this name would be in the listing if it had been there."""
        return name.startswith(self.heads)


def stamp_of(path: Path) -> FileStamp | None:
    """Size, time and inode of a regular file; null where there is none or it can't be read. A link is none."""
    try:
        status = path.lstat()
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return FileStamp(status.st_size, status.st_mtime_ns, str(status.st_ino))


def list_folder(folder: Path, heads: tuple[str, ...] = ("",)) -> dict[str, FileStamp]:
    """The regular files in a folder that count as output and begin with one of `heads`, by name. A link is none.

    A folder that isn't there is empty.
    """
    return dict(files_in(folder, heads))


def files_in(
    folder: Path,
    heads: tuple[str, ...] = ("",),
    known: Mapping[str, FileStamp] | None = None,
    *,
    strict: bool = False,
) -> Iterator[tuple[str, FileStamp]]:
    """The same one by one, until the folder can't be read any further; then with `strict` that raises OSError.

    Where a file is what it was when it was `known`, that stamp itself is told: two listings then share it in memory.
    """
    passed_over = () if strict else (OSError,)
    with contextlib.suppress(*passed_over), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith(heads) or not counts_as_output(entry.name):
                continue
            with contextlib.suppress(FileNotFoundError, *passed_over):
                if entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    stamp = FileStamp(status.st_size, status.st_mtime_ns, _inode(entry, status))
                    before = known.get(entry.name) if known else None
                    yield entry.name, before if before == stamp and before else stamp


def _inode(entry: os.DirEntry[str], status: os.stat_result) -> str:
    return str(status.st_ino or entry.inode())


def changed(now: dict[str, FileStamp], before: dict[str, FileStamp]) -> dict[str, FileStamp]:
    """What is new or differs in size, time or inode."""
    return {name: stamp for name, stamp in now.items() if before.get(name) != stamp}


def folder_clock(folder: Path) -> float | None:
    """The time, in seconds since 1970, that the folder's file system gives to a file written now.

    Null where nothing can be written there.
    """
    probe = folder / temporary_name()
    try:
        with probe.open("xb") as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return None
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
