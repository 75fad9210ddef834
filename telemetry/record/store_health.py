"""How the store does, as health tells it: known without asking, and found out meanwhile."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from ..models.health import StoreHealth
from ..process.problems import Problems
from ..store.figures import Looks
from ..store.patience import patience

if TYPE_CHECKING:
    from ..store.store import Store
    from .context import Context
    from .writer import Writer

HEALTH_SECONDS = 2.0
"""How long a look on behalf of health waits for each answer of a database server."""
UNREAD = "store read"
MOST_DAMAGED = 20
"""Rows of the store that can't be read, or not whole, and are named in health one by one."""


class StoreCondition:
    """What health says of the store. Any thread; exists before the store does."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._context: Context | None = None
        self._writer: Writer | None = None
        self._unread = False
        self._damaged: set[str] = set()
        self._looks = Looks()

    def begin(self, context: Context, writer: Writer) -> None:
        """From now on there is a store."""
        self._context, self._writer = context, writer
        context.store.rows.on_damaged = self._met_damaged

    def health(self, queue_depth: int) -> StoreHealth:
        """How the store is, as last known; waits for nobody. What is told next is found out meanwhile."""
        context, writer = self._context, self._writer
        if context is None or writer is None:
            return StoreHealth(backend=None, prompts=None, bytes=None, queue_depth=queue_depth, dropped=0)
        store = context.store
        self._looks.ask(functools.partial(self._look, store))
        known = store.figures
        prompts, size = (known.prompts, known.bytes) if writer.is_open else (None, None)
        return StoreHealth(
            backend=store.database.backend,
            prompts=prompts,
            bytes=size,
            queue_depth=queue_depth,
            dropped=context.dropped,
        )

    def unread(self, error: Exception) -> None:
        """A question was not answered by the store; `read` takes it back."""
        self._unread = True
        self._problems.report(UNREAD, "the store can't be read now, or not in time", error)

    def read(self) -> None:
        """A question was answered."""
        if self._unread:
            self._unread = False
            self._problems.solved(UNREAD)

    def _look(self, store: Store) -> None:
        """Ask the store what health tells of it."""
        try:
            with patience(HEALTH_SECONDS):
                store.look()
            self.read()
        except Exception as error:  # noqa: BLE001  health answers whatever is broken
            if self._writer is not None and self._writer.is_open:
                self.unread(error)

    def _met_damaged(self, which: str, what: str) -> None:
        """A row of the store is damaged; whoever asked has been given the others."""
        name = which.partition(",")[0]  # what follows may be a prompt's id, which is no name for a problem
        if name not in self._damaged and len(self._damaged) >= MOST_DAMAGED:
            name = "more records"
        self._damaged.add(name)
        self._problems.report(name, f"damaged in the store: {which}: {what}", passing=True)
