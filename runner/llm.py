"""A story from a local language model, by the chat API that LM Studio, Ollama, llama.cpp and vLLM share."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ..client.errors import ServerError
from ..client.http import Http
from ..client.limits import MOST_DEPTH, Limits
from ..client.parsing import depth_of, parse
from ..telemetry.text import clean
from .story import Story, StoryError, story_of, template_story

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
MOST_BRACES = 2000
"""So many places are tried as the beginning of the object."""
YES, NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
MOST_SEED = 2**63 - 1
_TEXTS = ("title", "summary", "prompt", "negative_prompt", "mood", "camera_movement")


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
    url = url if "://" in url else f"http://{url}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingError(f"{name} is {url!r}: an http(s) address is accepted, such as http://127.0.0.1:1234")
    return url


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


class _AnswerError(Exception):
    """The model's server did not give what was asked for; the message says what came."""


async def write_story(idea: str, scenes: int, settings: LlmSettings, *, seed: int = 0) -> Written:
    """A story of so many scenes by the model; where it can't give one, from templates, with a warning that says why.

    A wrong answer is sent back once with what is wrong in it. Raises StoryError for a wrong number of scenes alone.
    """
    template = template_story(idea, scenes, settings.seed if settings.seed is not None else seed)
    if settings.url is None:
        return Written(template, "template")
    try:
        return await asyncio.wait_for(_by_model(idea, scenes, settings), settings.timeout_seconds)
    except (asyncio.TimeoutError, TimeoutError):
        why = f"it did not answer within {settings.timeout_seconds:g} s"
    except _AnswerError as error:
        why = str(error)
    except ServerError as error:
        why = f"it can't be reached ({error})" if error.kind == "unavailable" else str(error)
    warning = f"the language model at {settings.url} wrote no story: {why}; the story is from templates"
    return Written(template, "template", [warning])


async def _by_model(idea: str, scenes: int, settings: LlmSettings) -> Written:
    messages = [{"role": "system", "content": _system(scenes)}, {"role": "user", "content": idea}]
    assert settings.url is not None
    async with Http(settings.url, bounds=Limits(settings.timeout_seconds)) as session:
        said = await _ask(session, settings, messages, scenes)
        try:
            story, warnings = _story(said, idea, scenes)
        except _AnswerError as error:
            repair = f"That can't be used: {error}. Answer again, with the JSON object alone."
            again = [*messages, {"role": "assistant", "content": said[:20_000]}, {"role": "user", "content": repair}]
            said = await _ask(session, settings, again, scenes)
            story, warnings = _story(said, idea, scenes)
    return Written(story, f"llm:{settings.model}", warnings)


def _system(scenes: int) -> str:
    return (
        f"You write short visual stories. Answer with one JSON object and nothing else: title, logline, "
        f"directors_vision, and scenes, a list of exactly {scenes} objects with {', '.join(_TEXTS)}. "
        "prompt describes one picture for an image model, in one or two sentences, without names of living people."
    )


def _schema(scenes: int) -> dict[str, Any]:
    text = {"type": "string"}
    scene = {
        "type": "object",
        "properties": dict.fromkeys(_TEXTS, text),
        "required": list(_TEXTS),
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


async def _ask(session: Http, settings: LlmSettings, messages: list[dict[str, str]], scenes: int) -> str:
    """What the model says; held to the schema by the server, where it can do that."""
    body: dict[str, Any] = {
        "model": settings.model,
        "messages": messages,
        "temperature": settings.temperature,
        "stream": False,
    }
    if settings.seed is not None:
        body["seed"] = settings.seed
    schema = {"name": "story", "strict": True, "schema": _schema(scenes)}
    status, said = await _post(session, {**body, "response_format": {"type": "json_schema", "json_schema": schema}})
    if status in (400, 404, 415, 422, 500, 501):  # what they say to a response_format that they don't know
        status, said = await _post(session, body)
    if status != 200:
        raise _AnswerError(f"it answered {status}: {' '.join(said.split())[:200]!r}")
    return said


async def _post(session: Http, body: dict[str, Any]) -> tuple[int, str]:
    """Status, and the message's text; of an answer that is no success the body. Raises ServerError."""
    async with session.ask("POST", "", "story", json=body) as asked:
        text = (await asked.body()).decode("utf-8", "replace")
        if asked.status != 200:
            return asked.status, text
        if "text/event-stream" in asked.headers.get("Content-Type", "") or text.lstrip().startswith("data:"):
            return 200, _streamed(text)
        return 200, _message(text)


def _message(text: str) -> str:
    try:
        content = parse(text.encode())["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        raise _AnswerError(f"it did not answer as a chat server does, but with {_kind(text)}") from None
    if not isinstance(content, str):
        raise _AnswerError("its message has no text")
    return content


def _streamed(text: str) -> str:
    """The pieces of an answer that came as a stream, though none was asked for."""
    pieces = []
    for line in text.splitlines():
        data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
        if not data or data == "[DONE]":
            continue
        try:
            delta = parse(data.encode())["choices"][0].get("delta", {}).get("content")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            raise _AnswerError("its stream broke off in the middle") from None
        pieces.append(delta if isinstance(delta, str) else "")
    return "".join(pieces)


def _kind(text: str) -> str:
    head = text.lstrip()[:200].lower()
    if not head:
        return "nothing"
    if head.startswith(("<!doctype", "<html", "<")):
        return "HTML"
    return f"{' '.join(text.split())[:80]!r}"


def _story(said: str, idea: str, scenes: int) -> tuple[Story, list[str]]:
    """The story in what the model said. Raises _AnswerError that says what is wrong, as the model may be told."""
    data = _object(said)
    given = data.get("scenes")
    if not isinstance(given, list) or not given:
        raise _AnswerError("the object has no list `scenes`")
    if len(given) < scenes:
        raise _AnswerError(f"{scenes} scenes were asked for, and {len(given)} came")
    warnings = []
    if len(given) > scenes:
        warnings.append(f"the language model wrote {len(given)} scenes; the first {scenes} are used")
    made = [
        {**{name: scene.get(name) or "" for name in _TEXTS}, "id": f"scene-{number:03}"}
        if isinstance(scene, dict)
        else scene
        for number, scene in enumerate(given[:scenes], 1)
    ]
    whole = {
        "id": "story-" + (re.sub(r"[^a-z0-9]+", "-", str(data.get("title") or "").lower()).strip("-")[:40] or "llm"),
        "title": data.get("title") or "",
        "logline": data.get("logline") or idea,
        "directors_vision": data.get("directors_vision") or None,
        "scenes": made,
    }
    try:
        return story_of(whole, "the answer"), warnings
    except StoryError as error:
        raise _AnswerError("; ".join(error.mistakes[:10])) from None


def _object(said: str) -> dict[str, Any]:
    """The first JSON object in a text: models add prose, fences and their thoughts around it."""
    text = clean(re.sub(r"<think>.*?</think>", "", said, flags=re.DOTALL))
    decoder = json.JSONDecoder(strict=False)
    braces = [found.start() for found in re.finditer(r"\{", text)][:MOST_BRACES]
    for place in braces:
        try:
            value, _ = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            continue
        if depth_of(value) <= MOST_DEPTH and isinstance(value, dict) and ("scenes" in value or place == braces[0]):
            return value
    if "{" in text:
        raise _AnswerError("the JSON in it is broken or breaks off")
    raise _AnswerError(f"it is no JSON, but {_kind(text)}")
