"""This moment, as events are stamped with it."""

from __future__ import annotations

import time

from ..telemetry.models.times import Stamp


def now() -> Stamp:
    """Wall clock and `time.perf_counter`, in seconds."""
    return Stamp(time.time(), time.perf_counter())
