"""Events that outlive the process, and the counter that their numbers come from; each function in a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row, RowMapping, bindparam, delete, func, insert, select, update

from ..live.stream import DURABLE, KEPT_IN_STORE, StreamEvent
from ..models.text import kept_id
from .tables import counters, events, prompts

EVENT_COUNTER = "events"
_EVENT = TypeAdapter(StreamEvent)
_UPDATE_COUNTER = update(counters).where(counters.c.name == bindparam("the_name")).values(value=bindparam("new_value"))


@dataclass(frozen=True, slots=True)
class WrittenMarkers:
    """The events which say of a prompt that its markers at these paths are written."""

    prompt_id: str
    paths: AbstractSet[str]
    """Relative to the output folder."""
    at_ms: int | None
    """When they say that it was, in milliseconds since 1970; null for any time."""


def newest(connection: Connection) -> list[Row[Any]]:
    """The rows of the newest that were kept, oldest first."""
    rows = connection.execute(select(events).order_by(events.c.number.desc()).limit(KEPT_IN_STORE)).all()
    return list(reversed(rows))


def event_of(row: RowMapping) -> StreamEvent:
    """The event of a row. Raises ValidationError for what is none."""
    return _EVENT.validate_python({**row, "data": row["data"] or {}})


def keep(connection: Connection, news: Sequence[StreamEvent]) -> None:
    """Keep those that outlive the process."""
    kept = [
        {
            **{name: getattr(event, name) for name in ("number", "kind", "at_ms", "data")},
            "prompt_id": kept_id(event.prompt_id),
        }
        for event in news
        if event.kind in DURABLE
    ]
    if kept:
        connection.execute(insert(events), kept)


def erase(connection: Connection, prompt_ids: set[str], but_of: Sequence[int] = ()) -> None:
    """Delete the events of prompts of which no run is left, those with the keys `but_of` not counted."""
    left = select(prompts.c.prompt_id).where(prompts.c.prompt_id.in_(prompt_ids), prompts.c.pk.not_in(but_of))
    gone = prompt_ids - set(connection.execute(left).scalars())
    connection.execute(delete(events).where(events.c.prompt_id.in_(gone)))


def retract(connection: Connection, untrue: WrittenMarkers) -> None:
    """Delete events that have turned out not to be true."""
    if not untrue.paths:
        return
    query = select(events.c.number, events.c.data).where(
        events.c.prompt_id == kept_id(untrue.prompt_id), events.c.kind == "marker.written"
    )
    if untrue.at_ms is not None:
        query = query.where(events.c.at_ms == untrue.at_ms)
    told = [row for row in connection.execute(query) if isinstance(row.data, dict)]
    found = [row.number for row in told if row.data.get("path") in untrue.paths]
    connection.execute(delete(events).where(events.c.number.in_(found)))


def touch(connection: Connection) -> None:
    """Write the counter as it is: what can't be written now shows by that."""
    connection.execute(update(counters).where(counters.c.name == EVENT_COUNTER).values(value=counters.c.value))


def reserve(connection: Connection, count: int, at_least: int) -> int:
    """Reserve a block of numbers for this process alone; the first of them. Also lets go of old events."""
    last = connection.execute(select(func.max(events.c.number))).scalar() or 0
    counter = select(counters.c.value).where(counters.c.name == EVENT_COUNTER).with_for_update()
    reserved = connection.execute(counter).scalar()
    first = max(reserved or 1, last + 1, at_least)
    if reserved is None:
        connection.execute(insert(counters), {"name": EVENT_COUNTER, "value": first + count})
    else:
        connection.execute(_UPDATE_COUNTER, {"the_name": EVENT_COUNTER, "new_value": first + count})
    oldest = select(events.c.number).order_by(events.c.number.desc()).offset(KEPT_IN_STORE).limit(1)
    old = connection.execute(oldest).scalar()
    if old is not None:
        connection.execute(delete(events).where(events.c.number <= old))
    return first
