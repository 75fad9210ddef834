"""What the core's tests share: moments, graphs, events and files."""

import os
from pathlib import Path
from typing import Any

from run_recorder.telemetry.markers.file import MarkerPlace
from run_recorder.telemetry.markers.prefix import parse_prefix
from run_recorder.telemetry.markers.requests import MARKER_CLASS
from run_recorder.telemetry.models.times import Stamp
from run_recorder.telemetry.record.events import PromptDone, PromptOutcome, PromptQueued, PromptStarted

T0 = 1_700_000_000.0
"""When the tests' clocks begin, on the wall."""


def at(seconds: float) -> Stamp:
    """A moment so many seconds after the beginning; the monotonic clock reads 100 more."""
    return Stamp(T0 + seconds, 100.0 + seconds)


def ms(seconds: float) -> int:
    """The same as the store keeps it."""
    return round((T0 + seconds) * 1000)


def node(class_type: str, title: str | None = None, **inputs: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"class_type": class_type, "inputs": inputs}
    if title is not None:
        made["_meta"] = {"title": title}
    return made


def marker_node(**inputs: Any) -> dict[str, Any]:
    return node(MARKER_CLASS, **inputs)


def saver(prefix: str, **inputs: Any) -> dict[str, Any]:
    return node("SaveImage", filename_prefix=prefix, **inputs)


def queued(
    prompt_id: str = "p",
    graph: dict[str, Any] | None = None,
    *,
    when: Stamp | None = None,
    number: float | None = 1,
    accepted: set[str] | None = None,
    restricted: bool | None = False,
    **more: Any,
) -> PromptQueued:
    """A prompt put into the queue; every node is accepted unless told otherwise."""
    graph = {"1": node("EmptyImage")} if graph is None else graph
    taken = frozenset(graph) if accepted is None else frozenset(accepted)
    return PromptQueued(prompt_id, when or at(0), number, graph, taken, restricted, **more)


def started(prompt_id: str = "p", when: Stamp | None = None, **more: Any) -> PromptStarted:
    return PromptStarted(prompt_id, when or at(1), **more)


def outcome(prompt_id: str = "p", status: str = "success", when: Stamp | None = None, **more: Any) -> PromptOutcome:
    return PromptOutcome(prompt_id, when or at(5), status, **more)


def done(
    prompt_id: str = "p", outputs: Any = (), when: Stamp | None = None, succeeded: bool | None = True
) -> PromptDone:
    return PromptDone(prompt_id, when or at(6), {} if outputs == () else outputs, succeeded)


def image(filename: str, subfolder: str = "", kind: str = "output", key: str = "images") -> dict[str, Any]:
    """The ui values of a node that reported one file."""
    return {key: [{"filename": filename, "subfolder": subfolder, "type": kind}]}


def write(path: Path, data: bytes = b"data", modified: float | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if modified is not None:
        os.utime(path, (modified, modified))
    return path


def tree(folder: Path) -> list[str]:
    """Every file below a folder, hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def place(output_folder: Path, prefix: str) -> MarkerPlace:
    return MarkerPlace.of(output_folder, parse_prefix(prefix))
