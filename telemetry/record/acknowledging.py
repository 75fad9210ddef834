"""Before somebody is told that a prompt is queued, and before a list is answered: what has happened is made certain."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from .clock import Clock
from .events import PromptQueued

if TYPE_CHECKING:
    from .context import Context
    from .prompt import OpenPrompt
    from .writer import Writer

FLUSH_SECONDS = 2.0
"""How long a list waits, at most, until everything that has happened is in the store."""
POST_SECONDS = 0.05
"""How long the answer to a posted prompt waits, at most, until its record is committed; then it goes to the spool."""
POST_SECONDS_OPENING = 2.0
"""The same while the store has not been opened yet."""
POST_SECONDS_SERVER = 0.005
"""The same where the database is a server."""


class Acknowledging:
    """Waits for the writer, never for long. Any thread but the writer's and ComfyUI's executing one.

    Exists before the writer does: prompts may be queued while the store is looked for.
    """

    def __init__(self) -> None:
        self._context: Context | None = None
        self._writer: Writer | None = None
        self._changed = threading.Condition()
        self._stepping = False

    def begin(self, context: Context, writer: Writer) -> None:
        """From now on there is a writer to wait for."""
        self._context, self._writer = context, writer
        writer.when_saved(self.saved)

    def saved(self) -> None:
        """Something was committed; called by the writer's thread."""
        with self._changed:
            self._changed.notify_all()

    def steps(self, *, now: bool) -> None:
        """Whether the writer is at work; called by its thread."""
        if now:
            self._stepping = True
            return
        with self._changed:
            self._stepping = False
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until everything that has happened is in the store, as far as it can be written."""
        context, writer = self._context, self._writer
        if context is None or writer is None:
            return
        clock = context.clock
        deadline = clock.mono() + FLUSH_SECONDS
        with self._changed:
            while self._is_behind(context, writer) and clock.mono() < deadline:
                context.inbox.ring()
                self._changed.wait(0.05)

    def make_certain(self, event: PromptQueued) -> bool:
        """Wait a moment until a queued prompt is in the store, else sync it to the spool; false where neither works.

        How long: POST_SECONDS once the store is open, POST_SECONDS_OPENING before, POST_SECONDS_SERVER for a server;
        not at all for a store that can't be written.
        """
        context, writer = self._context, self._writer
        clock = context.clock if context is not None else Clock()
        deadline = clock.mono() + self._seconds()
        with self._changed:
            while not self._has(event):
                left = deadline - clock.mono()
                writer = self._writer
                if left <= 0 or (writer is not None and writer.is_failing):
                    break
                self._changed.wait(left)
            else:
                return True
        return self._spool(event)

    def _seconds(self) -> float:
        context = self._context
        if context is None or not context.store.database.opened:
            return POST_SECONDS_OPENING
        return POST_SECONDS_SERVER if context.store.database.backend == "postgresql" else POST_SECONDS

    def _spool(self, event: PromptQueued) -> bool:
        context = self._context
        if context is None:
            return False
        context.take_in()
        with context.lock:
            run = _run_of(context, event)
            if run is None or run.record.pk is not None:
                return True
            return context.kept.keep_open(run.record)

    def _has(self, event: PromptQueued) -> bool:
        """Whether a queued prompt is in the store: its run is there with a key, or is over already."""
        context = self._context
        if context is None:
            return False
        with context.lock:
            run = _run_of(context, event)
            taken_in = event not in context.inbox
        return taken_in and (run is None or run.record.pk is not None)

    def _is_behind(self, context: Context, writer: Writer) -> bool:
        """Whether a prompt may have been queued, started or cancelled that the store doesn't have."""
        with context.lock:
            changed = context.recorder.runs.changed
            waiting = bool(context.inbox) or any(run.urgent and run.final is None for run in changed)
        return (waiting or self._stepping) and not writer.is_failing


def _run_of(context: Context, event: PromptQueued) -> OpenPrompt | None:
    of_id = context.recorder.runs.of(event.prompt_id)
    return next((run for run in reversed(of_id) if run.graph is event.graph), None)
