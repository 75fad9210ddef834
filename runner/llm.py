"""A story from a local language model, by the chat API that LM Studio, Ollama, llama.cpp and vLLM share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from ..client.chat_route import ChatRoute
from ..client.errors import ServerError
from ..client.http import Http
from ..client.limits import Limits
from ..client.urls import shown_url
from ..telemetry.models.text import clean
from ..telemetry.process.deadline import timeout
from .chat import Chat, Said
from .llm_settings import LlmSettings
from .story import Story, template_story
from .told_story import TEXTS, AnswerError, is_story_alone, story_in

WHOM = "language model"
MOST_SENT_BACK = 20_000
"""Characters of a wrong answer."""


@dataclass(slots=True)
class Written:
    """A story, and where it came from."""

    story: Story
    generator: str
    """`llm:<model>` or `template`."""
    warnings: list[str] = field(default_factory=list)


async def write_story(
    idea: str,
    scenes: int,
    settings: LlmSettings,
    *,
    seed: int = 0,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Written:
    """A story of so many scenes by the model; where it can't give one, from templates, with a warning that says why.

    A wrong answer is sent back once with what is wrong in it, one that is empty is asked for again once, without the
    schema. While the server says that it loads the model, it is waited for, within the same time. Raises StoryError
    for a wrong number of scenes alone.
    """
    template = template_story(idea, scenes, settings.seed if settings.seed is not None else seed)
    if settings.url is None:
        return Written(template, "template")
    body = {"model": clean(settings.model), "temperature": settings.temperature, "stream": False}
    if settings.seed is not None:
        body["seed"] = settings.seed
    try:
        async with (
            Http(settings.url, bounds=Limits(settings.timeout_seconds), whom=WHOM) as http,
            ChatRoute(http) as route,
        ):
            chat = Chat(route, body, _schema(scenes), sleep)
            try:
                async with timeout(settings.timeout_seconds):
                    return await _by_model(chat, idea, scenes, settings)
            except (asyncio.TimeoutError, TimeoutError):
                still = "it was still loading its model after" if chat.is_loading else "it did not answer within"
                why = f"{still} {settings.timeout_seconds:g} s"
    except AnswerError as error:
        why = str(error)
    except ServerError as error:
        why = f"it can't be reached ({error})" if error.kind == "unavailable" else str(error)
    warning = f"the language model at {shown_url(settings.url)} wrote no story: {why}; the story is from templates"
    return Written(template, "template", [warning])


async def _by_model(chat: Chat, idea: str, scenes: int, settings: LlmSettings) -> Written:
    messages = [{"role": "system", "content": _system(scenes)}, {"role": "user", "content": idea}]
    said = await chat.ask(messages)
    try:
        story, warnings = _read(said, idea, scenes)
    except AnswerError as error:
        repair = f"That can't be used: {error}. Answer again, with the JSON object alone."
        if said.text.strip():
            messages += [
                {"role": "assistant", "content": said.text[:MOST_SENT_BACK]},
                {"role": "user", "content": repair},
            ]
        else:
            chat.with_schema = False  # held to it, some put all into the field for their thoughts
            messages[1] = {"role": "user", "content": f"{idea}\n\nAnswer with the JSON object alone."}
        story, warnings = _read(await chat.ask(messages), idea, scenes)
    return Written(story, f"llm:{settings.model}", warnings)


def _read(said: Said, idea: str, scenes: int) -> tuple[Story, list[str]]:
    """The story. Raises AnswerError."""
    if said.text.strip():
        try:
            return story_in(said.text, idea, scenes)
        except AnswerError as error:
            cut = "; it ran into its limit of tokens" if said.is_cut else ""
            raise AnswerError(f"{error}{cut}") from None
    if is_story_alone(said.reasoning):
        return story_in(said.reasoning, idea, scenes)
    raise AnswerError(said.why)


def _system(scenes: int) -> str:
    return (
        f"You write short visual stories. Answer with one JSON object and nothing else: title, logline, "
        f"directors_vision, and scenes, a list of exactly {scenes} objects with {', '.join(TEXTS)}. "
        "prompt describes one picture for an image model, in one or two sentences, without names of living people."
    )


def _schema(scenes: int) -> dict[str, Any]:
    text = {"type": "string"}
    scene = {
        "type": "object",
        "properties": dict.fromkeys(TEXTS, text),
        "required": list(TEXTS),
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {
            "title": text,
            "logline": text,
            "directors_vision": text,
            "scenes": {"type": "array", "items": scene, "minItems": scenes, "maxItems": scenes},
        },
        "required": ["title", "logline", "directors_vision", "scenes"],
        "additionalProperties": False,
    }
