"""Reads and writes `.done` and `.failed` markers; the only writer of them.

A marker is either absent or whole: it is written beside its place under a name that nobody else uses, flushed
to the disk, and moved into place by one rename. The two halves are separate calls, so that the recorder can
commit its record between them.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic_core

from ..files.guarded_files import OddEntryError, TooLargeError, kind_of, read_regular, reason_of
from ..files.held_folder import HeldFolder, held
from ..files.temporaries import temporary_name
from ..models.base import MarkerProducer, MarkerStatus
from ..models.marker import DoneMarker, MarkerFile
from ..models.text import natural_key
from ..models.times import iso, milliseconds
from .folder import FileStamp
from .hashing import Hashed, HashedFile, hash_file
from .prefix import PrefixError, PrefixPath, confine, parse_prefix
from .size import MAX_MARKER_BYTES, fitting_files, fitting_notes

SCHEMA_VERSION = 1
SHARING_RETRY_SECONDS = 2.0
"""How long a file that another Windows process holds open is waited for."""


class MarkerError(RuntimeError):
    """A marker that could not be written or read. The message names it, relative to the output folder."""


@dataclass(frozen=True, slots=True)
class MarkerPlace:
    """Where the markers of one prefix stand."""

    prefix: PrefixPath
    folder: Path
    root: Path | None = None
    """The output folder, with every link followed; the way from it to `folder` has none. Null where `folder` was named
    by the user, and is believed."""

    @classmethod
    def of(cls, output_folder: Path, prefix: PrefixPath) -> MarkerPlace:
        """The place below an output folder. Raises PrefixError where the name is no name, or a link leads out."""
        if parse_prefix(prefix.name) != PrefixPath("", prefix.name):
            raise PrefixError(prefix.name, "is no name of a file")
        return cls(prefix, confine(output_folder, prefix), Path(os.path.realpath(output_folder)))

    def name(self, status: MarkerStatus) -> str:
        """The name of a marker of this status: with `.done` for success and running, else `.failed`."""
        return self.prefix.name + suffix_of(status)

    def path(self, status: MarkerStatus) -> Path:
        """Where a marker of this status stands."""
        return self.folder / self.name(status)

    def relative(self, status: MarkerStatus) -> str:
        """The same, relative to the output folder, forward slashes."""
        return str(self.prefix) + suffix_of(status)


@dataclass(frozen=True, slots=True)
class MarkedFile:
    """A file that goes into a marker."""

    name: str
    """In the marker's folder."""
    stamp: FileStamp
    node_id: str | None = None


def to_be_hashed(place: MarkerPlace, file: MarkedFile) -> HashedFile:
    """Where and as what a file of a marker is read for its hash."""
    return HashedFile(place.folder / file.name, file.stamp, place.root)


def suffix_of(status: MarkerStatus) -> str:
    """`.done` for success and running, `.failed` for everything else."""
    return ".done" if status in ("success", "running") else ".failed"


