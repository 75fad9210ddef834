"""Upkeep of the database, off the way of records: SQLite's log is moved into it, its search index put in order.

Left to itself SQLite does both within whichever commit comes when they are due, and that one takes up to ten times as
long; it may be the one that a marker waits for.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from .batches import FIRST_BATCH, in_batches
from .store import Store

DUE_ROWS = 2000
"""So many changed rows are worth it: about 2 MiB of log, which the disk takes without holding up others for long."""


def is_due(store: Store) -> bool:
    """Whether enough was changed since the last time."""
    return store.connections.changes_since_upkeep >= DUE_ROWS


def keep_up(store: Store, pause: Callable[[float], object] = time.sleep) -> None:
    """Do what is due, in small batches. Raises what the store raises."""
    _merge_words(store, pause)
    store.database.move_log()
    store.connections.changes_since_upkeep = 0


def forget_words(store: Store, pause: Callable[[float], object] = time.sleep) -> None:
    """Let what was erased leave the search index, too, in small batches. Raises what the store raises.

    All of the index is written anew for that.
    """
    if not store.erasing.owes_words:
        return
    store.erasing.merge_words(-FIRST_BATCH)
    _merge_words(store, pause)
    store.erasing.words_are_gone()
    store.erasing.forget_log()


def _merge_words(store: Store, pause: Callable[[float], object]) -> None:
    in_batches(lambda pages: pages if store.erasing.merge_words(pages) else 0, pause)
