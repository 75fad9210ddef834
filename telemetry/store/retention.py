"""How much is kept: by count, age and size. Pruning is done in small batches, so that no record waits for it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..models.times import milliseconds
from ..process.settings import WrongSetting
from .batches import in_batches
from .store import Store
from .sure_time import SureTime
from .upkeep import is_due, keep_up

KEEP_PROMPTS, KEEP_DAYS, KEEP_BYTES = "RUN_RECORDER_KEEP_PROMPTS", "RUN_RECORDER_KEEP_DAYS", "RUN_RECORDER_KEEP_BYTES"
DEFAULT_PROMPTS = 1_000_000
DAY_SECONDS = 86_400
MOST = 2.0**62
MOST_DAYS = 1_000_000
"""More than any calendar has of past."""


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
    def of(cls, settings: Mapping[str, str] = os.environ) -> tuple[Retention, list[WrongSetting]]:
        """From the environment, and what was wrong with it: a wrong value is told, and its default taken.

        0 keeps all.
        """
        errors: list[WrongSetting] = []
        prompts = _number(settings, KEEP_PROMPTS, DEFAULT_PROMPTS, errors)
        days = _number(settings, KEEP_DAYS, 0, errors, most=MOST_DAYS)
        size = _number(settings, KEEP_BYTES, 0, errors)
        return cls(int(prompts) or None, days or None, int(size) or None), errors


def _number(
    settings: Mapping[str, str], name: str, default: float, errors: list[WrongSetting], *, most: float | None = None
) -> float:
    """A whole number; with `most` any up to that."""
    given = settings.get(name, "").strip()
    if not given:
        return default
    try:
        number = float(given)
    except ValueError:
        number = -1.0
    if not 0 <= number <= (most or MOST) or (most is None and not number.is_integer()):
        what = "a whole number, 0 or more" if most is None else f"a number, 0 to {most:,.0f}"
        errors.append(WrongSetting(name, f"{name}={given!r}: give {what}; 0 keeps all; {default:g} is used"))
        return default
    return number


def prune(
    store: Store, kept: Retention, pause: Callable[[float], object] = time.sleep, now_ms: int | None = None
) -> int:
    """Forget what is not to be kept, oldest first; how many prompts that was. Raises what the store raises.

    Age is counted from `now_ms`, in milliseconds since 1970; where it is null, from the time that the newest record
    makes sure.
    """
    gone = 0
    if kept.days is not None:
        now_ms = SureTime().now_ms(store.history.newest_ms) if now_ms is None else now_ms
        gone += _delete(store, pause, before_ms=now_ms - milliseconds(kept.days * DAY_SECONDS))
    if kept.prompts is not None:
        gone += _delete(store, pause, store.count() - kept.prompts)
    if kept.bytes is not None:
        size = kept.bytes
        gone += _delete(store, pause, unless=lambda: store.used_bytes() <= size)
    return gone


def erase_until(store: Store, until_ms: int, pause: Callable[[float], object] = time.sleep) -> int:
    """Erase every ended prompt that was queued before a time; how many there were. Raises what the store raises."""
    gone = _delete(store, pause, before_ms=until_ms, erasing=True)
    store.erasing.forget_log()
    return gone


def _delete(
    store: Store,
    pause: Callable[[float], object],
    most: float = math.inf,
    *,
    before_ms: int | None = None,
    erasing: bool = False,
    unless: Callable[[], bool] = lambda: False,
) -> int:
    """Delete the oldest ended prompts; how many. Upkeep is done between: deleting leaves more of it than recording."""

    def batch(size: int) -> int:
        if is_due(store):
            keep_up(store, pause)
        return 0 if unless() else store.erasing.delete_oldest(size, before_ms=before_ms, erasing=erasing)

    return in_batches(batch, pause, most)
