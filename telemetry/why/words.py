"""Figures in words, as people say them."""

from __future__ import annotations

_STEPS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def size_of(number: float | None) -> str:
    """`1.5 GiB`, `512 bytes`; `?` for what is not known."""
    if number is None:
        return "?"
    size, step = float(number), 0
    while abs(size) >= 1024 and step < len(_STEPS) - 1:
        size, step = size / 1024, step + 1
    return f"{size:.0f} {_STEPS[step]}" if step == 0 else f"{size:.1f} {_STEPS[step]}"


def seconds_of(number: float) -> str:
    """`20 ms`, `0.45 s`, `4.5 s`, `12 s`, `3 min 5 s`."""
    if number < 1:
        return f"{number * 1000:.3g} ms" if number < 0.1 else f"{number:.2f} s"
    if number >= 60:
        return f"{int(number) // 60} min {int(number) % 60} s"
    return f"{number:.1f} s" if number < 10 else f"{number:.0f} s"


def word_of(value: object) -> str:
    """A value as a sentence names it: "none" for null, a list's members with commas."""
    return "none" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
