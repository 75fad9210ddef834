"""Keeps a marker below the size that every reader takes: what is too much is left out of its lists, and said."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import accumulate, takewhile

from ..models.marker import MarkerFile

MAX_MARKER_BYTES = 64 * 1024 * 1024
"""No marker is written larger, and none that is larger is read."""
MAX_NOTES = 1000
MAX_NOTE = 2000
"""Characters of one note."""
CUT = "lists only "
"""How the note of a cut list begins."""
_OTHER_BYTES = 16 * 1024 * 1024
"""Room for everything but the files: so many notes, escaped, and the fields."""
_INDENT = 4
_FIELDS = 400
"""More than what is written of a file besides its name and its node takes."""
_ESCAPED = 12
"""Bytes that one character can take."""


def fitting_notes(notes: Iterable[str]) -> list[str]:
    """The first notes, each cut, and how many more there were."""
    whole = list(notes)
    kept = [note if len(note) <= MAX_NOTE else f"{note[:MAX_NOTE]}..." for note in whole[:MAX_NOTES]]
    return kept if len(whole) <= MAX_NOTES else [*kept, f"and {len(whole) - MAX_NOTES} more notes"]


def fitting_files(files: list[MarkerFile], notes: list[str], most: int = MAX_MARKER_BYTES) -> list[MarkerFile]:
    """As many of the files, from the first on, as a marker of `most` bytes holds; where some are left out, a note more.

    `notes` are as `fitting_notes` leaves them.
    """
    room = most - min(_OTHER_BYTES, most // 4)
    letters = sum(len(file.Name) + len(file.NodeId or "") for file in files)
    if _FIELDS * len(files) + _ESCAPED * letters <= room:  # as ever: nothing need be counted
        return files
    count = sum(1 for _ in takewhile(lambda size: size <= room, accumulate(_sizes(files))))
    if count < len(files):
        notes.insert(0, f"{CUT}the first {count} of {len(files)} files: a marker has at most {most} bytes")
    return files[:count]


def _sizes(files: Iterable[MarkerFile]) -> Iterator[int]:
    """What each file takes in a marker, at most: with everything but ASCII escaped, which takes more than UTF-8."""
    for file in files:
        text = json.dumps(file.model_dump(), indent=2)
        yield len(text) + _INDENT * (text.count("\n") + 1) + len(",\n")
