"""What a source calls a number, as a number; or null. A broken answer never becomes a figure."""

from __future__ import annotations

import math

DIRECTML = "privateuseone"
"""The type of torch-directml's devices."""
GIBIBYTE = 2**30
MOST_BYTES = 2**52
"""4 PiB: no device has more; and a float holds it exactly."""


def figure(value: object, low: float = 0.0, high: float = math.inf) -> float | None:
    """A number between `low` and `high`; null for everything else, a text that looks like one among it."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and low <= number <= high else None


def size(value: object, unit: int = 1) -> int | None:
    """A number of bytes from a count of `unit` bytes; null for what is none."""
    number = figure(value, 0, MOST_BYTES / unit)
    return None if number is None else round(number * unit)


def percent(value: object) -> float | None:
    """0 to 100; null for everything else."""
    return figure(value, 0, 100)


def celsius(value: object) -> float | None:
    """A temperature that a device can have; null for everything else."""
    return figure(value, -50, 200)


def watts(value: object) -> float | None:
    """A power that a device can draw; null for everything else."""
    return figure(value, 0, 20_000)


def free_of(total: int | None, free: int | None) -> tuple[int | None, int | None]:
    """Both, or neither where they contradict one another."""
    if total is None or total == 0 or (free is not None and free > total):
        return None, None
    return total, free


def told_by_directml(kind: str | None, total: int | None) -> bool:
    """Whether a memory is the fixed 1 GiB that ComfyUI gives for a DirectML device, which tells none: no figure."""
    return kind == DIRECTML and total == GIBIBYTE


def text(value: object, most: int = 200) -> str | None:
    """A name, from text or from bytes; null for what is empty or none."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return None
    return "".join(letter for letter in value if letter.isprintable()).strip()[:most] or None


def parsed(value: str) -> float | None:
    """A number as a tool prints it, with a comma or a point; null for `[N/A]`, `[Not Supported]` and whatever else."""
    try:
        number = float(value.strip().replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) else None
