"""Whether a marker that a server sent speaks of the files that were collected."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import ValidationError

from ..client import limits
from ..client.parsing import UnreadableError, parse
from ..telemetry.files.guarded_files import copy_regular, read_regular
from ..telemetry.markers.file import MarkerError
from ..telemetry.markers.folder import stamp_of
from ..telemetry.markers.prefix import PrefixError, PrefixPath, confine, parse_prefix
from ..telemetry.models.marker import DoneMarker

MOST_MARKER_BYTES = 8 * limits.MIB


def disbelief(marker: DoneMarker, prompt_id: str, folder: Path) -> str:
    """Why a marker doesn't speak of this prompt's files; empty where it does."""
    if marker.PromptId != prompt_id:
        return f"is of prompt {marker.PromptId}, not of {prompt_id}"
    if marker.Status != "success":
        return f"says {marker.Status}"
    if marker.FrameCount != len(marker.Files):
        return f"counts {marker.FrameCount} files and lists {len(marker.Files)}"
    for file in marker.Files:
        try:
            place = confine(folder, PrefixPath("", file.Name)) / parse_prefix(file.Name).name
        except PrefixError as error:
            return str(error)
        stamp = stamp_of(place)
        if stamp is None or stamp.bytes != file.Bytes:
            return f"lists {file.Name} with {file.Bytes} bytes, collected were {stamp and stamp.bytes}"
        if file.Sha256 is not None and _hash_of(place, stamp.bytes) != file.Sha256:
            return f"has another hash of {file.Name}"
    return ""


def _hash_of(path: Path, size: int) -> str | None:
    """The SHA-256 of a file of this size; null where it can't be read."""
    digest = hashlib.sha256()
    try:
        copy_regular(path, digest.update, size)
    except OSError:
        return None
    return digest.hexdigest()


def read_marker(path: Path) -> DoneMarker:
    """A marker that a server sent. Raises MarkerError for what is none."""
    try:
        return DoneMarker.model_validate(parse(read_regular(path, MOST_MARKER_BYTES)))
    except (UnreadableError, OSError) as error:
        raise MarkerError(f"it {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise MarkerError(f"it is no marker: {where}: {first['msg']}") from None
