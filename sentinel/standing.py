"""The markers that stand already: whose they are, and whether what they say is still so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..telemetry.files.guarded_files import OddEntryError, read_regular
from ..telemetry.markers.file import MarkerPlace
from ..telemetry.markers.folder import FileStamp
from ..telemetry.markers.size import CUT, MAX_MARKER_BYTES
from ..telemetry.models.base import MarkerProducer
from ..telemetry.models.marker import DoneMarker
from ..telemetry.models.times import iso

PRODUCER: MarkerProducer = "sentinel"
File = tuple[int, str]
"""Bytes and time of modification, as a marker has them."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A marker as far as the sentinel needs it. Of one that can't be read only that it is there."""

    path: Path
    producer: str | None
    prompt_id: str | None
    latest: str | None
    files: Mapping[str, File]
    timestamp: str | None
    is_cut: bool = False
    """Whether there were more files than a marker lists."""
    odd: str | None = None
    """Why it can't be read, in words, where what stands there is not what any writer of markers makes; else null."""

    @property
    def is_ours(self) -> bool:
        """Whether a sentinel wrote it. Nobody else's is ever removed, nor overwritten by what is no better."""
        return self.producer == PRODUCER

    def lists(self, name: str, stamp: FileStamp | None) -> bool:
        """Whether it lists a file just as it is now; with null, whether it lists it at all."""
        listed = self.files.get(name)
        return listed is not None and (stamp is None or listed == as_listed(stamp))

    def is_right(self, files: Mapping[str, FileStamp]) -> bool:
        """Whether it needs no change for a group of these files.

        A prompt's marker speaks of that prompt's files: others may lie beside them, as long as none is newer; and so
        may those that were too many to be listed.
        """
        if not all(name in files and self.files[name] == as_listed(files[name]) for name in self.files):
            return False
        others = [stamp for name, stamp in files.items() if name not in self.files]
        if not others:
            return True
        latest = self.latest or ""
        return (self.prompt_id is not None or self.is_cut) and all(as_listed(stamp)[1] <= latest for stamp in others)


def as_listed(stamp: FileStamp) -> File:
    """A file as a marker lists it."""
    return stamp.bytes, iso(stamp.modified_ns // 1_000_000)


def is_ours(marker: DoneMarker) -> bool:
    """Whether a sentinel wrote a marker."""
    return marker.Producer == PRODUCER


def standing(place: MarkerPlace) -> Standing | None:
    """The `.done` or else the `.failed` of a group; null where neither is there."""
    return read(place.path("success")) or read(place.path("error"))


def read(path: Path) -> Standing | None:
    """Read a marker, for comparing only: quicker than `read_marker`, which checks it. Null where there is none."""
    try:
        data = read_regular(path, MAX_MARKER_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OddEntryError as error:
        return _unread(path, error.what)
    except (OSError, ValueError) as error:
        return _unread(path, f"can't be read: {getattr(error, 'strerror', None) or type(error).__name__}")
    try:
        return _of(path, json.loads(data))
    except RecursionError:
        return _unread(path, "is nested too deep")
    except (ValueError, TypeError, KeyError, AttributeError):
        return _unread(path, None)


def _unread(path: Path, odd: str | None) -> Standing:
    return Standing(path, None, None, None, {}, None, odd=odd)


def _of(path: Path, found: dict[str, Any]) -> Standing:
    files = {file["Name"]: (file["Bytes"], file["Modified"]) for file in found.get("Files") or ()}
    told = (found.get(name) for name in ("Producer", "PromptId", "Latest", "Timestamp"))
    producer, prompt_id, latest, timestamp = (value if isinstance(value, str) else None for value in told)
    is_cut = any(isinstance(note, str) and note.startswith(CUT) for note in found.get("Notes") or ())
    return Standing(path, producer, prompt_id, latest, files, timestamp, is_cut)
