"""What a prompt needs when it is queued and when it starts: its folders listed, markers of earlier prompts removed."""

from __future__ import annotations

from collections.abc import Iterable

from ..markers.decide import newly_seen
from ..markers.expected import expected_folders, list_expected_folders, stale_prefixes
from ..markers.listings import Listings
from ..markers.marking import Marking
from ..markers.prefix import PrefixPath
from ..markers.requests import MarkerPlan
from .context import Context
from .gathering import Gathering
from .prompt import OpenPrompt


class Starting:
    """Looks after open runs before they have ended. The writer's thread alone."""

    def __init__(self, context: Context, gathering: Gathering, marking: Marking) -> None:
        self._context = context
        self._gathering = gathering
        self._marking = marking
        self._listings = Listings(clock=context.clock.perf)

    def attend(self, run: OpenPrompt) -> None:
        """Do what a run needs when it has been queued, when it has started, and when something of it has changed."""
        plan = run.record.plan
        if not run.queue_seen:
            run.queue_seen = True
            if plan and run.started is None and run.queued is not None:
                found = expected_folders(plan, self._gathering.output(run), run.queued.wall, run.record.prompt_id)
                run.markers.folders = {folder: self._listings.want(path, heads) for folder, path, heads in found}
        if not run.start_seen and run.started is not None:
            run.start_seen = True
            self._gathering.folders_now(run)
            environment = self._context.environment
            run.record.environment_id = environment.id if environment else None
            if plan:
                self._clear_learned(run, plan, run.started.wall)
                self._list_at_start(run, plan, run.started.wall)
            self._context.begun += 1
        elif plan and run.started is not None and run.dirty:
            self._clear_learned(run, plan, run.started.wall)
            self._clear_first_seen(run)

    def refresh_listings(self) -> None:
        """List the folders of queued prompts again, as far as it is due."""
        self._listings.refresh(self._context.begun if self._nothing_runs() else None)

    def _nothing_runs(self) -> bool:
        with self._context.lock:
            runs = self._context.recorder.runs
            return not runs.started and not any(run.started for run in runs.ended)

    def _clear_learned(self, run: OpenPrompt, plan: MarkerPlan, started: float) -> None:
        """Remove stale markers of the prefixes that are known: all literal ones at the start, a wired one when told."""
        self._clear(run, stale_prefixes(plan, started, run.record.prompt_id))

    def _clear_first_seen(self, run: OpenPrompt) -> None:
        """Remove stale markers of prefixes that only their saver can resolve, when its first file appears."""
        if not run.markers.looks.is_due():
            return
        with run.markers.looks.spent():
            seen = newly_seen(self._gathering.evidence(run))
        self._clear(run, seen)

    def _clear(self, run: OpenPrompt, prefixes: Iterable[PrefixPath]) -> None:
        ours = {entry.path for entry in run.record.markers if entry.written_at is not None}
        for prefix in prefixes:
            if prefix not in run.markers.cleared and f"{prefix}.done" not in ours:
                run.markers.cleared.add(prefix)
                self._marking.remove_stale(run.record, self._gathering.output(run), [prefix])

    def _list_at_start(self, run: OpenPrompt, plan: MarkerPlan, started: float) -> None:
        """Remember what lay in its folders before it started, and list them now."""
        evidence = self._gathering.evidence(run)
        before = {path: folder.latest for path, folder in (run.markers.folders or {}).items()}
        run.markers.folders = None
        evidence.queued_listings = {path: listing for path, listing in before.items() if listing is not None}
        evidence.undisturbed_folders = frozenset(
            path for path, listing in evidence.queued_listings.items() if listing.begun == self._context.begun
        )
        output = self._gathering.output(run)
        evidence.started_listings = list_expected_folders(plan, output, started, run.record.prompt_id)
