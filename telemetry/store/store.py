"""The one door to what is kept: saves changes itself, and has a part for each kind of question."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, null, select, update
from sqlalchemy.exc import DBAPIError

from ..live.stream import StreamEvent
from ..models.text import clean
from . import kept_events
from .changes import Change, save_change
from .connections import StoreConnections
from .database import Database
from .erasing import Erasing
from .event_records import EventRecords
from .figures import StoreFigures
from .kept_events import WrittenMarkers
from .prompt_queries import PromptQueries
from .row_reader import RowReader
from .run_history import RunHistory
from .server_records import ServerRecords
from .tables import prompts
from .unanswered_commits import UnansweredCommits

_PAGES = ("page_count", "freelist_count", "page_size")


class Store:
    """Prompts, nodes, outputs, environments and instances in one database.

    Threads that write take turns; any thread may read. Every method may raise sqlalchemy.exc.DBAPIError, and
    StoreClosedError while the database is not open.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.figures = StoreFigures()
        self.connections = StoreConnections(database)
        self.rows = RowReader()
        self.prompts = PromptQueries(self.connections, self.rows)
        self.history = RunHistory(self.connections, self.rows)
        self.servers = ServerRecords(self.connections, self.rows)
        self.events = EventRecords(self.connections, self.rows)
        self.erasing = Erasing(self.connections, self.figures)
        self._unanswered = UnansweredCommits()

    def save(
        self,
        changes: Sequence[Change],
        *,
        durable: bool = False,
        news: Sequence[StreamEvent] = (),
        untrue: Sequence[WrittenMarkers] = (),
    ) -> None:
        """Save some runs in one transaction; with `durable` it is on the disk when this returns.

        `news` are numbered events; those that outlive the process are saved, too. `untrue` are taken back.
        """
        self.connections.require_open()
        keys: list[int] = []
        new = {node.class_type for change in changes for node in change.new_nodes if node.class_type is not None}
        numbers = self.connections.class_names.numbers_of(map(clean, new))
        try:
            with self.connections.writing(durable) as connection:
                if self._unanswered:
                    self._unanswered.undo(connection)
                for change in changes:
                    keys.append(save_change(connection, change, numbers))
                kept_events.keep(connection, news)
                for events in untrue:
                    kept_events.retract(connection, events)
        except DBAPIError as error:
            if error.connection_invalidated and len(keys) == len(changes):
                self._unanswered.add(zip(changes, keys, strict=True), [event.number for event in news])
            raise
        self._unanswered.forget()
        self.figures.wrote(sum(change.record.pk is None for change in changes), self.database.bytes())
        for change, key in zip(changes, keys, strict=True):  # a key says that a record is committed, so not before
            change.record.pk, change.record.samples, change.record.settings = key, None, None

    def clear_pending(self, keys: Sequence[int]) -> None:
        """Note that the markers of these runs are in place."""
        with self.connections.writing() as connection:
            connection.execute(update(prompts).where(prompts.c.pk.in_(keys)).values(pending=null()))

    def try_to_write(self) -> None:
        """Write something that changes nothing; raises where nothing can be written now."""
        with self.connections.writing() as connection:
            kept_events.touch(connection)

    def count(self) -> int:
        """How many runs are kept."""
        with self.connections.reading() as connection:
            return connection.execute(select(func.count()).select_from(prompts)).scalar() or 0

    def used_bytes(self) -> int:
        """How much of the database is in use, without what deleted records have left free in it; 0 where unknown."""
        if self.database.backend != "sqlite":
            return 0
        with self.connections.reading() as connection:
            figures = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in _PAGES]
        pages, free, size = (int(figure or 0) for figure in figures)
        return (pages - free) * size

    def look(self) -> None:
        """Count anew what `figures` tells."""
        self.figures.look(self.count, self.database.bytes)
