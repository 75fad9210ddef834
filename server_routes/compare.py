"""GET /telemetry/compare: two prompts beside each other."""

from __future__ import annotations

from aiohttp import web

from ..telemetry.models.comparison import Comparison
from ..telemetry.record.reading import Reading
from ..telemetry.why.comparing import Side, compared
from .answering import on_thread
from .parameters import Two
from .prompts import unknown
from .route import Call, Route, answer


def _side(reading: Reading, prompt_id: str, run: int | None) -> Side:
    """All that is known of one of the two. Raises ApiError 404."""
    prompt = reading.prompt(prompt_id, run)
    if prompt is None:
        raise unknown(prompt_id, run)
    run = prompt.run_number
    return Side(
        prompt,
        reading.nodes(prompt_id, run) or [],
        reading.settings(prompt_id, run),
        reading.environment(prompt.environment_id) if prompt.environment_id is not None else None,
    )


async def compare(call: Call) -> web.StreamResponse:
    """Everything in which two prompts differ, the older one first."""
    two: Two = call.query
    recording = call.host.recording

    def made() -> Comparison:
        one, other = (_side(recording.reading, *one) for one in ((two.a, two.a_run), (two.b, two.b_run)))
        return compared(one, other, recording.host.roots())

    return answer(await on_thread(made))


ROUTES = (Route("GET", "/compare", "Two prompts beside each other", compare, Two, {200: Comparison}, (404,)),)
