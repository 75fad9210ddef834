"""`run-recorder gpu`: what the telemetry sees now, and through which source."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from ..client.outside import Outside, Seen
from ..client.urls import DEFAULT_URL
from ..telemetry.models.gpu import LiveFigures
from ..telemetry.process.token import bearer_of
from .output import CommandError, print_json, table
from .prompts import AsJson, Comfyui
from .server import Server
from .terminal import print_document, say

GIB = 1024**3
COLUMNS = {
    "device": "device",
    "name": "name",
    "in_use": "in use",
    "free": "free GiB",
    "total": "total GiB",
    "busy": "busy %",
    "celsius": "\N{DEGREE SIGN}C",
    "watts": "W",
    "source": "source",
}


def gpu(
    comfyui: Comfyui = DEFAULT_URL,
    watch: Annotated[bool, typer.Option("--watch", help="Again and again, until Ctrl-C.")] = False,
    interval: Annotated[float, typer.Option(min=0.2, max=3600, help="Seconds between two looks, with --watch.")] = 2.0,
    as_json: AsJson = False,
) -> int:
    """Show devices and memory as the server tells; else as ComfyUI or nvidia-smi does, and then it says so."""
    server = Server(comfyui)
    looking = Outside(server.url, bearer_of())
    while True:
        seen = looking.look()
        if seen.step is None and not watch:
            raise CommandError("unavailable", f"nothing answers at {server.url}, {_without_smi(seen)}")
        _show(seen, as_json=as_json, in_lines=watch)
        if not watch:
            return 0
        time.sleep(interval)


def _without_smi(seen: Seen) -> str:
    """Why nvidia-smi is of no help: its own words come after the note on the server."""
    return f"and {'; '.join(seen.notes[1:])}" if len(seen.notes) > 1 else "nor is there an nvidia-smi to ask"


def _show(seen: Seen, *, as_json: bool, in_lines: bool) -> None:
    document = LiveFigures(
        devices=seen.devices,
        system=seen.system,
        telemetry_source=seen.telemetry_source,
        fallback_notes=seen.notes,
    ).model_dump()
    if not as_json:
        _show_table(seen)
    elif in_lines:
        print_document(document, in_one_line=True)
    else:
        print_json(document)


def _show_table(seen: Seen) -> None:
    table(f"GPU, by {seen.step or 'nothing'}", [_row(device.model_dump()) for device in seen.devices], COLUMNS)
    system = seen.system
    if system is not None and system.ram_total_bytes is not None and system.ram_free_bytes is not None:
        line = f"Host: {system.ram_free_bytes / GIB:.1f} of {system.ram_total_bytes / GIB:.1f} GiB free"
        say(line if system.cpu_percent is None else f"{line}, processor {system.cpu_percent:.0f}% busy")
    for note in seen.notes:
        say(f"Note: {note}")


def _row(device: dict[str, Any]) -> dict[str, object]:
    kind, index = device["type"] or "gpu", device["index"]
    return {
        "device": kind if index is None else f"{kind}:{index}",
        "name": device["name"],
        "in_use": "yes" if device["in_use"] else "",
        "free": _gib(device["vram_free_bytes"]),
        "total": _gib(device["vram_total_bytes"]),
        "busy": _whole(device["utilization_percent"]),
        "celsius": _whole(device["temperature_celsius"]),
        "watts": _whole(device["power_watts"]),
        "source": device["source"],
    }


def _gib(count: int | None) -> str | None:
    return None if count is None else f"{count / GIB:.1f}"


def _whole(value: float | None) -> str | None:
    return None if value is None else f"{value:.0f}"
