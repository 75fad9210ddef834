"""How many prompts a store has and how large it is, as last known: told without asking anybody."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

LOOK_SECONDS = 1.0
"""The store is looked at at most so often, whoever wants to know."""
TRIES = 3


class StoreFigures:
    """What is known. What this process writes is counted in at once; what others write, by the next `look`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._written = 0
        self.prompts: int | None = None
        """Runs that are kept; null where nobody has looked yet, and where the last look failed."""
        self.bytes: int | None = None
        """On the disk; null as above, and for a database server."""

    def wrote(self, more: int, size: int | None) -> None:
        """So many runs were added (or, below 0, removed) by a transaction that is committed."""
        with self._lock:
            self._written += 1
            self.bytes = size
            if self.prompts is not None:
                self.prompts = max(0, self.prompts + more)

    def look(self, count: Callable[[], int], size: Callable[[], int | None]) -> None:
        """Count anew. A count during which this process wrote is not taken. Raises what `count` raises."""
        for _ in range(TRIES):
            before = self._written
            try:
                found = count()
            except Exception:
                with self._lock:
                    self.prompts = self.bytes = None
                raise
            told = size()
            with self._lock:
                if self._written == before:
                    self.prompts, self.bytes = found, told
                    return


class Looks:
    """Has something looked at on a thread of its own: one look at a time, and not more often than every second.

    A look may hang for ever; who asks for one doesn't wait for it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looking = threading.Lock()
        self._not_before = float("-inf")

    def ask(self, look: Callable[[], Any]) -> None:
        """Have it looked at, unless that is being done or was just done. What `look` raises is its own matter."""
        if self._clock() >= self._not_before and self._looking.acquire(blocking=False):
            threading.Thread(target=self._look, args=(look,), name="run-recorder-look", daemon=True).start()

    def _look(self, look: Callable[[], Any]) -> None:
        try:
            with contextlib.suppress(Exception):
                look()
        finally:
            self._not_before = self._clock() + LOOK_SECONDS
            self._looking.release()
