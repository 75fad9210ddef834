"""Settles what dead processes left open: their prompts are abandoned, their markers finished or dropped."""

from __future__ import annotations

from dataclasses import replace

from ..markers.decide import decide, due_requests
from ..markers.decided import Decided
from ..models.base import OPEN_STATUSES
from ..models.record import PromptRecord
from ..models.times import Stamp
from ..process.identity import Identity, root_of
from ..store.changes import Change
from .clock import Clock
from .committing import RecordFaultError
from .context import Context
from .ending import Ending
from .finishing import Finishing, outputs_of
from .gathering import Gathering
from .hash_waits import HashWaits
from .news import news_of_inherited
from .placing import Placing
from .prompt import OpenPrompt

ANOTHERS = "its markers are left to a server that writes to the output folder that it had"
DIED = "ComfyUI's process ended before this prompt did; when is not known"


class Recovery:
    """Prompts of processes that are dead. The writer's thread alone."""

    def __init__(
        self, context: Context, gathering: Gathering, hashes: HashWaits, finishing: Finishing, placing: Placing
    ) -> None:
        self._context = context
        self._gathering = gathering
        self._hashes = hashes
        self._finishing = finishing
        self._placing = placing
        self._left: list[PromptRecord] = []
        self._of_other_machines: set[int] = set()
        """Of what is left, by key, the records whose process ran on another machine."""
        self._reading: dict[tuple[str, int], OpenPrompt] = {}
        """Those whose markers' files are read for their hashes, by prompt and number."""

    @property
    def left(self) -> list[PromptRecord]:
        """What dead processes left open, and the store has not taken as settled yet."""
        return self._left

    def adopt(self, record: PromptRecord, identity: Identity) -> None:
        """Settle, as soon as it can be, what a dead process left."""
        machine = self._context.identity.machine
        if record.pk is not None and identity.machine is not None and identity.machine != machine:
            self._of_other_machines.add(record.pk)
        self._left.append(record)

    def settle(self) -> None:
        """Settle what dead processes left; what the store does not take now is tried again."""
        left, self._left = self._left, []
        for record in left:
            try:
                if not self.settle_one(self._as_it_is_now(record)):
                    self._left.append(record)
            except Exception as error:  # noqa: BLE001  one record must not keep the others from being settled
                hint = "a prompt of a dead process could not be settled"
                self._context.problems.report("recovery", hint, error)

    def _as_it_is_now(self, record: PromptRecord) -> PromptRecord:
        """As the store has it: its process may have left its end in the spool, and that was handed in meanwhile."""
        return self._context.store.prompts.record(record.prompt_id, record.run_number) or record

    def _is_ours(self, record: PromptRecord) -> bool:
        """Whether the files of a record of another process are in this process' output folder."""
        if self._context.many_machines and record.pk in self._of_other_machines:
            return False
        return record.output_root == root_of(self._context.output_folder())

    def settle_one(self, record: PromptRecord) -> bool:
        """Settle a prompt of a process that has died: finish or drop its markers, and call it abandoned.

        Markers of another output folder are left to a process that has that one. False where the store could not take
        it, and while its files are read for their hashes: then the record is to be given again.
        """
        ours = self._is_ours(record)
        if record.status not in OPEN_STATUSES and record.plan is None:
            self._reading.pop((record.prompt_id, record.run_number), None)
            # A temporary's name is unlike any other: where no folder is known, it is ours if it is here.
            self._placing.finish_pending(record, ours=ours or record.output_root is None)
            return True
        if record.plan is not None and not ours:
            return self._leave_markers(record)
        key = record.prompt_id, record.run_number
        run = self._reading.pop(key, None) or self._begin(record)
        decided = run.markers.decided = run.markers.decided or self._decide(run)
        if decided.is_read or not self._hashes.are_in(decided):
            self._reading[key] = run
            return False
        if self._finish(run, record, decided):
            return True
        if decided.job is not None:
            self._reading[key] = run
        return False

    def _begin(self, record: PromptRecord) -> OpenPrompt:
        run = OpenPrompt(record, {}, started=_restored(record.started_ms, self._context.clock), final="abandoned")
        run.queue_seen = run.start_seen = run.fingerprinted = True
        return run

    def _decide(self, run: OpenPrompt) -> Decided:
        """What the markers of a dead process' prompt are to say."""
        plan = run.record.plan
        if plan is None or run.started is None:
            return Decided()
        evidence = self._gathering.evidence(run)
        evidence.this_process = False
        decisions, notes = decide(evidence, due_requests(plan, "abandoned"), "abandoned")
        return self._hashes.begin(self._gathering.output(run), decisions, notes, "abandoned")

    def _finish(self, run: OpenPrompt, record: PromptRecord, decided: Decided) -> bool:
        """Commit it as abandoned, and put its markers in place; false where the store could not take it."""
        finishing, was_open = self._finishing, record.status in OPEN_STATUSES
        final = replace(record, status="abandoned", plan=None, notes=list(record.notes))
        if was_open:
            final.note(DIED)
        final.outputs = outputs_of(run.markers.evidence, decided.decisions)
        ending = finishing.prepare(run, final, Change(final), decided.decisions, decided.notes)
        try:
            done = finishing.commit([ending])
        except RecordFaultError as error:
            if not finishing.set_aside(ending, error):
                finishing.drop_temporaries([ending])
                return True
            done = True
        if not done:
            finishing.drop_temporaries([ending])
            return False
        self._placing.place(ending, "store")
        finishing.told(ending)
        if was_open:
            self._context.tell_ended(ending.record, ())
        return True

    def _leave_markers(self, record: PromptRecord) -> bool:
        """Call a prompt of a dead process abandoned, and leave its markers to a process that has its output folder."""
        if record.status not in OPEN_STATUSES:
            return True
        final = replace(record, status="abandoned", notes=list(record.notes))
        final.note(DIED)
        final.note(ANOTHERS)
        run = OpenPrompt(final, {}, final="abandoned")
        ending = Ending(run, final, Change(final), [])
        ending.news = news_of_inherited(final)
        try:
            if not self._finishing.commit([ending]):
                return False
            self._finishing.tell(ending.news)
        except RecordFaultError as error:
            self._finishing.set_aside(ending, error)
        self._context.tell_ended(final, ())
        return True


def _restored(started_ms: int | None, clock: Clock) -> Stamp | None:
    """A start of another process on this one's clocks; its monotonic half is only good for comparing."""
    if started_ms is None:
        return None
    now = clock.stamp()
    return Stamp(started_ms / 1000, now.mono - (now.wall - started_ms / 1000))
