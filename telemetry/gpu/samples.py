"""The curve of a prompt: columns of readings, thinned so that no prompt keeps more than 2,000 of them.

A sample stands for one reading at first. When there are too many, neighbours are put together by two, and from then on
a sample stands for twice as many readings: of each figure it keeps minimum, mean and maximum.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_SAMPLES = 2_000
NO_VALUE = math.nan
"""What stands for null in a column."""
WAYS = ("low", "mean", "high")
VERSION = b"\x01"
"""The first byte of an encoded curve."""
UNVERSIONED = b"\x78"
"""The first byte of what zlib compressed: a curve from before there was a version."""


@dataclass(slots=True)
class Column:
    """One figure of one device, or of the system (`device` null)."""

    device: int | None
    name: str
    low: array[float] = field(default_factory=lambda: array("d"))
    mean: array[float] = field(default_factory=lambda: array("d"))
    high: array[float] = field(default_factory=lambda: array("d"))

    def append(self, value: float) -> None:
        """One more sample of one reading."""
        self.low.append(value)
        self.mean.append(value)
        self.high.append(value)

    def absorb(self, value: float, readings: int) -> None:
        """Add one more reading to the last sample, which stands for `readings` so far."""
        if math.isnan(self.mean[-1]):
            self.low[-1] = self.mean[-1] = self.high[-1] = value
            return
        self.low[-1] = min(self.low[-1], value)
        self.high[-1] = max(self.high[-1], value)
        self.mean[-1] += (value - self.mean[-1]) / (readings + 1)

    def halve(self) -> None:
        """Put neighbours together; a null one is its neighbour's figure."""
        self.low = array("d", map(_least, self.low[::2], self.low[1::2]))
        self.high = array("d", map(_most, self.high[::2], self.high[1::2]))
        self.mean = array("d", map(_middle, self.mean[::2], self.mean[1::2]))


Key = tuple[int | None, str]
"""A device's place in the prompt's list, null for the system, and the figure's name."""


class Curve:
    """A prompt's samples while it runs. Times are seconds since its start."""

    def __init__(self, most: int = MAX_SAMPLES) -> None:
        self._most = most - most % 2
        self.times = array("d")
        self.readings_per_sample = 1
        self._in_last = 0
        """How many readings the last sample stands for so far."""
        self.columns: dict[Key, Column] = {}

    def add(self, seconds: float, figures: Mapping[Key, float | None]) -> None:
        """Add a reading. A figure that isn't there, or is null, is null in the curve."""
        for key, value in figures.items():
            if value is not None and key not in self.columns:
                empty = [array("d", [NO_VALUE]) * len(self.times) for _ in WAYS]
                self.columns[key] = Column(*key, *empty)
        begins = self._in_last in (0, self.readings_per_sample)
        if begins:
            self._begin(seconds)
        for key, column in self.columns.items():
            found = figures.get(key)
            if begins:
                column.append(NO_VALUE if found is None else found)
            elif found is not None:
                column.absorb(found, self._in_last)
        self._in_last += 1

    def _begin(self, seconds: float) -> None:
        if len(self.times) >= self._most:
            self._thin()
        self.times.append(seconds)
        self._in_last = 0

    def _thin(self) -> None:
        self.times = self.times[::2]
        for column in self.columns.values():
            column.halve()
        self.readings_per_sample *= 2

    def encode(self) -> bytes:
        """As it is stored: the version, then, compressed, a head that names the columns and each of them as doubles.

        Minimum and maximum are left out where each sample is one reading.
        """
        ways = WAYS if self.readings_per_sample > 1 else ("mean",)
        kept = [column for column in self.columns.values() if any(not math.isnan(value) for value in column.mean)]
        head = json.dumps(
            {"n": len(self.times), "per": self.readings_per_sample, "columns": [[c.device, c.name] for c in kept]},
            separators=(",", ":"),
        ).encode()
        columns = [getattr(column, way) for column in kept for way in ways]
        body = b"".join(_little(values) for values in [self.times, *columns])
        return VERSION + zlib.compress(struct.pack("<I", len(head)) + head + body, 1)


@dataclass(frozen=True, slots=True)
class Samples:
    """A curve as it is served: null is null."""

    t_seconds: list[float]
    readings_per_sample: int
    columns: dict[Key, dict[str, list[int | float | None]]]
    """By figure, each way (`low`, `mean`, `high`) that is kept of it."""


def decode(data: bytes) -> Samples:
    """What `encode` made, of this version or from before there were any. Raises ValueError for anything else."""
    if data[:1] not in (VERSION, UNVERSIONED):
        raise ValueError(f"these are no samples of a version that is known ({data[:1]!r})")
    try:
        plain = zlib.decompress(data.removeprefix(VERSION))
        (length,) = struct.unpack_from("<I", plain)
        head = json.loads(plain[4 : 4 + length])
        count, per = int(head["n"]), int(head["per"])
        keys = [(device, str(name)) for device, name in head["columns"]]
        ways = WAYS if per > 1 else ("mean",)
        body = struct.unpack_from(f"<{count * (1 + len(keys) * len(ways))}d", plain, 4 + length)
    except (zlib.error, struct.error, KeyError, TypeError) as error:
        raise ValueError(f"these are no samples ({error})") from error
    parts = [body[start : start + count] for start in range(0, len(body), count)] if count else []
    given = iter(parts)
    times = [round(value, 3) for value in next(given, ())]
    columns = {key: {way: [_plain(value) for value in next(given, ())] for way in ways} for key in keys}
    return Samples(times, per, columns)


def _plain(value: float) -> int | float | None:
    if math.isnan(value):
        return None
    return int(value) if value.is_integer() else round(value, 3)


def _little(values: array[float]) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


def _least(one: float, other: float) -> float:
    return other if math.isnan(one) else one if math.isnan(other) else min(one, other)


def _most(one: float, other: float) -> float:
    return other if math.isnan(one) else one if math.isnan(other) else max(one, other)


def _middle(one: float, other: float) -> float:
    return other if math.isnan(one) else one if math.isnan(other) else (one + other) / 2
