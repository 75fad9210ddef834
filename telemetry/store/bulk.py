"""Many rows in few statements, at the driver's own speed.

With SQLite many rows go into one statement: the driver lets go of Python's lock at each statement, and takes it
again, so that a statement a row makes two threads pass it to and fro hundreds of times, one of them ComfyUI's.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Table, insert
from sqlalchemy.dialects import postgresql, sqlite

Row = tuple[object, ...]
ROWS_A_STATEMENT = (50, 10, 1)
"""Times a row's columns at most 999, which is what every SQLite takes."""


def insert_many(connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[Row]) -> None:
    """Insert rows whose values stand in the order of `columns`, as the driver takes them: JSON as text."""
    if connection.dialect.name != "sqlite":
        statement, order = _statement(connection.dialect, table, columns)
        named = [dict(zip(columns, row, strict=True)) for row in rows]
        values: Any = named if order is None else [tuple([row[name] for name in order]) for row in named]
        if rows:
            connection.exec_driver_sql(statement, values)
        return
    done = 0
    for size in ROWS_A_STATEMENT:
        while len(rows) - done >= size:
            flat = tuple(itertools.chain.from_iterable(rows[done : done + size]))
            connection.exec_driver_sql(_with_rows(connection.dialect, table, columns, size), flat)
            done += size


def insert_new(connection: Connection, table: Table, row: Mapping[str, object]) -> None:
    """Insert a row by its `id`, unless it is there.

    With PostgreSQL the row is locked: another server that is about to delete it waits, and then sees who needs it.
    """
    if connection.dialect.name == "postgresql":
        made = postgresql.insert(table).values(dict(row))
        connection.execute(made.on_conflict_do_update(index_elements=["id"], set_={"id": made.excluded.id}))
    else:
        connection.execute(sqlite.insert(table).values(dict(row)).on_conflict_do_nothing())


@functools.lru_cache(maxsize=32)
def _statement(dialect: Dialect, table: Table, columns: tuple[str, ...]) -> tuple[str, tuple[str, ...] | None]:
    """The statement as the driver takes it, and the order of its values; null where it takes them by name."""
    compiled = insert(table).compile(dialect=dialect, column_keys=list(columns))
    order = getattr(compiled, "positiontup", None)
    return str(compiled), tuple(order) if order is not None else None


@functools.lru_cache(maxsize=32)
def _with_rows(dialect: Dialect, table: Table, columns: tuple[str, ...], size: int) -> str:
    names = ", ".join(dialect.identifier_preparer.quote(name) for name in columns)
    row = f"({', '.join('?' * len(columns))})"
    # Names of our own tables and columns, quoted; every value is a parameter.
    return f"INSERT INTO {table.name} ({names}) VALUES {', '.join([row] * size)}"  # noqa: S608  # nosec B608
