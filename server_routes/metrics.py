"""GET /telemetry/metrics, by prometheus-client's own handler."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from .answering import elsewhere
from .route import ApiError, Call, Route

NEEDS = "metrics need prometheus-client 0.24 or newer: pip install 'prometheus-client>=0.24'"
MEDIA_TYPES = ("text/plain", "application/openmetrics-text")


async def metrics(call: Call) -> web.StreamResponse:
    """What Prometheus reads: its text format, or OpenMetrics where `Accept` asks for it."""
    kept = call.host.recording.metrics
    try:
        from prometheus_client.aiohttp import make_aiohttp_handler
    except ImportError:
        raise ApiError(503, "unavailable", NEEDS) from None
    if kept is None:
        raise ApiError(503, "unavailable", NEEDS)
    handler: Any = make_aiohttp_handler(kept.registry)
    return await elsewhere(_run, handler, call.request)


def _run(handler: Any, request: web.Request) -> web.StreamResponse:
    """Run the handler on a thread of ours: with 200 classes it writes thousands of lines, and waits for nothing."""
    answer: web.StreamResponse = asyncio.run(handler(request))
    return answer


ROUTES = (Route("GET", "/metrics", "What Prometheus reads", metrics, answers={200: None}, media_types=MEDIA_TYPES),)
