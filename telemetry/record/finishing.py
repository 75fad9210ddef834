"""Makes an end certain, in the store, the spool or a file of its own; then places its markers and answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from ..live.stream import StreamEvent
from ..markers.decision import Decision
from ..markers.evidence import Evidence
from ..markers.expected import stale_prefixes
from ..markers.marking import Marking
from ..markers.outputs import ReportedFile
from ..markers.prefix import PrefixPath
from ..models.base import PromptStatus
from ..models.marker import PromptMarker
from ..models.record import PromptRecord
from ..store.changes import Change
from .committing import Commits, RecordFaultError
from .context import Context
from .ending import LAST_MS, Ending
from .figures import final_figures
from .gathering import NO_PLAN, Gathering
from .news import UntoldEvents, news_of, news_of_end
from .placing import Certain, Placing
from .prompt import OpenPrompt
from .recorder import UNTOLD
from .saving import Saving, pause_after
from .set_aside import FOLDER as ASIDE_FOLDER
from .set_aside import SetAside
from .store_access import StoreAccess

DELAYED = "record delayed"
"""The problem that health shows while an ended prompt's record is tried again by itself."""
PRUNE_EVERY = 500
"""So many ended prompts are worth looking what is to be kept."""


class Finishing:
    """Ends runs. The writer's thread alone."""

    def __init__(
        self,
        context: Context,
        access: StoreAccess,
        commits: Commits,
        untold: UntoldEvents,
        saving: Saving,
        gathering: Gathering,
        marking: Marking,
        placing: Placing,
    ) -> None:
        self._context = context
        self._access = access
        self._commits = commits
        self._untold = untold
        self._saving = saving
        self._gathering = gathering
        self._marking = marking
        self._placing = placing
        self.aside: SetAside | None = None
        """Takes what the store doesn't; null where it can't be kept: then it is lost, and counted."""

    # ------------------------------------------------------------ making it up

    def ending_of(self, run: OpenPrompt, decisions: list[Decision], notes: list[str]) -> Ending:
        """Make up the end of a run, and write its markers' temporaries."""
        final: PromptStatus = run.final or "abandoned"
        with self._context.lock:
            change = self._saving.change_of(run)
            record = replace(run.record, status=final, notes=list(run.record.notes), plan=None)
        environment = self._context.environment
        record.environment_id = record.environment_id or (environment.id if environment else None)
        record.outputs = outputs_of(run.markers.evidence, decisions)
        return self.prepare(run, record, change, decisions, notes)

    def prepare(
        self, run: OpenPrompt, record: PromptRecord, change: Change, decisions: list[Decision], notes: list[str]
    ) -> Ending:
        """The same for a record that is final already."""
        for note in notes:
            record.note(note)
        for note in [note for note in record.notes if note in UNTOLD]:
            self._context.problems.report("a silent seam", f"{note}; those figures are null", passing=True)
        plan = run.record.plan or NO_PLAN
        overtaken = partial(self._overtaken, run)
        prepared = self._marking.prepare(record, plan, decisions, overtaken, self._gathering.output(run))
        final_figures(run, record)
        if run.graph or run.nodes:
            with self._context.lock:
                self._untold.add(news_of(run, self._context.clock.perf()))
        earlier = self._untold.of({record.prompt_id})
        news = news_of_end(record, earlier, self._context.clock.now_ms())
        return Ending(run, record, change, prepared, decisions, notes, news)

    def _overtaken(self, run: OpenPrompt, prefix: PrefixPath) -> bool:
        """Whether a prompt that started later has already cleared this prefix for itself."""
        with self._context.lock:
            runs = self._context.recorder.runs
            others = [other for other in (*runs.started, *runs.ended) if other is not run and other.start_seen]
        for other in others:
            if other.started is None or run.started is None or other.started.mono <= run.started.mono:
                continue
            if self._gathering.output(other) != self._gathering.output(run):
                continue
            plan = other.record.plan or NO_PLAN
            if prefix in other.markers.cleared:
                return True
            if prefix in stale_prefixes(plan, other.started.wall, other.record.prompt_id):
                return True
        return False

    # ------------------------------------------------------------ making it certain

    def finish(self, run: OpenPrompt, decisions: list[Decision], notes: list[str]) -> bool:
        """Commit the end of a run, put its markers in place and answer; false where nothing can take it now."""
        return self.finish_all([self.ending_of(run, decisions, notes)])

    def finish_all(self, endings: list[Ending]) -> bool:
        """Make some ends certain, in the store or in the spool, and then do what follows from them."""
        try:
            committed = self.commit(endings)
        except RecordFaultError as error:
            if len(endings) > 1:
                self.drop_temporaries(endings)
                return self.each(endings, lambda end: self.finish(end.run, list(end.decisions), list(end.notes)))
            return self._finish_refused(endings[0], error)
        if not committed and not self._keep(endings):
            self.drop_temporaries(endings)
            return False
        for ending in endings:
            self._close(ending, "store" if committed else "spool")
        return True

    def commit(self, endings: list[Ending]) -> bool:
        """Commit some ends together; false where the store can't take anything now. Raises RecordFaultError."""
        if not self._access.may_write():
            return False
        news = [event for ending in endings for event in ending.news]
        return self._commits.commit([ending.whole for ending in endings], durable=True, news=news)

    @staticmethod
    def each(endings: list[Ending], do: Callable[[Ending], bool]) -> bool:
        """Do it with each, whatever becomes of the others: one of them is such that no database takes it."""
        done = [do(ending) for ending in endings]
        return all(done)

    def _keep(self, endings: list[Ending]) -> bool:
        return self._context.kept.keep([ending.kept for ending in endings])

    def _finish_refused(self, ending: Ending, error: RecordFaultError) -> bool:
        """An end that the store does not take while it takes others: certain in the spool, or in a file of its own."""
        if not error.is_final and self._keep([ending]):
            self.try_later(ending, error)
            self._close(ending, "spool")
        else:
            self.finish_aside(ending, error)
        return True

    def finish_aside(self, ending: Ending, error: RecordFaultError) -> None:
        """End a run of which the store takes no record as it is."""
        if not self.set_aside(ending, error):
            self.drop_temporaries([ending])
            ending.prepared = []
            ending.record.markers = [PromptMarker(path=None, status="not written") for _ in ending.record.markers]
        self._close(ending, "aside")

    def try_later(self, ending: Ending, error: RecordFaultError) -> None:
        """Hand an end in again after a while."""
        ending.tries += 1
        ending.not_before = self._context.clock.mono() + pause_after(ending.tries)
        self._context.problems.report(DELAYED, "the store does not take a record while it takes others", error.cause)

    def set_aside(self, ending: Ending, error: RecordFaultError) -> bool:
        """Keep a record that the store does not take in a file, and in the store what it takes of it.

        False where nothing of it can be kept anywhere.
        """
        in_file = self._in_a_file(ending, error)
        kept = self._bare_in_store(ending) or in_file
        if not kept:
            hint = "a record can't be kept anywhere, and is lost"
            self._context.problems.report("record lost", hint, error.cause)
            self._context.dropped += 1
        return kept

    def _in_a_file(self, ending: Ending, error: RecordFaultError) -> bool:
        record, context = ending.record, self._context
        try:
            if self.aside is None:
                raise OSError(f"there is no {ASIDE_FOLDER}")
            name = self.aside.put(record, list(ending.run.nodes.values()), context.instance, error.cause)
        except OSError as why:
            hint = "a record that the database does not take can't be kept in a file"
            context.problems.report("set aside", hint, why)
            return False
        record.note(f"the database does not take this record as it is; it is kept whole in {ASIDE_FOLDER}/{name}")
        return True

    def _bare_in_store(self, ending: Ending) -> bool:
        """Commit how it ended and nothing else, or, where that fails too, its events alone; true where it is there."""
        record, bare = ending.record, ending.bare
        for event in ending.news:
            event.at_ms = min(event.at_ms, LAST_MS)
        for changes in ([bare], []):
            try:
                if not self._commits.commit(changes, durable=True, news=ending.news):
                    return False
            except RecordFaultError:
                continue
            self._untold.tell(ending.news)
            record.pk = bare.record.pk
            if record.pending:
                self._placing.are_in_place(record)
            return bool(changes)
        return False

    def drop_temporaries(self, endings: list[Ending]) -> None:
        """Remove what was written of markers whose record could not be made certain."""
        for ending in endings:
            self._marking.drop(ending.prepared)

    # ------------------------------------------------------------ what follows from it

    def _close(self, ending: Ending, where: Certain) -> None:
        """An end is certain: its markers go into place, it is counted, and whoever waits for it is answered."""
        context, run, record = self._context, ending.run, ending.record
        self._placing.place(ending, where)
        if where == "store":
            self.told(ending)
        context.ended += 1
        if context.ended % PRUNE_EVERY == 0:
            context.upkeep_due.set()
        context.tell_ended(record, list(run.nodes.values()))  # counted before anybody is told
        context.problems.prompt_passed()
        with context.lock:
            if where != "store":
                self._untold.forget(ending.news)
            if where == "spool":
                context.kept.add(ending)
            context.recorder.drop(run)
            context.outstanding.add()
            context.feed.publish(context.served(record), context.outstanding.done)

    def told(self, ending: Ending) -> None:
        """An end is in the store: its events are told, and its markers need no looking after any more."""
        self._untold.tell(ending.news)
        if ending.record.pending:
            self._placing.are_in_place(ending.record)

    def tell(self, news: list[StreamEvent]) -> None:
        """Tell events that are committed."""
        self._untold.tell(news)


def outputs_of(evidence: Evidence | None, decisions: list[Decision]) -> list[ReportedFile]:
    """Everything that was reported, then what the markers found besides; a file of one node once."""
    if evidence is None:
        return []
    found = list(evidence.reported)
    known = {(*file.key, file.type) for file in found}
    for decision in decisions:
        for file in decision.files:
            if (*file.key, file.type) not in known:
                known.add((*file.key, file.type))
                found.append(file)
    return found