def make_marker(
    place: MarkerPlace,
    files: Iterable[MarkedFile],
    *,
    status: MarkerStatus,
    producer: MarkerProducer,
    prompt_id: str | None,
    cached: bool = False,
    hash_files: bool = False,
    hashes: Mapping[Path, Hashed] | None = None,
    notes: Iterable[str] = (),
) -> DoneMarker:
    """The marker of some files, in the order of their names with numbers counted as numbers.

    With `hash_files` each file has its SHA-256, from `hashes` by its path, else it is read now; one that can't be read,
    or has changed since it was listed, is listed without, with a note. What would make the marker larger than
    `MAX_MARKER_BYTES` is left out of its lists, and a note says so.
    """
    ordered = sorted(files, key=lambda file: natural_key(file.name))
    said = list(notes)
    listed = []
    for file in ordered:
        digest = None
        if hash_files:
            asked = to_be_hashed(place, file)
            hashed = (hashes or {}).get(asked.path) or hash_file(asked)
            digest = hashed.digest
            said += [hashed.note] if hashed.note else []
        modified = iso(file.stamp.modified_ns // 1_000_000)
        listed.append(
            MarkerFile(Name=file.name, Bytes=file.stamp.bytes, Modified=modified, NodeId=file.node_id, Sha256=digest)
        )
    said = fitting_notes(said)
    listed = fitting_files(listed, said)
    newest = max((file.stamp.modified_ns for file in ordered), default=None)
    return DoneMarker(
        Timestamp=iso(milliseconds(time.time())),
        FrameCount=len(listed),
        Latest=None if newest is None else iso(newest // 1_000_000),
        SchemaVersion=SCHEMA_VERSION,
        Status=status,
        PromptId=prompt_id,
        Producer=producer,
        Cached=cached,
        Files=listed,
        Notes=said,
    )


def as_document(marker: DoneMarker) -> dict[str, Any]:
    """The marker's fields as the contract has them: a hash that was not asked for is left out."""
    data = marker.model_dump()
    for file in data["Files"]:
        if file["Sha256"] is None:
            del file["Sha256"]
    return data


def encode(marker: DoneMarker) -> bytes:
    """The marker as it stands in its file. Names that are no valid Unicode are escaped, not lost."""
    data = as_document(marker)
    with contextlib.suppress(ValueError):  # it refuses what is no valid Unicode
        return pydantic_core.to_json(data, indent=2) + b"\n"
    return (json.dumps(data, ensure_ascii=False, indent=2) + "\n").encode("utf-8", "backslashreplace")


def write_temporary(place: MarkerPlace, marker: DoneMarker) -> Path:
    """Write a marker beside its place and flush it to the disk; `put_in_place` makes it visible.

    The folder is made where it is missing, and one that was exchanged for a link since it was looked at is refused.
    Raises MarkerError, and then leaves nothing behind.
    """
    name = temporary_name()
    try:
        with held(place.folder, place.root, make=True) as folder:
            _write_new(folder, name, encode(marker))
    except OSError as error:
        raise MarkerError(f"marker {place.prefix} could not be written: {reason_of(error)}") from error
    return place.folder / name


def _write_new(folder: HeldFolder, name: str, data: bytes) -> None:
    with open(folder.create(name), "wb") as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            with contextlib.suppress(OSError):  # it tries once more to write what the disk has no room for
                file.close()
            _remove(folder, name)
            raise


def put_in_place(temporary: Path, place: MarkerPlace, status: MarkerStatus) -> None:
    """Rename a written temporary to its marker, and remove the other kind. Atomic for every reader.

    Where the file system refuses to replace an existing file, the stale marker is removed first. Raises
    MarkerError when nothing works; then neither a marker of this status nor the temporary is there.
    """
    try:
        with held(place.folder, place.root) as folder:
            try:
                _patiently(lambda: _replace(folder, temporary.name, place.name(status)))
            except OSError:
                _remove(folder, temporary.name)
                raise
            _remove(folder, place.name("error" if suffix_of(status) == ".done" else "success"))
    except OSError as error:
        raise MarkerError(f"marker {place.relative(status)} could not be put in place: {reason_of(error)}") from error
    sync_folder(place.folder)


def put_where_free(temporary: Path, place: MarkerPlace, status: MarkerStatus) -> bool:
    """As `put_in_place`, only where no marker of this name stands; false where one does, and it is left as it is.

    Atomic where the file system has hard links, and on Windows; elsewhere another writer's marker is overwritten
    if it comes between the look and the rename. The temporary is gone either way. Raises MarkerError.
    """
    try:
        with held(place.folder, place.root) as folder:
            try:
                _take_free_name(folder, temporary.name, place.name(status))
            except OSError:
                _remove(folder, temporary.name)
                raise
    except FileExistsError:
        return False
    except OSError as error:
        raise MarkerError(f"marker {place.relative(status)} could not be put in place: {reason_of(error)}") from error
    sync_folder(place.folder)
    return True


def _take_free_name(folder: HeldFolder, temporary: str, target: str) -> None:
    try:
        folder.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # no hard links here
        if sys.platform != "win32" and folder.has(target):
            raise FileExistsError(target) from None
        folder.rename(temporary, target)
    else:
        _remove(folder, temporary)


def take_away(path: Path, is_ours: Callable[[DoneMarker], bool], root: Path | None = None) -> DoneMarker | None:
    """Remove a marker that is ours; what it said. Null where there is none, or it is somebody else's, which stays.

    It is first renamed to a name of our own, so that what is looked at is what is removed. With `root`, the output
    folder with every link followed, no link on the way from it is followed.
    """
    aside = path.with_name(temporary_name())
    with contextlib.suppress(OSError, MarkerError), held(path.parent, root) as folder:
        if not is_ours(read_marker(path, root)):
            return None
        _patiently(lambda: folder.replace(path.name, aside.name))
        with contextlib.suppress(OSError, MarkerError):
            marker = read_marker(aside, root)
            if is_ours(marker):
                _remove(folder, aside.name)
                return marker
        with contextlib.suppress(OSError):  # another writer's came in between: it goes back, unless a newer one stands
            _take_free_name(folder, aside.name, path.name)
        _remove(folder, aside.name)
    return None


def _replace(folder: HeldFolder, temporary: str, target: str) -> None:
    try:
        folder.replace(temporary, target)
    except OSError:
        if sys.platform == "win32" or not folder.has(target) or not folder.has(temporary):
            raise
        folder.unlink(target)
        _move_to_free_name(folder, temporary, target)


def _move_to_free_name(folder: HeldFolder, temporary: str, target: str) -> None:
    try:
        folder.rename(temporary, target)
    except OSError:
        folder.link(temporary, target)
        folder.unlink(temporary)


def _patiently(action: Callable[[], object]) -> None:
    """Do it, and on Windows again for up to two seconds while another process holds the file."""
    deadline = time.monotonic() + (SHARING_RETRY_SECONDS if sys.platform == "win32" else 0)
    while True:
        try:
            action()
        except PermissionError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.01)
        else:
            return


def write_marker(place: MarkerPlace, marker: DoneMarker) -> Path:
    """Write a marker and put it in place; its path. Raises MarkerError."""
    status: MarkerStatus = marker.Status or "success"
    put_in_place(write_temporary(place, marker), place, status)
    return place.path(status)


def remove(path: Path) -> bool:
    """Remove a marker or a temporary; false where there was none or it can't be removed."""
    try:
        _patiently(path.unlink)
    except OSError:
        return False
    return True


def _remove(folder: HeldFolder, name: str) -> bool:
    try:
        _patiently(lambda: folder.unlink(name))
    except OSError:
        return False
    return True


def remove_stale(place: MarkerPlace) -> bool:
    """Remove both kinds of marker of one prefix; true where there was one."""
    with contextlib.suppress(OSError), held(place.folder, place.root) as folder:
        return any([_remove(folder, place.name("success")), _remove(folder, place.name("error"))])
    return False


def in_the_way(place: MarkerPlace, status: MarkerStatus) -> str | None:
    """What stands where a marker of this status was removed, a folder for one, in words; null where nothing does."""
    try:
        mode = place.path(status).lstat().st_mode
    except OSError:
        return None
    return f"{place.relative(status)} {kind_of(mode)} that can't be removed"


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder survive a loss of power, where the platform can."""
    if sys.platform == "win32":
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_marker(path: Path, root: Path | None = None) -> DoneMarker:
    """Read a marker, an older one with only `Timestamp` too; fields that we don't know are dropped.

    With `root` it must lie in that folder. A link is not followed, and a pipe not waited for. Raises FileNotFoundError
    where there is none, MarkerError where it is no marker.
    """
    try:
        data = read_regular(path, MAX_MARKER_BYTES, root)
    except FileNotFoundError:
        raise
    except TooLargeError as error:
        raise MarkerError(f"{path.name} is larger than any marker ({MAX_MARKER_BYTES} bytes)") from error
    except OddEntryError as error:
        raise MarkerError(f"{path.name} can't be read: it {error.what}") from error
    except (OSError, ValueError) as error:
        raise MarkerError(f"{path.name} can't be read: {reason_of(error)}") from error
    try:
        return DoneMarker.model_validate(json.loads(data.decode("utf-8-sig")))
    except (ValueError, RecursionError) as error:
        raise MarkerError(f"{path.name} is no marker: {str(error).splitlines()[0]}") from error
