"""GET /telemetry/prompts/{prompt_id}/wait: woken by the recorder, never by a timer."""

from __future__ import annotations

import asyncio

from aiohttp import web

from ..telemetry.contract import Prompt
from ..telemetry.feed import Waiter
from ..telemetry.version import VERSION
from .answering import HEADER, elsewhere
from .parameters import Wait
from .prompts import unknown
from .route import Call, Route, answer, answer_bytes


async def wait_for_prompt(call: Call) -> web.StreamResponse:
    """The prompt once it has ended and its markers are written (200), or as it is when the time is up (202)."""
    recording, prompt_id, run = call.host.recording, call.path["prompt_id"], call.query.run
    loop = asyncio.get_running_loop()
    found, waiter = await elsewhere(recording.wait, prompt_id, run, loop)
    if found is None:
        raise unknown(prompt_id, run)
    if waiter is None:
        return answer(found)
    try:
        body = await asyncio.wait_for(asyncio.shield(waiter.answer), call.query.timeout)
        return await _send(call.request, waiter, body)
    except asyncio.TimeoutError:
        return await _as_it_is(call, found)
    finally:
        recording.feed.forget(waiter)
        waiter.done()


async def _as_it_is(call: Call, found: Prompt) -> web.StreamResponse:
    """Its end may just have been committed; one that can't be committed is not told as an end."""
    recording = call.host.recording
    now = await elsewhere(recording.prompt, found.prompt_id, found.run_number)
    is_open = await elsewhere(recording.is_open, found.prompt_id, found.run_number)
    return answer(now or found, 202 if is_open else 200)


async def _send(request: web.Request, waiter: Waiter, body: bytes) -> web.StreamResponse:
    """Send the answer before telling the recorder so: a garbage collection may wait for just that."""
    response = answer_bytes(body)
    response.headers[HEADER] = VERSION
    response.headers["Cache-Control"] = "no-store"
    await response.prepare(request)
    await response.write_eof()
    waiter.done()
    return response


ROUTES = (
    Route(
        "GET",
        "/prompts/{prompt_id}/wait",
        "Wait for a prompt's end",
        wait_for_prompt,
        Wait,
        {200: Prompt, 202: Prompt},
        (404,),
    ),
)
