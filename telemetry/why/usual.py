"""What is usual for a prompt's like: which earlier runs are comparable with it, and where theirs lie."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from ..models.prompt import Prompt
from ..models.why import Usual, Verdict

LEAST_RUNS, MOST_RUNS = 5, 30
"""With fewer nothing is said to be usual; of more the newest count."""
LEAST_CHANGE = 0.05
"""A smaller part of the median is no change, however steady the runs are."""
LEAST_BYTES = 256 * 2**20
SPREADS = 3.0
"""So many deviations (1.4826 times the median absolute one) from the median a run is not usual."""


def comparable(prompt: Prompt, runs: Iterable[Prompt]) -> list[Prompt]:
    """The newest runs with the same workflow, settings, device, warmth, and nodes that ran and were cached."""
    return [run for run in runs if is_like(prompt, run) and _same_way(prompt, run)][:MOST_RUNS]


def is_like(prompt: Prompt, run: Prompt) -> bool:
    """Whether a run has the same workflow with the same settings, on the same device."""
    fingerprint = prompt.settings_fingerprint
    return fingerprint is not None and run.settings_fingerprint == fingerprint and device_of(run) == device_of(prompt)


def _same_way(prompt: Prompt, run: Prompt) -> bool:
    if prompt.status != "success":
        return True  # it stopped somewhere: what ran of it says nothing
    counts, others = prompt.node_counts, run.node_counts
    same = (counts.executed, counts.cached) == (others.executed, others.cached)
    return same and warmth_of(prompt) == warmth_of(run)


def device_of(prompt: Prompt) -> str | None:
    """What it ran on: the name of its first device in use, else its type; null where nothing was sampled."""
    device = next((one for one in prompt.devices if one.in_use), None)
    return (device.name or device.type) if device is not None else None


def warmth_of(prompt: Prompt) -> bool | None:
    """Whether nothing had to be loaded; null where that is not known."""
    return prompt.conditions.warm if prompt.conditions is not None else None


def peak_of(prompt: Prompt) -> int | None:
    """The highest use of VRAM of its first device in use."""
    return next((one.vram_used_peak_bytes for one in prompt.devices if one.in_use), None)


def usual(values: Sequence[float]) -> Usual | None:
    """Null with too few."""
    if len(values) < LEAST_RUNS:
        return None
    ordered = sorted(values)
    last = len(ordered) - 1
    low, high = ordered[math.floor(0.05 * last)], ordered[math.ceil(0.95 * last)]
    return Usual(median=statistics.median(ordered), interval=(low, high), runs=len(ordered))


def median_of(values: Iterable[float | None]) -> float | None:
    """Of those that are known; null where none is."""
    known = [one for one in values if one is not None]
    return statistics.median(known) if known else None


def verdict_of(
    prompt: Prompt, durations: Sequence[float], peaks: Sequence[float], peak: float | None
) -> Verdict | None:
    """How a prompt compares with its like; null while it has no end, and where it never ran."""
    if prompt.status in ("error", "abandoned", "refused"):
        return "failed"
    if prompt.status != "success" or prompt.duration_seconds is None:
        return None
    if len(durations) < LEAST_RUNS:
        return "too few runs"
    change = _change(prompt.duration_seconds, durations)
    if change:
        return "slower" if change > 0 else "faster"
    change = _change(peak, peaks, LEAST_BYTES) if peak is not None and len(peaks) >= LEAST_RUNS else 0
    return "hungrier" if change > 0 else "leaner" if change < 0 else "usual"


def _change(value: float, like: Sequence[float], least: float = 0.0) -> int:
    """1 where a value lies above what is usual, -1 where below, else 0. Compared in logarithms: noise is a share."""
    if value <= 0 or min(like) <= 0:
        return 0
    logs = [math.log(one) for one in like]
    middle = statistics.median(logs)
    spread = 1.4826 * statistics.median([abs(one - middle) for one in logs])
    away = math.log(value) - middle
    outside = value > max(like) or value < min(like)
    if not outside or abs(away) < max(math.log1p(LEAST_CHANGE), SPREADS * spread):
        return 0
    if abs(value - statistics.median(like)) < least:
        return 0
    return 1 if away > 0 else -1
