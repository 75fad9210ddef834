"""GET /telemetry/events: server-sent events, resumable, bounded for each reader."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from aiohttp import web
from pydantic import Field

from ..telemetry.stream import Reader
from ..telemetry.version import VERSION
from .answering import HEADER
from .route import ApiError, Call, Parameters, Route, invalid

PING_SECONDS = 15.0
"""How often a silent stream says a word, so that proxies keep it."""
RESUME_HEADER = "Last-Event-ID"
WRITE_SECONDS = 30.0
"""A reader that takes so long to take what it was sent is cut off."""


class Events(Parameters):
    """Which events."""

    prompt_id: str | None = Field(None, min_length=1, max_length=200, description="Only this prompt's events.")


async def stream_events(call: Call) -> web.StreamResponse:
    """What happens, as it is committed; with `Last-Event-ID` all that came after that event first."""
    try:
        from aiohttp_sse import EventSourceResponse
    except ImportError:
        raise ApiError(503, "unavailable", "events need aiohttp-sse: pip install aiohttp-sse") from None
    after = _last_event_id(call.request)
    stream = call.host.recording.stream
    response: Any = EventSourceResponse(ping_interval=PING_SECONDS, headers={HEADER: VERSION})
    await response.prepare(call.request)
    reader = stream.subscribe(call.query.prompt_id, after)
    try:
        async with response:
            await _send_all(response, reader)
    finally:
        stream.unsubscribe(reader)
    return response  # type: ignore[no-any-return]


async def _send_all(response: Any, reader: Reader) -> None:
    """Send until the reader goes away, or is cut off because it takes too long."""
    watch = asyncio.current_task()
    reader.on_cut = watch.cancel if watch is not None else None
    try:
        await response.write(b": run-recorder\r\n\r\n")
        while True:
            await reader.bell.wait()
            reader.bell.clear()
            events = b"".join(reader.waiting)
            reader.waiting.clear()
            if events:
                await asyncio.wait_for(response.write(events), WRITE_SECONDS)
    except (ConnectionResetError, asyncio.TimeoutError, RuntimeError):
        _abort(response)
    except asyncio.CancelledError:
        _abort(response)
        if not reader.cut:
            raise


def _abort(response: Any) -> None:
    """Close the connection without waiting for a reader who does not read."""
    with contextlib.suppress(AttributeError):
        transport = response._req.transport
        if transport is not None:
            transport.abort()


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
