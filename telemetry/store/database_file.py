"""The database's file: whose it is, and what may be done with it.

A setting can name any path. So before SQLite is let near a file, the file must be one of ours: by the application id in
its header, by our schema in what can be read of it, or by our own note beside it, where its content is gone. All of
that is found by reading bytes. Anything else is refused, and left as it is to the last byte and bit of its mode.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import stat
import sys
import time
from pathlib import Path
from typing import BinaryIO, Literal

from ..files.guarded_files import OddEntryError, kind_of, open_regular, read_regular, write_whole

APPLICATION_ID = 0x52524543
"""`RREC`: what SQLite keeps for the program that made a database, at byte 68 of its header."""
NOTE_SUFFIX = ".run-recorder"
"""Of the note beside a database that says that it is ours, for when nothing in the file itself can say so any more."""
COMPANIONS = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database, by what is added to its name."""
EMPTY_SUFFIXES = frozenset((".sqlite3", ".sqlite", ".db3", ".db"))
"""An empty file is taken for a database to be where its name says so."""

_MAGIC = b"SQLite format 3\0"
_SCHEMA = b"CREATE TABLE run_recorder_version"
_LOOK_BYTES = 64 * 1024 * 1024
"""How much of a file is searched for our schema: its first pages hold it."""
_PIECE = 1024 * 1024
_TEXT_BYTES = 64 * 1024
"""So much of a file is looked at for being text."""
_NOTE_BYTES = 4096

Standing = Literal["missing", "empty", "ours"]


class ForeignFileError(RuntimeError):
    """What lies at the database's path is not a database of this package; the message says what it is."""

    def __init__(self, file: Path, what: str) -> None:
        super().__init__(
            f"{file.name} {what}, not a database of Run Recorder: it is left as it is; "
            "name another file in RUN_RECORDER_DATABASE_URL, or move this one away"
        )
        self.file = file
        self.what = what


def examine(file: Path) -> Standing:
    """What lies at a path, as far as it is nothing or ours. Reads, and changes nothing.

    A link is judged by the file that it leads to. Raises ForeignFileError for anything that isn't ours, and OSError
    where it can't be looked at.
    """
    file = resolved(file)
    if file.name.lower().endswith(COMPANIONS):
        raise ForeignFileError(file, "has the name of another database's log")
    try:
        status = file.lstat()
    except FileNotFoundError:
        return "missing"
    if not stat.S_ISREG(status.st_mode):
        raise ForeignFileError(file, kind_of(status.st_mode))
    if _application_id(file) == APPLICATION_ID or _holds_schema(file) or (has_note(file) and _says_nothing(file)):
        return "ours"
    if status.st_size == 0:
        if file.suffix.lower() in EMPTY_SUFFIXES:
            return "empty"
        raise ForeignFileError(file, "is an empty file of another program")
    raise ForeignFileError(file, _what_it_is(file))


def resolved(file: Path) -> Path:
    """The file that a path leads to, where the path is a link. Raises ForeignFileError for a link to nothing."""
    if not file.is_symlink():
        return file
    target = Path(os.path.realpath(file))
    if not os.path.lexists(target) or target.is_symlink():
        raise ForeignFileError(file, "is a link to nothing")
    return target


def prepare(file: Path) -> None:
    """Make the file, private to its user, with its note, where nothing lies there; else see that it is ours.

    Folders are made where they are missing, and only those are made private. Raises ForeignFileError and OSError.
    """
    standing = examine(file)
    file = resolved(file)
    make_private_folder(file.parent)
    if standing == "missing":
        _clear_stray_logs(file)
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)
        with contextlib.suppress(FileExistsError):  # another server of ours was quicker
            os.close(os.open(file, flags, 0o600))
    leave_note(file)


def _clear_stray_logs(file: Path) -> None:
    """A log without its database would be erased by SQLite: one of ours is set aside, another's is left alone."""
    strays = [path for path in (_beside(file, suffix) for suffix in COMPANIONS) if os.path.lexists(path)]
    if not strays:
        return
    if not has_note(file) and not _holds_schema(_beside(file, "-wal")):
        raise ForeignFileError(strays[0], "is the log of a database that isn't there")
    _move(file, _free_name(file))


