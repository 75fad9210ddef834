"""How much is kept: by count, age and size. Pruning is done in small batches, so that no record waits for it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..models.times import milliseconds
from ..process.settings import DEFAULT_PROMPTS, ServerSettings
from .batches import in_batches
from .store import Store
from .sure_time import SureTime
from .upkeep import is_due, keep_up

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
    def of(cls, settings: ServerSettings) -> Retention:
        """As the settings say; 0 keeps all."""
        return cls(settings.keep_prompts or None, settings.keep_days or None, settings.keep_bytes or None)


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
