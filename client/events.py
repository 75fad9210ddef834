"""Server-sent events, as our route `/telemetry/events` and a stream of any other server tell them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..telemetry.models.text import clean
from .limits import BOUNDS, MOST_TEXT
from .parsing import UnreadableError, parse

MOST_CHARACTERS = BOUNDS["events"].most_bytes
"""Of one event's data; a longer one is passed over."""
MOST_EVENT_ID = 40
"""Characters of an event's id that are given back, and digits of one that is told."""


def parse_events(lines: Iterable[bytes]) -> Iterator[tuple[str | None, str, str]]:
    """Server-sent events as id, event and data, by the HTML standard's rules; what is malformed is passed over."""
    identity: str | None = None
    kind = "message"
    data: list[str] = []
    size = 0
    for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line:
            if data and size <= MOST_CHARACTERS:
                yield identity, kind, "\n".join(data)
            kind, data, size = "message", [], 0
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id" and "\0" not in value:
            identity = value
        elif name == "event":
            kind = value or "message"
        elif name == "data":
            size += len(value)
            if size <= MOST_CHARACTERS:
                data.append(value)


def event_document(identity: str | None, kind: str, data: str) -> dict[str, Any]:
    """One event as an object: its number as `id` (null for none), its kind as `event`, and what its data has."""
    try:
        told = parse(data.encode("utf-8", "replace"))
    except UnreadableError:
        told = {"data": clean(data, MOST_TEXT)}
    number = int(identity) if identity is not None and identity.isdecimal() and len(identity) <= MOST_EVENT_ID else None
    return {"id": number, "event": kind, **(told if isinstance(told, dict) else {"data": told})}


def asked_after(after: str | None) -> dict[str, str]:
    """The header that asks for the events behind one; none where all that comes is asked for."""
    return {} if after is None else {"Last-Event-ID": clean(after, MOST_EVENT_ID)}
