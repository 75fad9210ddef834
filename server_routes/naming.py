"""PUT /telemetry/prompts/{prompt_id}/name: what ComfyUI's own page calls a prompt that it has queued."""

from __future__ import annotations

from aiohttp import web
from pydantic import ValidationError

from ..telemetry.models.prompt import Prompt, PromptName
from ..telemetry.record.errors import AnothersPromptError
from .answering import on_thread
from .parameters import RunNumber
from .prompts import unknown
from .route import Call, Route, answer, conflict, invalid

MAX_BODY = 4096
"""Bytes: a name of 200 characters in JSON's longest way of writing them, and room."""


async def _given(request: web.Request) -> str:
    """The name in a request's body. Raises ApiError 400 that says what is wrong with it."""
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY:
            raise invalid("body", f"the body has more than {MAX_BODY} bytes; {_ACCEPTED}")
    try:
        return PromptName.model_validate_json(bytes(body)).name
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = str(first["loc"][0]) if first["loc"] else "body"
        raise invalid(field, f"{field}: {first['msg']}; {_ACCEPTED}") from None


_ACCEPTED = 'accepted: {"name": "..."}, 1 to 200 characters that are not all spaces, without control characters'


async def name_prompt(call: Call) -> web.StreamResponse:
    """Call a prompt by the file name of its workflow, unless it has a name; answers the prompt."""
    prompt_id, run = call.path["prompt_id"], call.query.run
    recording, name = call.host.recording, await _given(call.request)
    try:
        known = await on_thread(recording.reading.name, prompt_id, run, name)
    except AnothersPromptError as error:
        raise conflict(str(error)) from None
    found = await on_thread(recording.reading.prompt, prompt_id, run) if known else None
    if found is None:
        raise unknown(prompt_id, run)
    return answer(found)


ROUTES = (
    Route(
        "PUT",
        "/prompts/{prompt_id}/name",
        "Call a prompt by its workflow's name",
        name_prompt,
        RunNumber,
        {200: Prompt},
        (404, 409),
        body=PromptName,
    ),
)
