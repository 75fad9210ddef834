"""Prompts beside each other: two that are asked for, and one against its like."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from ..telemetry.models.comparison import Comparison
from ..telemetry.models.listing import Filter
from ..telemetry.models.node import Node
from ..telemetry.models.prompt import Prompt
from ..telemetry.models.times import parse
from ..telemetry.models.why import Why
from ..telemetry.record.reading import Reading
from ..telemetry.why.comparing import Side, compared
from ..telemetry.why.explaining import why
from ..telemetry.why.report import report
from .answering import OneThread, on_thread
from .parameters import Report, RunNumber, Two
from .route import Call, Route, answer
from .sides import known, side_of

_COMPARING = OneThread("run-recorder-compare", most_waiting=8)
EARLIER = 100
"""So many earlier successes of a workflow are looked through for those that are comparable."""


async def compare(call: Call) -> web.StreamResponse:
    """Everything in which two prompts differ, the older one first."""
    two: Two = call.query
    recording = call.host.recording

    def made() -> Comparison:
        one, other = (known(recording.reading, *one) for one in ((two.a, two.a_run), (two.b, two.b_run)))
        return compared(one, other, recording.host.roots())

    return answer(await _COMPARING.run(made))


async def get_why(call: Call) -> web.StreamResponse:
    """What is usual for a prompt, how it compares, and the reasons that its record shows."""
    reading = call.host.recording.reading

    def made() -> Why:
        now = known(reading, call.path["prompt_id"], call.query.run)
        return _why(reading, now, _earlier(reading, now.prompt))

    return answer(await on_thread(made))


async def get_report(call: Call) -> web.StreamResponse:
    """A prompt's report for a bug tracker, as Markdown."""
    recording, reading = call.host.recording, call.host.recording.reading

    def made() -> str:
        now = known(reading, call.path["prompt_id"], call.query.run)
        earlier = _earlier(reading, now.prompt)
        told = _why(reading, now, earlier)
        last = side_of(reading, earlier[0]) if earlier else None
        return report(now, told, last, recording.host.pack_of, with_names=call.query.model_names)

    return web.Response(text=await on_thread(made), content_type="text/markdown", charset="utf-8")


def _why(reading: Reading, now: Side, earlier: Sequence[Prompt]) -> Why:
    def nodes_of(run: Prompt) -> Sequence[Node]:
        return reading.nodes(run.prompt_id, run.run_number) or []

    return why(now, earlier, lambda run: side_of(reading, run), nodes_of)


def _earlier(reading: Reading, prompt: Prompt) -> Sequence[Prompt]:
    """The successes of a prompt's workflow that were queued before it, newest first."""
    if prompt.workflow_fingerprint is None:
        return []
    queued = prompt.queued_at or prompt.started_at
    wanted = Filter(
        statuses=("success",),
        until_ms=parse(queued) if queued is not None else None,
        workflow=prompt.workflow_fingerprint,
    )
    return reading.page(wanted, EARLIER, None)[0]


ROUTES = (
    Route("GET", "/compare", "Two prompts beside each other", compare, Two, {200: Comparison}, (404,)),
    Route("GET", "/prompts/{prompt_id}/why", "One prompt against its like", get_why, RunNumber, {200: Why}, (404,)),
    Route(
        "GET",
        "/prompts/{prompt_id}/report",
        "A prompt's report for a bug tracker",
        get_report,
        Report,
        {200: None},
        (404,),
        media_types=("text/markdown",),
    ),
)
