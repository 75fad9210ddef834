"""A run's archive: streamed, and the same bytes from the same files."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from ..telemetry.files.guarded_files import OddEntryError, open_regular
from ..telemetry.files.temporaries import is_temporary, temporary_name
from ..telemetry.markers.file import sync_folder
from ..telemetry.models.text import clean

CHUNK = 1024 * 1024
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every entry: a file's own time is no part of it, or a copied run would get another archive."""
STORED = frozenset(
    (".png", ".jpg", ".jpeg", ".webp", ".gif", ".mp4", ".webm", ".mkv", ".zip", ".flac", ".mp3", ".opus")
)
"""What is compressed already."""
HIDDEN = "."


def write_archive(folder: Path, target: Path) -> int:
    """Write all files below a folder into one zip, which leaves itself out; how many there are.

    No file is held in memory. Hidden files, other archives of the folder's top and symlinks stay out. Raises OSError;
    an earlier archive is then still there, whole.
    """
    temporary = target.parent / temporary_name()
    count = 0
    try:
        with temporary.open("xb") as out:
            with zipfile.ZipFile(out, "w", allowZip64=True) as archive:
                for path in _files(folder, target):
                    count += _add(archive, path, folder)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(target.parent)
    return count


def _files(folder: Path, target: Path) -> Iterator[Path]:
    """In the order of their names, so that no file system has a say."""
    for path in sorted(folder.rglob("*"), key=lambda one: one.relative_to(folder).as_posix()):
        hidden = any(part.startswith(HIDDEN) for part in path.relative_to(folder).parts)
        if path != target and not hidden and not is_temporary(path.name) and path.is_file() and not path.is_symlink():
            yield path


def _add(archive: zipfile.ZipFile, path: Path, folder: Path) -> bool:
    """Whether it was a regular file of the folder's own, to its end."""
    try:
        with open_regular(path, folder) as source:
            size = os.fstat(source.fileno()).st_size
            entry = zipfile.ZipInfo(clean(path.relative_to(folder).as_posix()), EPOCH)
            entry.create_system = 3  # or the archive would tell the platform
            entry.external_attr = 0o644 << 16
            entry.file_size = size
            entry.compress_type = zipfile.ZIP_STORED if path.suffix.lower() in STORED else zipfile.ZIP_DEFLATED
            with archive.open(entry, "w") as out:
                left = size
                while left and (chunk := source.read(min(CHUNK, left))):
                    out.write(chunk)
                    left -= len(chunk)
    except OddEntryError:
        return False
    return True
