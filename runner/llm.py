"""A story from a local language model, by the chat API that LM Studio, Ollama, llama.cpp and vLLM share."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ..client.chat_route import ChatRoute
from ..client.errors import ServerError
from ..client.http import Http
from ..client.limits import Limits
from ..client.urls import address_of, shown_url
from ..telemetry.models.text import clean
from ..telemetry.process.deadline import timeout
from .chat import Chat, Said
from .story import Story, template_story
from .told_story import TEXTS, AnswerError, is_story_alone, story_in

URL, MODEL, SEED, TEMPERATURE, TIMEOUT, HEALTHCHECK_URL, SKIP_HEALTHCHECK = (
    "LOCAL_STORY_PROVIDER_URL",
    "LOCAL_LLM_MODEL",
    "LOCAL_LLM_SEED",
    "LOCAL_LLM_TEMPERATURE",
    "LOCAL_LLM_TIMEOUT_SECONDS",
    "LOCAL_LLM_HEALTHCHECK_URL",
    "LOCAL_LLM_SKIP_HEALTHCHECK",
)
DEFAULT_MODEL, DEFAULT_TEMPERATURE, DEFAULT_TIMEOUT = "local-model", 0.7, 120.0
CHAT = "/chat/completions"
WHOM = "language model"
MOST_SENT_BACK = 20_000
"""Characters of a wrong answer."""
YES, NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
MOST_SEED = 2**63 - 1


class SettingError(ValueError):
    """A setting that can't be used. The message names it, what was given, and what is accepted."""


@dataclass(frozen=True, slots=True)
class LlmSettings:
    """Where the model is, and how it is asked."""

    url: str | None = None
    """The chat route; null where no model is set."""
    model: str = DEFAULT_MODEL
    seed: int | None = None
    temperature: float = DEFAULT_TEMPERATURE
    timeout_seconds: float = DEFAULT_TIMEOUT
    healthcheck_url: str | None = None
    """An address of its own for the health check; null derives it from `url`."""
    skip_healthcheck: bool = False

    @classmethod
    def from_environment(cls, settings: Mapping[str, str] = os.environ) -> LlmSettings:
        """From LOCAL_STORY_PROVIDER_URL and LOCAL_LLM_*. Raises SettingError."""
        given = {name: settings.get(name, "").strip() for name in (URL, MODEL, HEALTHCHECK_URL, SKIP_HEALTHCHECK)}
        timeout = _number(settings, TIMEOUT, DEFAULT_TIMEOUT, 0.1, 86_400)
        temperature = _number(settings, TEMPERATURE, DEFAULT_TEMPERATURE, 0, 5)
        return cls(
            url=chat_url(given[URL], URL) if given[URL] else None,
            model=given[MODEL] or DEFAULT_MODEL,
            seed=_seed(settings.get(SEED, "").strip()),
            temperature=DEFAULT_TEMPERATURE if temperature is None else temperature,
            timeout_seconds=timeout or DEFAULT_TIMEOUT,
            healthcheck_url=_http(given[HEALTHCHECK_URL], HEALTHCHECK_URL) if given[HEALTHCHECK_URL] else None,
            skip_healthcheck=_switch(given[SKIP_HEALTHCHECK], SKIP_HEALTHCHECK),
        )


def _number(settings: Mapping[str, str], name: str, default: float | None, least: float, most: float) -> float | None:
    given = settings.get(name, "").strip()
    if not given:
        return default
    try:
        number = float(given)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise SettingError(f"{name} is {given!r}: a number from {least:g} to {most:g} is accepted")
    return number


def _seed(given: str) -> int | None:
    if not given:
        return None
    if not re.fullmatch(r"[0-9]{1,19}", given) or int(given) > MOST_SEED:
        raise SettingError(f"{SEED} is {given!r}: a whole number from 0 to {MOST_SEED} is accepted")
    return int(given)


def _switch(given: str, name: str) -> bool:
    if given.lower() not in YES + NO:
        raise SettingError(f"{name} is {given!r}: 1, true, yes, on, 0, false, no and off are accepted")
    return given.lower() in YES


def _http(url: str, name: str) -> str:
    address = address_of(url)
    if address is None:
        shown = shown_url(url)
        raise SettingError(f"{name} is {shown!r}: an http(s) address is accepted, such as http://127.0.0.1:1234")
    return address


def chat_url(url: str, name: str = URL) -> str:
    """The chat route of what people set: that route itself, a base that ends with /v1, or a bare host."""
    parts = urlsplit(_http(url, name))
    path = parts.path.rstrip("/")
    if not path.endswith(CHAT):
        path += CHAT if path.endswith("/v1") else f"/v1{CHAT}"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


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
