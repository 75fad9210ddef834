"""GET /telemetry/prompts/{prompt_id}/wait: woken by the recorder, never by a timer."""

from __future__ import annotations

import asyncio
import weakref

from aiohttp import web

from ..telemetry.live.feed import Waiter
from ..telemetry.models.base import OPEN_STATUSES
from ..telemetry.models.prompt import Prompt
from .answering import on_thread
from .parameters import Wait
from .prompts import unknown
from .route import JSON, Call, Route, answer

OTHER_SERVER_SECONDS = 1.0
"""How often the store is asked for a prompt that another server on the same database runs: only that one is told."""


async def wait_for_prompt(call: Call) -> web.StreamResponse:
    """The prompt once it has ended and its markers are written (200), or as it is when the time is up (202)."""
    reading, prompt_id, run = call.host.recording.reading, call.path["prompt_id"], call.query.run
    loop = asyncio.get_running_loop()
    deadline = loop.time() + call.query.timeout
    found, waiter = await on_thread(reading.wait, prompt_id, run, loop)
    while found is not None and waiter is None and found.status in OPEN_STATUSES and loop.time() < deadline:
        await asyncio.sleep(min(OTHER_SERVER_SECONDS, max(0.0, deadline - loop.time())))
        found, waiter = await on_thread(reading.wait, prompt_id, run, loop)
    if found is None:
        raise unknown(prompt_id, run)
    if waiter is None:
        return answer(found, 202 if found.status in OPEN_STATUSES else 200)
    timer = loop.call_at(deadline, waiter.give_up)
    try:
        body = await waiter.answer
        if body is not None:
            return End(waiter, body)
    except BaseException:
        waiter.done()
        raise
    finally:
        timer.cancel()
        reading.forget_waiter(waiter)
    return await _as_it_is(call, found)


async def _as_it_is(call: Call, found: Prompt) -> web.StreamResponse:
    """Its end may just have been committed; one that can't be committed is not told as an end."""
    reading = call.host.recording.reading
    now = await on_thread(reading.prompt, found.prompt_id, found.run_number)
    is_open = await on_thread(reading.is_open, found.prompt_id, found.run_number)
    told = now or found
    return answer(told, 202 if is_open or told.status in OPEN_STATUSES else 200)


class End(web.Response):
    """A prompt's end. Tells the recorder when it is sent, or never will be: a garbage collection may wait for that."""

    def __init__(self, waiter: Waiter, body: bytes) -> None:
        super().__init__(body=body, content_type=JSON, charset="utf-8")
        self._waiter = waiter
        weakref.finalize(self, waiter.done)

    async def write_eof(self, data: bytes = b"") -> None:
        """Send the rest of the answer, all there is of it."""
        try:
            await super().write_eof(data)
        finally:
            self._waiter.done()


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
