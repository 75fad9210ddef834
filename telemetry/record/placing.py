"""Puts the markers of certain ends into place; and lets the store say so where one could not be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..markers.marking import Marking, written_paths
from ..models.record import PromptRecord
from ..store.changes import Change
from ..store.kept_events import WrittenMarkers
from .committing import Commits, RecordFaultError
from .context import Context
from .ending import Ending
from .store_access import StoreAccess

Certain = Literal["store", "spool", "aside"]
"""Where an end is that nothing undoes: committed, to be handed in, or in a file of its own because nothing takes it."""


@dataclass(frozen=True, slots=True)
class Correction:
    """A committed record that said of markers that they are written, as it is to be, and of which it said so."""

    record: PromptRecord
    paths: set[str]
    at_ms: int | None
    """When their events say that they were written; null where that is not known."""

    @property
    def untrue(self) -> WrittenMarkers:
        """The events that are to be taken back."""
        return WrittenMarkers(self.record.prompt_id, self.paths, self.at_ms)


class Placing:
    """The second half of writing a marker: after its record is certain. The writer's thread alone."""

    def __init__(self, context: Context, access: StoreAccess, commits: Commits, marking: Marking) -> None:
        self._context = context
        self._access = access
        self._commits = commits
        self._marking = marking
        self._placed: list[int] = []
        """Records whose markers are in place, which the store doesn't know yet."""
        self._corrections: list[Correction] = []
        """Records that said of a marker that it is written, and it could not be put in place."""
        access.on_replaced.append(self._forget_all)

    @property
    def is_behind(self) -> bool:
        """Whether the store does not know yet what became of some markers."""
        return bool(self._placed or self._corrections)

    def place(self, ending: Ending, where: Certain) -> None:
        """Put the markers of a certain end in place; where one can't be, the record says so from then on."""
        record = ending.record
        said = written_paths(record)
        if not ending.prepared or self._marking.place(record, ending.prepared):
            return
        untrue = said - written_paths(record)
        gone = [event for event in ending.news if event.kind == "marker.written" and event.data.get("path") in untrue]
        ending.news = [event for event in ending.news if event not in gone]
        if where == "spool":
            self._context.kept.keep([ending.kept])
        elif record.pk is not None:
            kept = record if where == "store" else ending.bare.record
            self._corrections.append(Correction(kept, untrue, gone[0].at_ms if gone else None))
            self.correct()

    def finish_pending(self, record: PromptRecord, *, ours: bool) -> None:
        """Finish what a dead process had committed but may not have put in place; `ours`: in our own output folder."""
        if not ours:
            return
        said = written_paths(record)
        if not self._marking.finish_pending(record):
            self._corrections.append(Correction(record, said - written_paths(record), record.ended_ms))
        self.are_in_place(record)

    def are_in_place(self, record: PromptRecord) -> None:
        """The markers of a committed record need no looking after any more; the store is told later."""
        if record.pk is not None:
            self._placed.append(record.pk)

    def catch_up(self) -> None:
        """Tell the store what it does not know yet; until then the next process would look after those markers."""
        self.correct()
        if not self._placed or self._corrections or not self._access.may_write():
            return
        placed, self._placed = self._placed, []
        if not self._access.write(lambda: self._context.store.clear_pending(placed)):
            self._placed = placed + self._placed

    def correct(self) -> None:
        """Let the store say what became of markers that could not be put in place; what it can't take now waits."""
        while self._corrections and self._access.may_write():
            correction = self._corrections[0]
            try:
                change = Change(correction.record)
                if not self._commits.commit([change], durable=False, untrue=[correction.untrue]):
                    return
            except RecordFaultError as error:
                hint = "a record says of a marker that it is written, it is not, and the store takes no correction"
                self._context.problems.report("correction", hint, error.cause)
            self._corrections.pop(0)

    def _forget_all(self) -> None:
        self._placed.clear()
        self._corrections.clear()
