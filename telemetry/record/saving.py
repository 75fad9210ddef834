"""Saves open prompts: what changed of each, in one transaction; a prompt that the store does not take, by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter

from ..live.stream import StreamEvent
from ..models.record import NodeRecord
from ..store.changes import Change
from ..store.rows import NODE_CHANGES
from .clock import NEVER
from .committing import Commits, RecordFaultError
from .context import Context
from .figures import refresh_figures
from .news import UntoldEvents, news_of
from .prompt import OpenPrompt
from .store_access import STORE_RETRY_SECONDS, StoreAccess

LONGEST_PAUSE_SECONDS = 60.0
PUT_OFF = "record put off"
"""The problem that health shows while a record is tried again by itself."""

_changing: Callable[[NodeRecord], tuple[object, ...]] = attrgetter(*NODE_CHANGES)
"""What of a node may change after it was first saved."""


def pause_after(tries: int) -> float:
    """Seconds until a record is tried again that the store has not taken so often."""
    return float(min(STORE_RETRY_SECONDS * 2 ** (tries - 1), LONGEST_PAUSE_SECONDS))


class Saving:
    """Keeps the store up to date with the open prompts. The writer's thread alone."""

    def __init__(self, context: Context, access: StoreAccess, commits: Commits, untold: UntoldEvents) -> None:
        self._context = context
        self._access = access
        self._commits = commits
        self._untold = untold
        self._put_off = False
        self.on_saved: list[Callable[[], None]] = []
        """Called when open runs have been committed."""
        access.on_replaced.append(self._save_all_anew)

    def save(self, runs: list[OpenPrompt]) -> None:
        """Save what changed of some runs; what the store can't take now is saved with the next."""
        if not runs or self._access.is_paused():
            return
        context = self._context
        with context.lock:
            changes, runs = self._changes(runs)
            for run in runs:
                self._untold.add(news_of(run, context.clock.perf()))
                run.dirty = run.urgent = False
                context.recorder.runs.changed.pop(run, None)
        news = self._untold.of({run.record.prompt_id for run in runs})
        try:
            done = self._commits.commit(changes, durable=False, news=news)
        except RecordFaultError as error:
            self._save_one_by_one(runs, error)
            return
        if not done:
            self.touch(runs, urgent=True)
            self._untold.keep_newest()
            return
        for listener in self.on_saved:
            listener()
        self._untold.tell(news)
        for run in runs:
            run.store.tries, run.store.not_before = 0, 0.0
            run.store.nodes.update(run.store.coming_nodes)

    def save_due(self, runs: list[OpenPrompt]) -> None:
        """The same, but for those that are to be tried again later, by themselves."""
        now = self._context.clock.mono()
        self.save([run for run in runs if run.store.not_before <= now])

    def solve(self) -> None:
        """Once no record is tried again any more, health need not tell of it."""
        if self._put_off and not any(run.store.tries for run in self._context.recorder.runs):
            self._put_off = False
            self._context.problems.solved(PUT_OFF)

    def touch(self, runs: Sequence[OpenPrompt], *, urgent: bool = False) -> None:
        """Something of these has changed."""
        with self._context.lock:
            for run in runs:
                self._context.recorder.runs.touch(run, urgent=urgent)

    def commit_name(self, change: Change, event: StreamEvent) -> bool:
        """Commit the name of a run that the store has, and tell it; false where the store can't take it now."""
        if not (self._access.may_write() and self._commits.commit([change], durable=False, news=[event])):
            return False
        self._untold.tell([event])
        return True

    def change_of(self, run: OpenPrompt) -> Change:
        """What the store lacks of a run. With the context's lock held."""
        run.refresh()
        refresh_figures(run)
        if run.started is not None:
            run.store.at, run.record.seen_ms = self._context.clock.mono(), self._context.clock.now_ms()
        saved, coming = run.store.nodes, {}
        change = Change(run.record)
        for node in run.nodes.values():
            now = _changing(node)
            before = saved.get(node.seq)
            if before is None:
                change.new_nodes.append(node)
            elif before != now:
                change.changed_nodes.append(node)
            else:
                continue
            coming[node.seq] = now
        run.store.coming_nodes = coming
        return change

    def _changes(self, runs: list[OpenPrompt]) -> tuple[list[Change], list[OpenPrompt]]:
        """What is to be saved of some runs, and of which: one of which that can't be told is tried again later."""
        changes, good = [], []
        for run in runs:
            try:
                changes.append(self.change_of(run))
                good.append(run)
            except Exception as error:  # noqa: BLE001
                self._put_run_off(run, RecordFaultError(error))
        return changes, good

    def _save_one_by_one(self, runs: list[OpenPrompt], error: RecordFaultError) -> None:
        """The store doesn't take one of these records: save the others, and try that one again later, by itself."""
        if len(runs) > 1:
            for run in runs:
                self.save([run])
            return
        self._put_run_off(runs[0], error)

    def _put_run_off(self, run: OpenPrompt, error: RecordFaultError) -> None:
        run.store.tries += 1
        run.store.not_before = NEVER if error.is_final else self._context.clock.mono() + pause_after(run.store.tries)
        self._put_off = True
        hint = "the store does not take a record while it takes others; that one is tried again, by itself"
        self._context.problems.report(PUT_OFF, hint, error.cause)
        self.touch([run])

    def _save_all_anew(self) -> None:
        with self._context.lock:
            for run in self._context.recorder.runs:
                run.record.pk = None
                run.store.nodes.clear()
                self._context.recorder.runs.touch(run)
