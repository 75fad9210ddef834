"""`run-recorder mark`: a marker by hand, or from another tool."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ..telemetry.files.temporaries import sweep
from ..telemetry.markers.file import MarkedFile, MarkerError, MarkerPlace, make_marker, write_marker
from ..telemetry.markers.folder import files_in
from ..telemetry.markers.grouping import group_of
from ..telemetry.markers.prefix import PrefixError, PrefixPath, parse_prefix
from ..telemetry.models.base import MarkerStatus
from ..telemetry.models.text import id_note
from .output import DONE, FAILED, fail, print_json
from .terminal import say


class Status(str, Enum):
    """What the marker is to say."""

    success = "success"
    running = "running"
    error = "error"
    interrupted = "interrupted"
    abandoned = "abandoned"


def mark(
    target: Annotated[str, typer.Argument(metavar="DIR/PREFIX", help="The folder, and the prefix of its files.")],
    frames: Annotated[int | None, typer.Option(min=0, help="Write it only if there are exactly so many.")] = None,
    status: Annotated[Status, typer.Option(help="What the marker is to say.")] = Status.success,
    prompt_id: Annotated[str | None, typer.Option(help="The prompt that saved the files.")] = None,
    hash_files: Annotated[bool, typer.Option("--hash-files", help="Also write each file's SHA-256.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> int:
    """Write a .done (or .failed) marker for the files of a prefix."""
    note = id_note(prompt_id) if prompt_id is not None else None
    if note is not None:
        fail("invalid_parameter", f"--prompt-id: {note}")
    parent, name = os.path.split(target)  # not as a Path: that would take `out/` and `out/.` for a prefix `out`
    folder, prefix = Path(parent), _checked(name)
    if not folder.is_dir():
        fail("not_found", f"{folder} is no folder")
    try:
        there = dict(files_in(folder, strict=True))
    except OSError as error:
        fail("io", f"{folder} can't be read: {error.strerror}; no marker written", FAILED)
    plain = [name for name in there if group_of(name) == prefix.name]
    named = plain or [name for name in there if group_of(name, prefix.name) == prefix.name]
    files = [MarkedFile(name, there[name]) for name in named]
    if frames is not None and len(files) != frames:
        fail("conflict", f"{len(files)} files have the prefix {prefix}, not {frames}; no marker written", FAILED)
    if not files and frames is None and status in (Status.success, Status.running):
        fail("not_found", f"no file in {folder} has the prefix {prefix}; give --frames 0 if that is right")
    place = MarkerPlace(prefix, folder)
    kind: MarkerStatus = status.value
    marker = make_marker(place, files, status=kind, producer="cli", prompt_id=prompt_id, hash_files=hash_files)
    sweep(folder)
    try:
        path = write_marker(place, marker)
    except MarkerError as error:
        fail("unavailable", str(error), FAILED)
    if as_json:
        print_json({"Path": str(path), **marker.model_dump(exclude_none=False)})
    else:
        say(f"{path}: {len(files)} files, {kind}")
    return DONE


def _checked(name: str) -> PrefixPath:
    try:
        return parse_prefix(name)
    except PrefixError as error:
        fail("invalid_parameter", str(error))
