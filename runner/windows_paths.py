"""Paths as Windows writes them, in files that came to another system with what they speak of."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path, PureWindowsPath

_WINDOWS = re.compile(r"(?:^|/)([A-Za-z]:[\\/].*|[^/]*\\.*)$", re.DOTALL)
"""At the end of a path: what Windows calls a file, with its drive or with backslashes."""


def windows_path_in(path: str) -> PureWindowsPath | None:
    """What of a path is one of Windows, perhaps below a folder of this system; null where nothing is, or on Windows."""
    found = _WINDOWS.search(path) if sys.platform != "win32" else None
    return PureWindowsPath(found[1]) if found else None


def located(folder: Path, given: str) -> Path:
    """Where the file is that a story in `folder` calls so, whichever system the story was written on.

    A path of Windows is looked for elsewhere too, in this order: with its backslashes as slashes, if it is relative,
    and by its name alone beside the story, where case doesn't count. The path as it was given where it is nowhere.
    """
    path = folder / given
    windows = windows_path_in(given)
    if windows is None or os.path.lexists(path):
        return path
    places = [] if windows.drive or windows.root else [folder.joinpath(*windows.parts)]
    if windows.name not in ("", ".", ".."):
        places.append(folder / windows.name)
    for place in places:
        if place.is_file():
            return place
    with contextlib.suppress(OSError):
        alike = [one for one in folder.iterdir() if one.name.lower() == windows.name.lower() and one.is_file()]
        if len(alike) == 1:
            return alike[0]
    return path
