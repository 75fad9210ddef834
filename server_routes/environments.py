"""GET /telemetry/environments/{id}."""

from __future__ import annotations

from aiohttp import web

from ..telemetry.models.environment import Environment
from .answering import on_thread
from .route import Call, Route, answer, not_found


async def environment(call: Call) -> web.StreamResponse:
    """What a prompt ran on."""
    found = await on_thread(call.host.recording.reading.environment, call.path["id"])
    if found is None:
        raise not_found(f"no environment {call.path['id']!r}", "id")
    return answer(found)


ROUTES = (
    Route("GET", "/environments/{id}", "What a prompt ran on", environment, answers={200: Environment}, errors=(404,)),
)
