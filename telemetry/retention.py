"""How much is kept: by count, age and size. Pruning takes small bites, so that no record waits for it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .store import Store
from .times import milliseconds

KEEP_PROMPTS, KEEP_DAYS, KEEP_BYTES = "RUN_RECORDER_KEEP_PROMPTS", "RUN_RECORDER_KEEP_DAYS", "RUN_RECORDER_KEEP_BYTES"
DEFAULT_PROMPTS = 1_000_000
BITE_SECONDS = 0.01
"""About how long a transaction may take, for which a record would have to wait."""
FIRST_BITE, LARGEST_BITE = 4, 100
"""Prompts a transaction. The size follows from how long the last one took: what a prompt costs depends on how many
nodes and outputs it has, on the disk, and on what the search index has to put in order."""
PAUSE_SECONDS = 0.01
DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Retention:
    """What is to be kept of ended prompts; null keeps all. Open prompts are always kept."""

    prompts: int | None = DEFAULT_PROMPTS
    """The newest so many."""
    days: float | None = None
    """Those queued in the last so many days."""
    bytes: int | None = None
    """As many of the newest as fit into so many bytes of database."""

    @classmethod
    def of(cls, settings: Mapping[str, str] = os.environ) -> tuple[Retention, list[str]]:
        """From the environment, and what was wrong with it: a wrong value is told, and its default taken.

        0 keeps all.
        """
        errors: list[str] = []
        prompts = _number(settings, KEEP_PROMPTS, DEFAULT_PROMPTS, errors)
        days = _number(settings, KEEP_DAYS, 0, errors)
        size = _number(settings, KEEP_BYTES, 0, errors)
        return cls(int(prompts) or None, days or None, int(size) or None), errors


def _number(settings: Mapping[str, str], name: str, default: float, errors: list[str]) -> float:
    given = settings.get(name, "").strip()
    if not given:
        return default
    try:
        number = float(given)
    except ValueError:
        number = -1.0
    if not 0 <= number < 2**62:
        errors.append(f"{name}={given!r}: give a number, 0 or more; 0 keeps all")
        return default
    return number


def prune(store: Store, kept: Retention, pause: Callable[[float], object] = time.sleep) -> int:
    """Forget what is not to be kept, oldest first; how many prompts that was. Raises what the store raises."""
    gone = 0
    if kept.days is not None:
        until = milliseconds(time.time() - kept.days * DAY_SECONDS)
        gone += _bite_by_bite(lambda most: store.delete_oldest(most, before_ms=until), pause)
    if kept.prompts is not None:
        excess = store.count() - kept.prompts
        gone += _bite_by_bite(store.delete_oldest, pause, excess)
    if kept.bytes is not None:
        size = kept.bytes
        gone += _bite_by_bite(lambda most: store.delete_oldest(most) if store.used_bytes() > size else 0, pause)
    return gone


def erase_until(store: Store, until_ms: int, pause: Callable[[float], object] = time.sleep) -> int:
    """Erase every ended prompt that was queued before a time; how many there were. Raises what the store raises."""
    gone = _bite_by_bite(lambda most: store.delete_oldest(most, before_ms=until_ms, erasing=True), pause)
    store.forget_log()
    return gone


def _bite_by_bite(bite: Callable[[int], int], pause: Callable[[float], object], most: float = math.inf) -> int:
    """Delete until nothing is left to be deleted, or `most` are gone; how many that were."""
    gone, size = 0, FIRST_BITE
    while gone < most:
        begun = time.perf_counter()
        taken = bite(int(min(size, most - gone)))
        took = time.perf_counter() - begun
        if not taken:
            break
        gone += taken
        size = next_bite(size, took)
        pause(PAUSE_SECONDS)
    return gone


def next_bite(size: int, took: float) -> int:
    """How many prompts to take next, after so many took so many seconds: up slowly, down at once."""
    fitting = int(size * BITE_SECONDS / max(took, 1e-6))
    return max(1, min(fitting, size + FIRST_BITE, LARGEST_BITE))
