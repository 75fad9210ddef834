"""SQLite's index of every three letters of what is searched: kept in order, and rid of what was erased.

A row that is deleted leaves its letters in the index, beside a note that they are gone, until the pieces of the index
that hold the two are merged. For what was erased that is not left to chance: the database remembers that it is owed.
"""

from __future__ import annotations

from sqlalchemy import Connection, column, delete, insert, select, table

from .search import SEARCH_TABLE
from .tables import counters

OWED = "erased words"
LEAST_MERGED = 2
"""A merge that changes fewer rows has found nothing to do."""
_COMMAND = insert(table(SEARCH_TABLE, column(SEARCH_TABLE), column("rank")))
"""What looks like a row is a command to the index."""


def merge(connection: Connection, pages: int) -> None:
    """Merge about so many pages; where negative, let all pieces be merged into one, and begin with it."""
    connection.execute(_COMMAND, {SEARCH_TABLE: "merge", "rank": pages})


def owe(connection: Connection) -> None:
    """Something was erased: its letters are still to leave the index."""
    if not is_owed(connection):
        connection.execute(insert(counters), {"name": OWED, "value": 1})


def is_owed(connection: Connection) -> bool:
    """Whether letters of what was erased may still be in the index."""
    return connection.execute(select(counters.c.value).where(counters.c.name == OWED)).first() is not None


def done(connection: Connection) -> None:
    """No letters of what was erased are left."""
    connection.execute(delete(counters).where(counters.c.name == OWED))
