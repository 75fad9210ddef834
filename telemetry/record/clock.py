"""What time it is: handed to whatever waits, so that a test turns a clock instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ..models.times import Stamp, milliseconds

NEVER = float("inf")
"""A moment of `Clock.mono` that does not come."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The process' clocks, each in seconds."""

    wall: Callable[[], float] = time.time
    """Since 1970; may jump."""
    mono: Callable[[], float] = time.monotonic
    """What deadlines are counted by."""
    perf: Callable[[], float] = time.perf_counter
    """What events are stamped with, and durations measured by."""

    def stamp(self) -> Stamp:
        """This moment."""
        return Stamp(self.wall(), self.perf())

    def now_ms(self) -> int:
        """This moment in milliseconds since 1970."""
        return milliseconds(self.wall())
