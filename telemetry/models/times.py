"""Times as the contracts write them: UTC, ISO 8601, milliseconds, Z."""

from __future__ import annotations

import functools
from datetime import datetime, timezone
from typing import NamedTuple

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LATEST_MS = int((datetime(9999, 12, 31, tzinfo=timezone.utc) - _EPOCH).total_seconds() * 1000)


class Stamp(NamedTuple):
    """One moment on two clocks, so that durations don't follow the wall clock when it jumps."""

    wall: float
    """Seconds since 1970, UTC (`time.time`)."""
    mono: float
    """Seconds on `time.perf_counter`."""

    def at(self, mono: float) -> float:
        """The wall time, in seconds, of another reading of the monotonic clock."""
        return self.wall + (mono - self.mono)


def milliseconds(seconds: float) -> int:
    """Seconds since 1970 as whole milliseconds, as the store keeps them."""
    return round(seconds * 1000)


def iso(ms: int) -> str:
    """Milliseconds since 1970 as `2026-08-01T10:20:30.456Z`; what no calendar holds is cut to its ends."""
    if not 0 <= ms <= _LATEST_MS:
        ms = max(0, min(ms, _LATEST_MS))
    return f"{_to_the_second(ms // 1000)}.{ms % 1000:03d}Z"


@functools.lru_cache(maxsize=256)  # many files are of one second
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=timezone.utc).isoformat()[:19]


def iso_or_none(ms: int | None) -> str | None:
    """As `iso`, null for null."""
    return None if ms is None else iso(ms)


def parse(text: str) -> int:
    """An ISO 8601 time as milliseconds since 1970; without a zone it is taken as UTC.

    Raises ValueError for what is no time.
    """
    text = text.strip()
    if text[-1:] in {"Z", "z"}:
        text = text[:-1] + "+00:00"
    head, dot, tail = text.partition(".")
    if dot:
        digits = len(tail) - len(tail.lstrip("0123456789"))
        text = f"{head}.{tail[:digits][:6].ljust(6, '0')}{tail[digits:]}"
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return round((moment - _EPOCH).total_seconds() * 1000)