def make_private_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, readable by this user alone; others stay as they are."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
            if sys.platform != "win32":
                path.chmod(0o700)  # the process' mask may take more away than wanted


def note_of(file: Path) -> Path:
    """Where the note about a database stands."""
    return _beside(file, NOTE_SUFFIX)


def has_note(file: Path) -> bool:
    """Whether there is a note of ours that says that this file is our database."""
    with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
        note = json.loads(read_regular(note_of(file), _NOTE_BYTES))
        return bool(note.get("database_of") == "run-recorder" and note.get("file") == file.name)
    return False


def leave_note(file: Path) -> None:
    """Note beside a database that it is ours. Where that can't be written, the file itself still says so."""
    if has_note(file) or os.path.lexists(note_of(file)):
        return
    note = {
        "database_of": "run-recorder",
        "file": file.name,
        "about": "Beside a database of Run Recorder: lets a damaged one be told from another program's file.",
    }
    with contextlib.suppress(OSError):
        write_whole(note_of(file), json.dumps(note, indent=2).encode() + b"\n", mode=0o600)


def set_aside(file: Path) -> Path:
    """Give a corrupt database of ours, and what belongs to it, a name with the date; the new name.

    Raises ForeignFileError for what isn't ours, and OSError.
    """
    if examine(file) != "ours":
        raise ForeignFileError(file, "is not there")
    file = resolved(file)
    aside = _free_name(file)
    _move(file, aside)
    return aside


def _free_name(file: Path) -> Path:
    stem = f"{file.name}.corrupt-{time.strftime('%Y%m%d-%H%M%S')}"
    aside, number = file.with_name(stem), 1
    while any(os.path.lexists(_beside(aside, suffix)) for suffix in ("", *COMPANIONS)):
        number += 1
        aside = file.with_name(f"{stem}-{number}")
    return aside


def _move(file: Path, aside: Path) -> None:
    for suffix in ("", *COMPANIONS):
        path = _beside(file, suffix)
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISREG(path.lstat().st_mode):
                path.replace(_beside(aside, suffix))


def has_log(file: Path) -> bool:
    """Whether SQLite's log beside a database holds anything: then only SQLite itself can read what is newest."""
    try:
        return _beside(file, "-wal").stat().st_size > 0
    except OSError:
        return False


def _beside(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)


def _application_id(file: Path) -> int | None:
    """The application id in an SQLite file's header; null for what is no SQLite file."""
    with open_regular(file) as opened:
        head = opened.read(100)
    return int.from_bytes(head[68:72], "big") if len(head) == 100 and head.startswith(_MAGIC) else None


def _says_nothing(file: Path) -> bool:
    """Whether a file's content doesn't say what it is, so that a note beside it may: the note outlives its file.

    A database with anything in it, and plain text, say that they are another program's.
    """
    with open_regular(file) as opened:
        head = opened.read(_TEXT_BYTES)
    if head.startswith(_MAGIC):
        return head[68:72] == bytes(4) and int.from_bytes(head[28:32], "big") <= 1
    if not head or b"\0" in head:
        return True
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return True
    return False


def _holds_schema(file: Path) -> bool:
    """Whether our schema stands in a file that is laid out in pages, as SQLite's are: a dump of it as text is none."""
    try:
        with open_regular(file) as opened:
            return _find_schema(opened)
    except OSError:
        return False


def _find_schema(opened: BinaryIO) -> bool:
    before, looked = b"", 0
    while looked < _LOOK_BYTES and (piece := opened.read(_PIECE)):
        looked += len(piece)
        text = before + piece
        place = text.find(_SCHEMA)
        while place >= 0:
            if b"\0" in text[max(0, place - 4096) : place]:
                return True
            place = text.find(_SCHEMA, place + 1)
        before = text[-(len(_SCHEMA) + 4096) :]
    return False


def _what_it_is(file: Path) -> str:
    try:
        identity = _application_id(file)
    except OddEntryError as error:
        return error.what
    if identity is None:
        return "is no database"
    return "is an SQLite database of another program"
