"""How folders are watched."""

from __future__ import annotations

from dataclasses import dataclass

from ..telemetry.markers.prefix import EXTENSIONS


@dataclass(frozen=True, slots=True)
class Options:
    """How folders are watched. Seconds."""

    stable_seconds: float = 3.0
    scan_interval: float = 2.0
    min_frames: int = 1
    recursive: bool = True
    polling: bool = False
    lock: bool = True
    extensions: frozenset[str] = EXTENSIONS
    """What counts as output, without a dot, in lower case."""
