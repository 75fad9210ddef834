"""The settings that ComfyUI's process takes from its environment, by name, and what can be wrong with one."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

PREFIX = "RUN_RECORDER_"
NAMES = frozenset(
    PREFIX + name
    for name in (
        "ALLOWED_HOSTS",
        "DATABASE_URL",
        "GPU_SOURCES",
        "KEEP_BYTES",
        "KEEP_DAYS",
        "KEEP_PROMPTS",
        "SAMPLER_INTERVAL_SECONDS",
        "SENTINEL",
        "TOKEN",
    )
)
"""Every setting there is."""
ALIKE = 0.75
"""How alike (0 to 1, difflib's ratio), behind the prefix, a misspelt name is to the one that was meant."""


class WrongSetting(NamedTuple):
    """A setting that can't be used."""

    name: str
    why: str
    """The name once more, what was given, what is accepted, and what is used instead. Never a secret."""


def misspelt(settings: Mapping[str, str] = os.environ) -> Iterator[WrongSetting]:
    """Variables that are not settings, and look as if somebody took them for one."""
    for name in settings:
        if name in NAMES or not name.upper().startswith(PREFIX):
            continue
        known = {one.removeprefix(PREFIX): one for one in sorted(NAMES)}
        for meant in difflib.get_close_matches(name.upper().removeprefix(PREFIX), known, n=1, cutoff=ALIKE):
            yield WrongSetting(name, f"{name} is no setting; is {known[meant]} meant?")
