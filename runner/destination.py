"""The folder that files are collected into: which names may stand there, and whether there is room for them."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from ..client.outputs import OutputFile
from ..telemetry.markers.file import sync_folder
from ..telemetry.markers.prefix import MAX_PREFIX_BYTES, PrefixError, PrefixPath, confine, parse_prefix
from ..telemetry.models.text import clean
from .disk import sync_files
from .proof import NoRoomError

MOST_SHOWN = 120
"""Characters of a file's name in a message."""
OF_THE_NAME = (
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.EILSEQ,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENOTEMPTY,
    errno.ELOOP,
)
"""What the disk says to a name that can't stand there: the server's fault, and not the disk's."""
MIB = 2**20


class Destination:
    """One folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def place_of(self, file: OutputFile) -> Path:
        """Where a file is to lie. Raises PrefixError for what is no name of a file, is hidden, or leads out of it."""
        shown = shown_name(file.relative)
        if len(file.relative) > MAX_PREFIX_BYTES:
            raise PrefixError(shown, f"is too long: at most {MAX_PREFIX_BYTES} bytes are accepted")
        if not file.filename or parse_prefix(file.filename) != PrefixPath("", file.filename):
            raise PrefixError(shown, "is no name of a file")
        prefix = parse_prefix(file.relative)
        if any(part.startswith(".") for part in (*prefix.folder.split("/"), prefix.name)):
            raise PrefixError(shown, "is a hidden name")
        return confine(self.path, prefix) / prefix.name

    def check_room(self, first: str, more: int) -> None:
        """Raises OSError where as many more files of the first one's size don't fit, before the disk is full."""
        size = (self.path / first).stat().st_size
        free = shutil.disk_usage(self.path).free
        if size * more > free:
            needed = f"{more} more files of about {size / MIB:.1f} MiB need {size * more / MIB:.0f} MiB"
            raise NoRoomError(errno.ENOSPC, f"no room: {needed}, {free / MIB:.0f} MiB are free", str(self.path.parent))

    def sync(self, names: list[str]) -> None:
        """Have these files and their folders on the disk when this returns. Raises OSError."""
        paths = [self.path / name for name in names]
        sync_files(paths)
        for folder in {path.parent for path in paths}:
            sync_folder(folder)


def shown_name(name: str) -> str:
    """A name as a message has it."""
    return clean(name) if len(name) <= MOST_SHOWN else f"{clean(name, MOST_SHOWN)}..."
