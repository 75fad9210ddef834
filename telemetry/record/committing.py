"""One transaction: records and events under numbers that nobody else has."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.exc import IntegrityError

from ..live.stream import NUMBERS_AT_ONCE, StreamEvent
from ..models.record import PromptRecord
from ..store.changes import Change
from ..store.faults import is_fault_of_data, is_fault_of_store
from ..store.kept_events import WrittenMarkers
from .context import Context
from .store_access import StoreAccess

NUMBERING_TRIES = 5
"""So often other numbers are tried where another server has taken one in this instant."""


class RecordFaultError(RuntimeError):
    """A record that the store does not take, while it takes others."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.is_final = is_fault_of_data(cause)
        """True where what is in the record is the fault, so that no other try can end better."""


class Commits:
    """Commits changes. The writer's thread alone."""

    def __init__(self, context: Context, access: StoreAccess) -> None:
        self._context = context
        self._access = access

    def commit(
        self,
        changes: list[Change],
        *,
        durable: bool,
        news: Sequence[StreamEvent] = (),
        untrue: Sequence[WrittenMarkers] = (),
    ) -> bool:
        """Commit some runs with what is told of them; false where the store can't take anything now.

        With `durable` it is on the disk when this returns. Raises RecordFaultError where it is these that it does not
        take.
        """
        if self._access.opener is not None:
            return False
        try:
            self._save(changes, durable, news, untrue)
        except Exception as error:
            if is_fault_of_data(error) or (not is_fault_of_store(error) and self._access.takes_others()):
                raise RecordFaultError(error) from error
            self._access.failed(error)
            return False
        self._access.worked()
        return True

    def _save(
        self, changes: list[Change], durable: bool, news: Sequence[StreamEvent], untrue: Sequence[WrittenMarkers]
    ) -> None:
        """Save, under numbers that nobody else has; another server on this database may take one in this instant."""
        store, stream = self._context.store, self._context.stream
        for left in reversed(range(NUMBERING_TRIES)):
            if not stream.has_numbers_for(len(news)):
                stream.may_use(store.events.reserve_numbers(NUMBERS_AT_ONCE, stream.next_number), NUMBERS_AT_ONCE)
            stream.number(news)
            for change in changes:
                if change.record.pk is None:
                    self._renumber(change.record, store.history.last_run_number(change.record.prompt_id))
            try:
                store.save(changes, durable=durable, news=news, untrue=untrue)
            except IntegrityError:
                if not left:
                    raise
                stream.give_back()
            else:
                break

    def _renumber(self, record: PromptRecord, earlier: int) -> None:
        """Number the unsaved runs of an id after those in the store. `record` is one of them, or the copy of one."""
        context = self._context
        with context.lock:
            records = [run.record for run in context.recorder.runs.of(record.prompt_id)]
            unsaved = [one for one in records if one.pk is None]
            if all(one is not record for one in unsaved):
                unsaved.append(record)
            numbers = sorted({one.run_number for one in unsaved})
            given = {number: earlier + place for place, number in enumerate(numbers, 1)}
            for one in unsaved:
                one.run_number = given[one.run_number]
            context.feed.renumber(record.prompt_id, given)
