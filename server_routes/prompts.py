"""GET and DELETE /telemetry/prompts and what lies below it."""

from __future__ import annotations

import json

from aiohttp import web

from ..telemetry.models.base import OPEN_STATUSES
from ..telemetry.models.node import NodeList
from ..telemetry.models.prompt import Prompt, PromptPage
from ..telemetry.models.run_contract import SceneTelemetry, plain
from ..telemetry.models.run_telemetry import telemetry_of
from ..telemetry.models.settings import SettingsList
from ..telemetry.store.errors import UnreadableRecordError
from .answering import on_thread
from .parameters import Bound, Listing, RunNumber, encode_cursor
from .route import ApiError, Call, Route, answer, answer_bytes, conflict, not_found


def unknown(prompt_id: str, run: int | None) -> ApiError:
    """404 for a prompt, or a run of it, that was never seen."""
    which = f"prompt {prompt_id!r}" + ("" if run is None else f", run {run},")
    return not_found(f"{which} is not recorded here: it was never seen, or has been forgotten", "prompt_id")


async def list_prompts(call: Call) -> web.StreamResponse:
    """A page of prompts, newest first."""
    wanted: Listing = call.query
    items, after = await on_thread(call.host.recording.reading.page, wanted.filter(), wanted.limit, wanted.cursor)
    return answer(PromptPage(items=items, next_cursor=encode_cursor(after) if after is not None else None))


async def get_prompt(call: Call) -> web.StreamResponse:
    """One prompt."""
    found = await on_thread(call.host.recording.reading.prompt, call.path["prompt_id"], call.query.run)
    if found is None:
        raise unknown(call.path["prompt_id"], call.query.run)
    return answer(found)


async def get_nodes(call: Call) -> web.StreamResponse:
    """A prompt's nodes, in the order in which they ran."""
    found = await on_thread(call.host.recording.reading.nodes, call.path["prompt_id"], call.query.run)
    if found is None:
        raise unknown(call.path["prompt_id"], call.query.run)
    return answer(NodeList(items=found))


async def get_settings(call: Call) -> web.StreamResponse:
    """The numbers, switches and choices of a prompt's graph."""
    found = await on_thread(call.host.recording.reading.settings, call.path["prompt_id"], call.query.run)
    if found is None:
        raise unknown(call.path["prompt_id"], call.query.run)
    return answer(found)


async def get_contract(call: Call) -> web.StreamResponse:
    """A prompt as the run contract's telemetry object; its files were not collected, so of that it says nothing."""
    found = await on_thread(call.host.recording.reading.prompt, call.path["prompt_id"], call.query.run)
    if found is None:
        raise unknown(call.path["prompt_id"], call.query.run)
    return answer_bytes(json.dumps(plain(telemetry_of(found))).encode("utf-8"))


async def delete_prompt(call: Call) -> web.StreamResponse:
    """Forget a prompt that has ended: all its runs, or one."""
    reading, prompt_id, run = call.host.recording.reading, call.path["prompt_id"], call.query.run
    try:
        known = await on_thread(reading.prompt, prompt_id, run)
        if known is None:
            raise unknown(prompt_id, run)
        is_open = known.status in OPEN_STATUSES
    except UnreadableRecordError:  # to delete it is the way to be rid of it
        is_open = False
    if is_open or await on_thread(reading.is_open_anywhere, prompt_id, run):
        raise conflict(f"prompt {prompt_id!r} is queued or running; cancel or interrupt it first")
    await on_thread(reading.delete, prompt_id, run)
    return web.Response(status=204)


async def delete_prompts(call: Call) -> web.StreamResponse:
    """Forget every ended prompt that was queued before a time."""
    await on_thread(call.host.recording.reading.delete_until, call.query.until)
    return web.Response(status=204)


ROUTES = (
    Route("GET", "/prompts", "Prompts, newest first", list_prompts, Listing, {200: PromptPage}),
    Route("GET", "/prompts/{prompt_id}", "One prompt", get_prompt, RunNumber, {200: Prompt}, (404,)),
    Route("GET", "/prompts/{prompt_id}/nodes", "A prompt's nodes", get_nodes, RunNumber, {200: NodeList}, (404,)),
    Route(
        "GET",
        "/prompts/{prompt_id}/settings",
        "A prompt's settings",
        get_settings,
        RunNumber,
        {200: SettingsList},
        (404,),
    ),
    Route(
        "GET",
        "/prompts/{prompt_id}/contract",
        "A prompt as the run contract's telemetry object",
        get_contract,
        RunNumber,
        {200: SceneTelemetry},
        (404,),
    ),
    Route("DELETE", "/prompts/{prompt_id}", "Forget one prompt", delete_prompt, RunNumber, {204: None}, (404, 409)),
    Route("DELETE", "/prompts", "Forget the prompts before a time", delete_prompts, Bound, {204: None}),
)
