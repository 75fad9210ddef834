"""GET /telemetry/metrics, in prometheus-client's own formats."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aiohttp import web

from .answering import on_thread
from .route import ApiError, Call, Route

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

NEEDS = "metrics need prometheus-client 0.24 or newer: pip install 'prometheus-client>=0.24'"
MEDIA_TYPES = ("text/plain", "application/openmetrics-text")


async def metrics(call: Call) -> web.StreamResponse:
    """What Prometheus reads: its text format, or OpenMetrics where `Accept` asks for it."""
    kept = call.host.recording.metrics
    if kept is None:
        raise ApiError(503, "unavailable", NEEDS)
    return await on_thread(_exposed, kept.registry, call.request.headers)


def _exposed(registry: CollectorRegistry, asked: Mapping[str, str]) -> web.Response:
    """On a thread of ours: with 200 classes these are thousands of lines."""
    from prometheus_client.exposition import choose_encoder, gzip_accepted

    encoder, content_type = choose_encoder(asked.get("Accept", ""))
    body = encoder(registry)
    headers = {"Content-Type": content_type}
    if gzip_accepted(asked.get("Accept-Encoding", "")):
        body = gzip.compress(body)
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=body, headers=headers)


ROUTES = (Route("GET", "/metrics", "What Prometheus reads", metrics, answers={200: None}, media_types=MEDIA_TYPES),)
