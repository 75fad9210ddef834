"""The events that outlive the process, and the numbers that nobody else has."""

from __future__ import annotations

from ..live.stream import StreamEvent
from . import kept_events
from .connections import StoreConnections
from .row_reader import RowReader


class EventRecords:
    """Events that are kept. Every method may raise sqlalchemy.exc.DBAPIError, and StoreClosedError."""

    def __init__(self, connections: StoreConnections, rows: RowReader) -> None:
        self._connections = connections
        self._rows = rows

    def newest(self) -> list[StreamEvent]:
        """The newest events that were kept, oldest first."""
        with self._connections.reading() as connection:
            rows = kept_events.newest(connection)
            return [event for _, event in self._rows.made(rows, kept_events.event_of, "event {number}")]

    def reserve_numbers(self, count: int, at_least: int = 1) -> int:
        """Reserve a block of event numbers for this process alone; the first of them. Also lets go of old events."""
        with self._connections.writing() as connection:
            return kept_events.reserve(connection, count, at_least)
