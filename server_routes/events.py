"""GET /telemetry/events: server-sent events, resumable, bounded for each reader."""

from __future__ import annotations

from aiohttp import web
from pydantic import Field

from .event_stream import EventStream
from .parameters import Text
from .route import Call, Parameters, Route, invalid

RESUME_HEADER = "Last-Event-ID"


class Events(Parameters):
    """Which events."""

    prompt_id: Text | None = Field(None, min_length=1, max_length=200, description="Only this prompt's events.")


async def stream_events(call: Call) -> web.StreamResponse:
    """What happens, as it is committed; with `Last-Event-ID` all that came after that event first."""
    after = _last_event_id(call.request)
    return EventStream(call.host.recording.reading.stream, call.query.prompt_id, after)


def _last_event_id(request: web.Request) -> int | None:
    given = request.headers.get(RESUME_HEADER, "").strip()
    if not given:
        return None
    if not given.isascii() or not given.isdigit() or len(given) > 18:
        raise invalid(RESUME_HEADER, f"{RESUME_HEADER}: {given[:40]!r} is no number of an event")
    return int(given)


ROUTES = (
    Route(
        "GET",
        "/events",
        "What happens, as server-sent events",
        stream_events,
        Events,
        {200: None},
        media_types=("text/event-stream",),
    ),
)
