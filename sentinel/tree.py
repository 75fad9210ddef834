"""What lies in a watched folder: walks it, without following links to folders, so that no loop is ever entered."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..telemetry.files.temporaries import is_orphan, is_temporary
from ..telemetry.markers.folder import FileStamp
from ..telemetry.markers.grouping import group_of
from ..telemetry.markers.prefix import EXTENSIONS, MARKER_SUFFIXES, extension_of
from .evidence import Key

FEW = 64
"""Up to so many prefixes a name is first held against their beginnings, which is quicker than to group it."""


@dataclass(slots=True)
class Folder:
    """One folder of the tree: its groups, and the names of the markers in it."""

    path: str
    """Relative to the watched folder, forward slashes, empty for itself."""
    groups: dict[str, dict[str, FileStamp]] = field(default_factory=dict)
    """By prefix the files, each with its stamp."""
    markers: list[str] = field(default_factory=list)


Shut = Callable[[str, OSError], None]
"""Takes a folder that can't be read, as `Folder.path` names it, and why."""
Counts = Callable[[str], bool]
"""Whether a file of this name is anybody's output."""


def counting(extensions: Collection[str] = EXTENSIONS) -> Counts:
    """By default every media kind that savers write counts; a hidden name never does.

    No temporary name and no marker has one of these extensions, so that `counts_as_output` need not be asked.
    """

    def counts(name: str) -> bool:
        return not name.startswith(".") and extension_of(name) in extensions

    return counts


def walk(root: Path, counts: Counts, shut: Shut, *, recursive: bool = True, below: str = "") -> Iterator[Folder]:
    """Every folder below `below`, itself first. Temporaries of dead writers are removed on the way.

    What may not be read is told to `shut`, and passed over. Raises OSError where the root can't be listed.
    """
    waiting = [below]
    while waiting:
        path = waiting.pop()
        try:
            folder, deeper = _list(root, path, counts)
        except OSError as error:
            if not path:
                raise
            if not isinstance(error, (FileNotFoundError, NotADirectoryError)):  # it is gone since it was listed
                shut(path, error)
            continue
        if recursive:
            waiting.extend(deeper)
        yield folder


def _list(root: Path, path: str, counts: Counts) -> tuple[Folder, list[str]]:
    folder, deeper = Folder(path), []
    groups = folder.groups
    place = root / path if path else root
    require_open(place)
    with os.scandir(place) as entries:
        for entry in entries:
            name = entry.name
            if counts(name):
                stamp = stamp_of(entry)
                if stamp is not None:
                    groups.setdefault(group_of(name), {})[name] = stamp
                    continue
            if name.endswith(MARKER_SUFFIXES):
                folder.markers.append(name)
                if _is_folder(entry):
                    deeper.append(f"{path}/{name}" if path else name)
            elif is_temporary(name):
                _sweep(Path(entry.path))
            elif _is_folder(entry):
                deeper.append(f"{path}/{name}" if path else name)
    return folder, deeper


def require_open(folder: Path) -> None:
    """Raises PermissionError for a folder whose names can be listed, perhaps, but whose files can't be looked at."""
    if not os.access(folder, os.X_OK) and folder.is_dir():
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def stamp_of(entry: os.DirEntry[str]) -> FileStamp | None:
    """Size, time and inode of a regular file; null for anything else, links too, and where it can't be read."""
    try:  # not `suppress`, which costs a fifth of this
        if entry.is_file(follow_symlinks=False):
            status = entry.stat(follow_symlinks=False)
            return FileStamp(status.st_size, status.st_mtime_ns, str(status.st_ino or entry.inode()))
    except OSError:
        pass
    return None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    with contextlib.suppress(OSError):
        return entry.is_dir(follow_symlinks=False)
    return False


def _sweep(path: Path) -> None:
    if is_orphan(path):
        with contextlib.suppress(OSError):
            path.unlink()


def count_folders(root: Path) -> int:
    """How many folders there are, the first one included, without following links."""
    return sum(1 for _ in os.walk(root))


def list_groups(
    folder: Path, counts: Counts, wanted: Collection[str], also: Collection[str] = ()
) -> dict[str, dict[str, FileStamp]]:
    """The files of some groups of one folder, by prefix and name; those named in `also` stand under an empty prefix.

    A folder that isn't there is empty. Raises OSError where it can't be read: then nothing is known of it.
    """
    found: dict[str, dict[str, FileStamp]] = {prefix: {} for prefix in wanted}
    found[""] = {}
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return found
    heads = tuple(wanted) if len(wanted) <= FEW else ("",)
    with entries:
        for entry in entries:
            name = entry.name
            if name in also:
                _keep(found[""], entry)
            if not name.startswith(heads) or not counts(name):
                continue
            group = found.get(group_of(name))
            if group is not None:
                _keep(group, entry)
    return found


def _keep(files: dict[str, FileStamp], entry: os.DirEntry[str]) -> None:
    stamp = stamp_of(entry)
    if stamp is not None:
        files[entry.name] = stamp


def path_of(root: Path, key: Key) -> Path:
    """The folder of a group."""
    return root / key.folder if key.folder else root
