"""What is read of prompts: one, a page of them, or all, with their nodes and curves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Select, or_, select

from ..models.listing import Filter, Position
from ..models.record import NodeRecord, PromptRecord
from ..models.settings import NodeSettings
from ..models.text import kept_id, storable
from .connections import StoreConnections
from .errors import UnreadableRecordError
from .row_reader import RowReader
from .rows import node_record
from .search import conditions
from .tables import classes, nodes, prompts, samples, settings

LATEST_MS = 10**15 - 1
"""No cursor says more. SQLite puts what is no number before all numbers, so a page begins behind it from here."""


class PromptQueries:
    """Reads prompts. Every method may raise sqlalchemy.exc.DBAPIError, and StoreClosedError."""

    def __init__(self, connections: StoreConnections, rows: RowReader) -> None:
        self._connections = connections
        self._rows = rows

    def record(self, prompt_id: str, run_number: int | None = None) -> PromptRecord | None:
        """A prompt with its outputs: that run, else the newest; null where it is not known.

        Raises UnreadableRecordError.
        """
        query = select(prompts).where(prompts.c.prompt_id == kept_id(prompt_id))
        if run_number is not None:
            query = query.where(prompts.c.run_number == storable(run_number, 32))
        with self._connections.reading() as connection:
            rows = connection.execute(query.order_by(prompts.c.run_number.desc()).limit(1)).all()
            found = self._rows.records(connection, rows)
        if rows and not found:
            raise UnreadableRecordError("this prompt's record can't be read; health names it")
        return found[0] if found else None

    def page(self, wanted: Filter, limit: int, after: Position | None = None) -> list[PromptRecord]:
        """At most `limit` prompts, newest first; fewer on the last page alone."""
        found: list[PromptRecord] = []
        with self._connections.reading() as connection:
            query = select(prompts).where(*conditions(connection, wanted, self._connections.has_word_index))
            query = query.order_by(prompts.c.sort_ms.desc(), prompts.c.pk.desc())
            while room := limit - len(found):
                rows = connection.execute(_after(query, after).limit(room)).all()
                found += self._rows.records(connection, rows)
                if len(rows) < room:
                    break
                after = _position(rows[-1].sort_ms, rows[-1].pk)
        return found

    def position(self, pk: int) -> Position | None:
        """Where a prompt stands in the list."""
        with self._connections.reading() as connection:
            row = connection.execute(select(prompts.c.sort_ms).where(prompts.c.pk == pk)).first()
        return None if row is None else _position(row.sort_ms, pk)

    def nodes(self, pk: int) -> list[NodeRecord]:
        """A prompt's nodes in the order in which they ran."""
        named = select(nodes, classes.c.name.label("class_type")).outerjoin(classes)
        query = named.where(nodes.c.prompt_pk == pk).order_by(nodes.c.seq)
        with self._connections.reading() as connection:
            rows = connection.execute(query)
            return [node for _, node in self._rows.made(rows, node_record, "record {prompt_pk}, node {seq}")]

    def samples(self, pk: int) -> bytes | None:
        """A prompt's encoded curve; null where none was kept."""
        with self._connections.reading() as connection:
            return connection.execute(select(samples.c.data).where(samples.c.prompt_pk == pk)).scalar()

    def settings(self, settings_id: str) -> dict[str, NodeSettings] | None:
        """The settings with an id, by node; null where they are not kept."""
        with self._connections.reading() as connection:
            found = connection.execute(select(settings.c.data).where(settings.c.id == settings_id)).scalar()
        return found if isinstance(found, dict) else None

    def export(self, batch: int = 200) -> Iterator[tuple[PromptRecord, list[NodeRecord]]]:
        """Every prompt with its nodes, oldest first."""
        last = 0
        while True:
            with self._connections.reading() as connection:
                query = select(prompts).where(prompts.c.pk > last).order_by(prompts.c.pk).limit(batch)
                rows = connection.execute(query).all()
                found = self._rows.records(connection, rows)
            for record in found:
                yield record, self.nodes(record.pk or 0)
            if not rows:
                return
            last = rows[-1].pk


def _after(query: Select[Any], after: Position | None) -> Select[Any]:
    if after is None:
        return query
    at, pk = storable(after.sort_ms), storable(after.pk)
    # The first condition follows from the second; it is what the index is searched by.
    return query.where(prompts.c.sort_ms <= at, or_(prompts.c.sort_ms < at, prompts.c.pk < pk))


def _position(sort_ms: object, pk: int) -> Position:
    at = sort_ms if isinstance(sort_ms, (int, float)) else LATEST_MS
    return Position(math.floor(max(-(2.0**63), min(at, LATEST_MS))), pk)
