"""How everything in the store gets its connection: any thread may read; threads that write take turns."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from . import word_index
from .class_names import ClassNames
from .database import Database
from .errors import StoreClosedError
from .search import SEARCH_TABLE


class StoreConnections:
    """Connections to one database, and what is known of it while it is open.

    Every method may raise sqlalchemy.exc.DBAPIError, and StoreClosedError while the database is not open.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.class_names = ClassNames(database.engine)
        """The numbers under which the names of nodes' classes are kept."""
        self.has_word_index = False
        """Whether the database has a full-text index."""
        self.owes_words = False
        """Whether letters of what was erased may still be in that index."""
        self.changes_since_upkeep = 0
        """Rows changed since the last upkeep."""
        self._opened = -1
        self._turn = threading.Lock()
        """Held while a transaction writes: SQLite's own way to wait for one is to look again at growing intervals."""

    def require_open(self) -> None:
        """Raise StoreClosedError while the database is not open; look at it anew where it was opened again."""
        if not self.database.is_open:
            raise StoreClosedError("the store is not open; /telemetry/health says why")
        if self._opened != self.database.opened:
            self._opened = self.database.opened
            self.class_names = ClassNames(self.database.engine)
            with self.database.engine.connect() as connection:
                self.has_word_index = connection.dialect.has_table(connection, SEARCH_TABLE)
                self.owes_words = self.has_word_index and word_index.is_owed(connection)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that reads; what several queries on it find is of one moment."""
        self.require_open()
        engine = self.database.engine.execution_options(run_recorder_reads=True)
        if self.database.backend == "postgresql":
            engine = engine.execution_options(isolation_level="REPEATABLE READ")  # prompts and files of one moment
        with engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self, durable: bool = False) -> Iterator[Connection]:
        """A connection in a transaction, committed at the end; with `durable` it is on the disk then."""
        self.require_open()
        with self._turn, self.database.engine.connect() as connection:
            self.database.set_durable(connection, durable)
            before = self.database.changes(connection)
            with connection.begin():
                yield connection
            self.changes_since_upkeep += self.database.changes(connection) - before
