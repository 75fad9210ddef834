"""What the sampler may be told by the environment. A wrong value is told, and its default taken."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass

from ..process.settings import WrongSetting

INTERVAL, SOURCES = "RUN_RECORDER_SAMPLER_INTERVAL_SECONDS", "RUN_RECORDER_GPU_SOURCES"
DEFAULT_INTERVAL_SECONDS = 0.2
SHORTEST_SECONDS, LONGEST_SECONDS = 0.05, 60.0
NAMES = ("nvml", "amdsmi", "sysfs", "torch", "psutil")
"""All sources, in the order in which they are believed."""
NONE = "none"


@dataclass(frozen=True, slots=True)
class SamplerSettings:
    """How often figures are read while a prompt runs, and from which sources; from none where it is off."""

    interval_seconds: float = DEFAULT_INTERVAL_SECONDS
    sources: tuple[str, ...] = NAMES

    @classmethod
    def of(cls, settings: Mapping[str, str] = os.environ) -> tuple[SamplerSettings, list[WrongSetting]]:
        """From the environment, and what was wrong with it."""
        errors: list[WrongSetting] = []
        return cls(_interval(settings, errors), _sources(settings, errors)), errors


def _interval(settings: Mapping[str, str], errors: list[WrongSetting]) -> float:
    given = settings.get(INTERVAL, "").strip()
    if not given:
        return DEFAULT_INTERVAL_SECONDS
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
        return seconds
    accepted = f"a number of seconds from {SHORTEST_SECONDS:g} to {LONGEST_SECONDS:g}"
    errors.append(
        WrongSetting(INTERVAL, f"{INTERVAL}={given!r}: give {accepted}; {DEFAULT_INTERVAL_SECONDS:g} is used")
    )
    return DEFAULT_INTERVAL_SECONDS


def _sources(settings: Mapping[str, str], errors: list[WrongSetting]) -> tuple[str, ...]:
    given = [name.strip().lower() for name in settings.get(SOURCES, "").split(",") if name.strip()]
    if not given:
        return NAMES
    if given == [NONE]:
        return ()
    unknown = [name for name in given if name not in NAMES]
    if unknown:
        accepted = f"any of {', '.join(NAMES)}, with commas between them, or {NONE}"
        errors.append(WrongSetting(SOURCES, f"{SOURCES}: {unknown[0]!r} is no source; give {accepted}; all are used"))
        return NAMES
    return tuple(name for name in NAMES if name in given)
