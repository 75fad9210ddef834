"""Looks after the store on a thread of its own: what is too old goes, logs and indexes are kept in order."""

from __future__ import annotations

import threading

from ..store.retention import Retention, prune
from ..store.sure_time import DOUBTFUL_MS, SureTime
from ..store.upkeep import forget_words, keep_up
from .context import Context
from .finishing import PRUNE_EVERY
from .writer import Writer

AGE_SECONDS = 3600.0
"""How often is looked what has become too old, where records are kept for a time."""


class Upkeep:
    """Works whenever enough was written; sleeps without a timer in between, unless records are kept for a time."""

    def __init__(self, context: Context, writer: Writer) -> None:
        self._context = context
        self._writer = writer
        self._stopping = threading.Event()
        self._pruned_at: int | None = None
        """How many runs had ended when old records were removed last; null where that is due anyway."""
        self._sure = SureTime()

    def stop(self) -> None:
        """Let it end; what it is at is not waited for."""
        self._stopping.set()
        self._context.upkeep_due.set()

    def run(self) -> None:
        """Look after the store now, and whenever it is due, until `stop`."""
        problems, due = self._context.problems, self._context.upkeep_due
        kept = Retention.of(self._context.host.settings)
        while not self._stopping.is_set():
            try:
                if self._writer.is_open:
                    self._keep_up(kept)
                    problems.solved("upkeep")
            except Exception as error:  # noqa: BLE001  tried again when more has come in
                problems.report("upkeep", "old records can't be removed, or the store not be put in order", error)
            if not due.wait(None if kept.days is None else AGE_SECONDS):
                self._pruned_at = None
            due.clear()

    def _keep_up(self, kept: Retention) -> None:
        context = self._context
        if self._pruned_at is None or context.ended - self._pruned_at >= PRUNE_EVERY:
            prune(context.store, kept, now_ms=None if kept.days is None else self._sure_now())
            self._pruned_at = context.ended
        keep_up(context.store)
        forget_words(context.store)

    def _sure_now(self) -> int:
        """What time it surely is, as records of other processes tell; a clock that is far ahead of that is told."""
        context, sure = self._context, self._sure
        now_ms = sure.now_ms(lambda until_ms: context.store.history.newest_ms(until_ms, but_of=context.instance.id))
        if sure.doubt_ms() <= DOUBTFUL_MS:
            context.problems.solved("clock")
            return now_ms
        days = round(sure.doubt_ms() / 86_400_000)
        hint = f"the clock is {days} days ahead of the newest record; until it has run for a day without a jump"
        context.problems.report("clock", f"{hint}, records are forgotten by age as of that record")
        return now_ms
