"""GET /telemetry/gpu and GET /telemetry/prompts/{prompt_id}/samples."""

from __future__ import annotations

from aiohttp import web

from ..telemetry.gpu.live import live_figures
from ..telemetry.gpu.notes import OFF
from ..telemetry.models.gpu import LiveFigures, SampleColumns
from .answering import on_thread
from .parameters import RunNumber
from .prompts import unknown
from .route import Call, Route, answer


async def gpu(call: Call) -> web.StreamResponse:
    """What the telemetry sees now. While a prompt runs, the sampler's last reading; else one is made."""
    sampler = call.host.sampler
    if not sampler.is_on:
        return answer(LiveFigures(devices=[], fallback_notes=[OFF]))
    return answer(live_figures(await on_thread(sampler.now), sampler.chain.trouble()))


async def get_samples(call: Call) -> web.StreamResponse:
    """A prompt's curve, in columns."""
    prompt_id, run = call.path["prompt_id"], call.query.run
    found = await on_thread(call.host.recording.reading.samples, prompt_id, run)
    if found is None:
        raise unknown(prompt_id, run)
    return answer(found)


ROUTES = (
    Route("GET", "/gpu", "Devices and host, now", gpu, answers={200: LiveFigures}),
    Route(
        "GET", "/prompts/{prompt_id}/samples", "A prompt's curve", get_samples, RunNumber, {200: SampleColumns}, (404,)
    ),
)
