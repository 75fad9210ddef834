"""Whether what somebody reported is a file below the watched folder: a name may be any text."""

from __future__ import annotations

from pathlib import Path

from ..telemetry.markers.folder import stamp_of
from ..telemetry.markers.prefix import PrefixError, PrefixPath, confine


def folder_below(root: Path, folder: str) -> Path | None:
    """A folder that was reported; null where its name or a link leads out of the watched one."""
    if ".." in folder.split("/") or Path(folder).is_absolute():
        return None
    try:
        return confine(root, PrefixPath(folder, ""))
    except PrefixError:
        return None


def is_file(folder: Path, name: str) -> bool:
    """Whether a name, which may be any text, is that of a regular file in a folder."""
    return Path(name).name == name and stamp_of(folder / name) is not None
