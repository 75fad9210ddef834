"""The options that `sentinel watch` and `sentinel install` share, and how they are checked."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..sentinel.comfyui import HttpComfyUI
from ..sentinel.options import Options
from ..telemetry.markers.prefix import EXTENSIONS, counts_as_output
from .output import fail

Folders = Annotated[list[Path], typer.Argument(metavar="DIR...", help="The folders to watch.")]
StableSeconds = Annotated[
    float, typer.Option(help="Seconds without a change after which a file, and a group, is complete.")
]
ScanInterval = Annotated[float, typer.Option(help="Seconds between scans; only while polling.")]
MinFrames = Annotated[int, typer.Option(min=1, help="A group of fewer files gets no marker.")]
Polling = Annotated[bool, typer.Option("--polling", help="Scan instead of waiting for events.")]
Recursive = Annotated[bool, typer.Option("--recursive/--no-recursive", help="Also the folders below.")]
Comfyui = Annotated[str | None, typer.Option("--comfyui", help="A ComfyUI to ask which prompt saved what.")]
MetricsPort = Annotated[int | None, typer.Option(min=0, max=65535, help="Serve metrics for Prometheus on this port.")]
MetricsHost = Annotated[str, typer.Option(help="The address that metrics are served on.")]
Extensions = Annotated[
    str | None,
    typer.Option(metavar="EXT,EXT...", help="What counts as output, in the place of the usual; after a + besides it."),
]


def checked(folders: list[Path], options: Options, extensions: str | None) -> Options:
    """The options of a watch with what was given for `--extensions`, or the end of the command."""
    for name, value in (("--stable-seconds", options.stable_seconds), ("--scan-interval", options.scan_interval)):
        if not 0 < value <= 86400:
            fail("invalid_parameter", f"{name}: {value:g} is out of range; give seconds above 0, at most 86400")
    for folder in folders:
        if folder.exists() and not folder.is_dir():
            fail("invalid_parameter", f"{folder} is a file, not a folder")
    return options if extensions is None else replace(options, extensions=_extensions(extensions))


def _extensions(text: str) -> frozenset[str]:
    """`png,exr` or `+blend`, with dots or without, or the end of the command."""
    given = [part.strip().removeprefix(".").lower() for part in text.removeprefix("+").split(",")]
    for part in given:
        if not re.fullmatch(r"[a-z0-9]{1,16}", part) or not counts_as_output(f"a.{part}"):
            fail(
                "invalid_parameter",
                f"--extensions: {part!r} is no extension that can count; give png,exr or +blend,vdb",
            )
    return frozenset(given) | (EXTENSIONS if text.startswith("+") else frozenset())


def server(url: str | None) -> HttpComfyUI | None:
    """The server that is asked, or the end of the command."""
    try:
        return HttpComfyUI(url) if url is not None else None
    except ValueError as error:
        fail("invalid_parameter", f"--comfyui: {error}")
