"""How much is kept: by count, age and size. Pruning takes small bites, so that no record waits for it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .store import Store
from .times import milliseconds

KEEP_PROMPTS, KEEP_DAYS, KEEP_BYTES = "RUN_RECORDER_KEEP_PROMPTS", "RUN_RECORDER_KEEP_DAYS", "RUN_RECORDER_KEEP_BYTES"
DEFAULT_PROMPTS = 1_000_000
BITE = 100
"""Prompts a transaction: a few milliseconds, with their nodes and outputs."""
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
        gone += _bite_by_bite(lambda: store.delete_oldest(BITE, before_ms=until), pause)
    if kept.prompts is not None:
        gone += _prune_count(store, kept.prompts, pause)
    if kept.bytes is not None:
        most = kept.bytes
        gone += _bite_by_bite(lambda: store.delete_oldest(BITE) if store.used_bytes() > most else 0, pause)
    return gone


def erase_until(store: Store, until_ms: int, pause: Callable[[float], object] = time.sleep) -> int:
    """Erase every ended prompt that was queued before a time; how many there were. Raises what the store raises."""
    gone = _bite_by_bite(lambda: store.delete_oldest(BITE, before_ms=until_ms, erasing=True), pause)
    store.forget_log()
    return gone


def _prune_count(store: Store, keep: int, pause: Callable[[float], object]) -> int:
    excess = store.count() - keep
    gone = 0
    while excess - gone > 0:
        bite = store.delete_oldest(min(BITE, excess - gone))
        if not bite:
            break
        gone += bite
        pause(PAUSE_SECONDS)
    return gone


def _bite_by_bite(bite: Callable[[], int], pause: Callable[[float], object]) -> int:
    gone = 0
    while taken := bite():
        gone += taken
        pause(PAUSE_SECONDS)
    return gone
