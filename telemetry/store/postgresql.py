"""PostgreSQL: how its server is connected to, and how long anything may take.

A URL's query may name any of libpq's parameters, and those below; what it names takes the place of our default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

DRIVER = "postgresql+psycopg"
"""The one that can be given a bound on this end."""
_DRIVERS = ("", "psycopg", "psycopg2", "psycopg2cffi", "asyncpg", "pg8000")
CONNECT = {
    "connect_timeout": "5",
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "application_name": "run-recorder",
}
"""libpq's parameters: seconds, but for `tcp_user_timeout` in milliseconds. A dead peer is noticed after 25 seconds."""
SESSION = {
    "statement_timeout": 10_000,
    "lock_timeout": 5_000,
    "idle_in_transaction_session_timeout": 30_000,
}
"""Milliseconds that the server allows; 0 is no limit. The last frees what a frozen process of ours has locked."""
POOL = {"pool_size": 3, "pool_timeout": 5}
"""Connections of one process, and seconds that one who finds them all in use waits for one."""
ANSWER_SLACK_SECONDS = 5.0
"""So long after the server should have given up a statement by itself its silence is taken for a broken line."""
UPGRADE_SECONDS = 900.0
"""A new index over a million rows takes its time."""
UPGRADE_LOCK_MS = 60_000
_UPGRADE_LOCK = 0x72756E2D726563  # "run-rec": two servers that start together upgrade one after the other
_LARGEST = 2**31 - 1


class UnfitDatabaseError(RuntimeError):
    """A database on a server that can't hold every text."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a URL says, sorted by who has to know it."""

    url: URL
    """As the driver takes it."""
    options: Mapping[str, Any]
    """For `create_engine`."""
    session: Mapping[str, int]
    """To be set on each connection, in milliseconds."""


def driver_of(name: str) -> str | None:
    """The driver that a URL's own is opened with; null for one that is no driver of PostgreSQL."""
    backend, _, driver = name.partition("+")
    return DRIVER if backend in ("postgresql", "postgres") and driver in _DRIVERS else None


def settings_of(url: URL) -> Settings:
    """A URL's settings, over our defaults. Raises ArgumentError for one that is no number or out of range."""
    query = dict(url.query)
    pool = {name: _number(query, name, default, 1) for name, default in POOL.items()}
    given = _last(query.get("options", ""))
    session = {
        name: _number(query, name, default, 0)
        for name, default in SESSION.items()
        if name in query or not re.search(rf"\b{name}\s*=", given)
    }
    for name in (*POOL, *SESSION):
        query.pop(name, None)
    for name in CONNECT.keys() & query.keys() - {"application_name"}:
        _number(query, name, 0, 0)  # or libpq would refuse it at each connection
    connect = {name: value for name, value in CONNECT.items() if name not in query}
    options = {**pool, "max_overflow": 0, "pool_pre_ping": True, "connect_args": connect}
    return Settings(url.set(query=query), options, session)


def _last(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else value[-1]


def _number(query: Mapping[str, str | tuple[str, ...]], name: str, default: int, least: int) -> int:
    given = _last(query.get(name, str(default)))
    if not re.fullmatch("[0-9]{1,10}", given) or not least <= int(given) <= _LARGEST:
        raise ArgumentError(f"{name}={given[:40]!r} in the database's URL: give a whole number, {least} or more")
    return int(given)


def bound(engine: Engine, session: Mapping[str, int]) -> None:
    """Let every connection of an engine be one that waits for no answer for ever."""

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: Any, parameters: Any) -> Any:
        from .bounded_connection import BoundedConnection

        return BoundedConnection.connect(*arguments, **parameters)

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: Any) -> None:
        """Set by a statement and not by `options`, which a connection pooler in between may refuse."""
        connection.answer_seconds = ANSWER_SLACK_SECONDS
        connection.autocommit = True
        for name, milliseconds in session.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, str(milliseconds)))
        row = connection.execute("SELECT setting FROM pg_settings WHERE name = 'statement_timeout'").fetchone()
        connection.autocommit = False
        limit = int(row[0]) if row is not None else 0
        connection.answer_seconds = limit / 1000 + ANSWER_SLACK_SECONDS if limit else None


def require_fit(connection: Connection) -> None:
    """Raises UnfitDatabaseError for a database that is not in UTF-8: it would refuse most of the world's names."""
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
    if encoding != "UTF8":
        raise UnfitDatabaseError(f"the database is encoded in {encoding}; make one with ENCODING 'UTF8'")


def begin_upgrade(connection: Connection) -> None:
    """Allow this transaction what an upgrade takes, and let no other server upgrade meanwhile."""
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {round(UPGRADE_SECONDS * 1000)}")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {UPGRADE_LOCK_MS}")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})")
