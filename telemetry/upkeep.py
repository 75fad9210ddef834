"""Upkeep of the database, off the way of records: SQLite's log is moved into it, its search index put in order.

Left to itself SQLite does both within whichever commit comes when they are due, and that one takes up to ten times as
long; it may be the one that a marker waits for.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from .bites import bite_by_bite
from .store import Store

DUE_ROWS = 2000
"""So many changed rows are worth it: about 2 MiB of log, which the disk takes without holding up others for long."""


def is_due(store: Store) -> bool:
    """Whether enough was changed since the last time."""
    return store.unkept >= DUE_ROWS


def keep_up(store: Store, pause: Callable[[float], object] = time.sleep) -> None:
    """Do what is due, in small bites. Raises what the store raises."""
    bite_by_bite(lambda pages: pages if store.merge_words(pages) else 0, pause)
    store.database.move_log()
    store.unkept = 0
