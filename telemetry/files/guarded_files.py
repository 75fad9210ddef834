"""Files in folders that others may write: no link, pipe or device bends the way, and nothing is read without a bound.

Whoever may write in a shared folder can put a link, a named pipe, a device or a file of any size where a file of ours
is expected. So what lies there is looked at before it is opened, opened without following a link and without waiting,
looked at again by its descriptor, and read up to a limit; and what is written there is written under a name of our
own and renamed, which replaces a link and doesn't follow it.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from .temporaries import temporary_name

_READ_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
NEW_FILE_FLAGS = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_APPEND_FLAGS = (NEW_FILE_FLAGS & ~os.O_EXCL) | os.O_APPEND | getattr(os, "O_NONBLOCK", 0)
_FOLDER_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
CAN_HOLD_FOLDERS = os.open in os.supports_dir_fd and sys.platform != "win32"
"""Whether a folder's descriptor can be held, so that nobody can exchange a folder on the way."""
_REFUSES_LINKS = hasattr(os, "O_NOFOLLOW")
_CHUNK = 1024 * 1024


class OddEntryError(OSError):
    """What lies at a path is not what may be opened there; `what` says what it is, in words for people."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(0, what, str(path))
        self.what = what

    def __str__(self) -> str:
        return f"{Path(self.filename).name} {self.what}"


class TooLargeError(OddEntryError):
    """A file is larger than anything that is expected there."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(path, f"is larger than {most} bytes")
        self.most = most


def kind_of(mode: int) -> str:
    """What an entry is, in words: "is a link", "is a named pipe", ..., by its mode as `os.lstat` tells it."""
    for test, word in (
        (stat.S_ISLNK, "a link"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    ):
        if test(mode):
            return f"is {word}"
    return "is a regular file" if stat.S_ISREG(mode) else "is no regular file"


def regular_status(path: Path, root: Path | None = None) -> os.stat_result:
    """The status of a regular file, without following a link, and inside `root` where one is given.

    Raises OddEntryError for anything else that lies there, and OSError where nothing can be asked.
    """
    with _parent(path, root) as (folder, name):
        return _status(path, folder, name)


def open_regular(path: Path, root: Path | None = None) -> BinaryIO:
    """Open a regular file to read it. Never follows a link at its end, never waits for a pipe, opens no device.

    With `root` the file must lie inside that folder: links on the way are allowed as far as they stay inside it, and
    nobody can exchange a folder while the way is walked (on Windows, between two looks). Raises OddEntryError for
    what is no regular file or lies outside, and OSError where it can't be opened.
    """
    with _parent(path, root) as (folder, name):
        before = _status(path, folder, name)
        descriptor = os.open(name, _READ_FLAGS, dir_fd=folder)
    try:
        now = os.fstat(descriptor)
        if not stat.S_ISREG(now.st_mode):
            raise OddEntryError(path, kind_of(now.st_mode))
        # Where no link is followed another regular file is as good: a writer's rename came in between.
        if not _REFUSES_LINKS and (now.st_dev, now.st_ino) != (before.st_dev, before.st_ino):
            raise OddEntryError(path, "was exchanged while it was opened")
        return io.BufferedReader(io.FileIO(descriptor, "rb"))
    except BaseException:
        os.close(descriptor)
        raise


def append_regular(path: Path) -> BinaryIO:
    """Open a regular file to write at its end, made where there is none. Raises as `open_regular` does."""
    with contextlib.suppress(FileNotFoundError):
        regular_status(path)
    return open(os.open(path, _APPEND_FLAGS, 0o666), "ab")


def read_regular(path: Path, most: int, root: Path | None = None) -> bytes:
    """The content of a regular file of at most `most` bytes. Raises as `open_regular`, and TooLargeError."""
    with open_regular(path, root) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise TooLargeError(path, most)
    return data


def reason_of(error: OSError | ValueError) -> str:
    """Why a file could not be opened, read or written, in a few words and without its path."""
    return getattr(error, "strerror", None) or type(error).__name__


def copy_regular(
    path: Path,
    write: Callable[[bytes], object],
    most: int,
    root: Path | None = None,
) -> int:
    """Hand a regular file on in pieces of at most 1 MiB; how many bytes it had. Raises as `read_regular`.

    A file that grows while it is read is read up to `most` bytes, and then too large.
    """
    done = 0
    with open_regular(path, root) as file:
        while chunk := file.read(min(_CHUNK, most + 1 - done)):
            done += len(chunk)
            if done > most:
                raise TooLargeError(path, most)
            write(chunk)
    return done


def write_whole(path: Path, data: bytes, root: Path | None = None, mode: int = 0o666) -> None:
    """Write a file so that a reader finds the former one or this one, and what is at its name is never followed.

    A link at the name is replaced, a folder is refused; what other kind of entry lies there is replaced, too. Synced
    before it is renamed. `mode` is what the process' mask is taken from. Raises OSError, and then leaves nothing.
    """
    temporary = temporary_name()
    with _parent(path, root) as (folder, name):
        beside = temporary if folder is not None else str(path.parent / temporary)
        descriptor = os.open(beside, NEW_FILE_FLAGS, mode, dir_fd=folder)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            os.replace(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside, dir_fd=folder)
            raise


@contextlib.contextmanager
def _parent(path: Path, root: Path | None) -> Iterator[tuple[int | None, str]]:
    """The folder that an entry lies in, as a descriptor where the platform has them, and the entry's name there."""
    if root is None:
        yield None, str(path)
        return
    top = os.path.realpath(root)
    folder = os.path.realpath(path.parent)
    if not _same_drive(top, folder) or os.path.commonpath([top, folder]) != top:
        raise OddEntryError(path, "lies outside of its folder: a link on the way leads out")
    if not CAN_HOLD_FOLDERS:
        yield None, str(Path(folder) / path.name)
        return
    held = os.open(top, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        for part in Path(os.path.relpath(folder, top)).parts:
            if part != os.curdir:
                deeper = os.open(part, _FOLDER_FLAGS, dir_fd=held)
                os.close(held)
                held = deeper
        yield held, path.name
    finally:
        os.close(held)


def _same_drive(one: str, other: str) -> bool:
    return os.path.splitdrive(one)[0].lower() == os.path.splitdrive(other)[0].lower()


def _status(path: Path, folder: int | None, name: str) -> os.stat_result:
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode):
        raise OddEntryError(path, kind_of(status.st_mode))
    if _is_reparse_point(status):
        raise OddEntryError(path, "is a link")
    return status


def _is_reparse_point(status: os.stat_result) -> bool:
    """Whether a Windows entry is a junction or another kind of link that its mode doesn't tell."""
    return bool(getattr(status, "st_reparse_tag", 0)) and bool(
        getattr(status, "st_file_attributes", 0) & getattr(stat, "FILE_ATTRIBUTE_REPARSE_POINT", 0)
    )
