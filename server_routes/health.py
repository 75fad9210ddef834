"""GET /telemetry/health."""

from __future__ import annotations

import json
from typing import Literal

from aiohttp import web

from ..comfyui_host.host import Host
from ..comfyui_host.process import comfyui_version
from ..telemetry.gpu.sampler import Sampler
from ..telemetry.models.health import Health, SamplerHealth
from ..telemetry.version import VERSION
from .answering import is_authorized
from .route import Call, Route, answer, answer_bytes


def sampler_health(sampler: Sampler) -> SamplerHealth:
    """What the sampler does."""
    if not sampler.is_on:
        return SamplerHealth()
    state: Literal["idle", "sampling"] = "sampling" if sampler.is_sampling else "idle"
    interval = sampler.settings.interval_seconds
    return SamplerHealth(source=sampler.source, interval_seconds=interval, state=state, notes=sampler.notes())


def health_of(host: Host) -> Health:
    """How the recorder is, from what is known in memory: it answers at once, whatever hangs."""
    worker = host.worker()
    store = host.recording.store_health()
    problems = host.problems.all()
    return Health(
        status="degraded" if problems else "ok",
        version=VERSION,
        comfyui_version=comfyui_version(),
        worker=worker,
        seams=host.seam_health(),
        store=store,
        sampler=sampler_health(host.sampler),
        problems=problems,
    )


async def health(call: Call) -> web.StreamResponse:
    """How the recorder is; two words of it where a token is set and not given."""
    found = health_of(call.host)
    if not is_authorized(call.request, call.host.settings.token):
        return answer_bytes(json.dumps({"status": found.status, "version": found.version}).encode())
    return answer(found)


ROUTES = (Route("GET", "/health", "How the recorder is", health, answers={200: Health}, public=True),)
