"""What is called when a keeper has done something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..telemetry.models.marker import DoneMarker
from .evidence import Key


@dataclass(slots=True)
class KeeperCallbacks:
    """Called with what a keeper has done, for those who show it. Seconds; none of them may raise."""

    marked: Callable[[Path, DoneMarker, float], None] = lambda _path, _marker, _delay: None
    """A marker was written; how many seconds after the last news of its group."""
    withdrawn: Callable[[Path], None] = lambda _path: None
    failed: Callable[[Key, str], None] = lambda _key, _why: None
    scanned: Callable[[str], None] = lambda _why: None
    odd: Callable[[Path, str | None], None] = lambda _path, _why: None
    """What lies there can't be what it is named for, and costs its group its marker; null once that is over."""
