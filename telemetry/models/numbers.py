"""Numbers from outside, made fit to be kept."""

from __future__ import annotations

import math


def finite(value: object) -> float | None:
    """A number; null for what is none, or is not finite."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def duration(seconds: float) -> float:
    """Seconds to the microsecond; never negative, whatever order threads told in."""
    return max(0.0, round(seconds, 6))
