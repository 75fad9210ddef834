"""One question to a chat server (LM Studio, Ollama, llama.cpp, vLLM): what it refuses is left out, and asked again.

They differ in what they take (a schema, a system message), in where they put an answer (text, parts, a tool call, the
field for thoughts), and answer 503 while they load the model.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenacity import AsyncRetrying, retry_if_result, wait_fixed

from ..client.chat_route import ChatAnswer, ChatRoute
from ..client.parsing import parse
from ..telemetry.models.text import clean
from .told_story import AnswerError, kind_of

Message = dict[str, str]
UNKNOWN_FORMAT = (400, 404, 415, 422, 500, 501)
"""What they answer to a response_format that they don't know, or can't hold the model to."""
LOADING_SECONDS = 1.0
"""A model that is being loaded is asked for again so soon."""
_LOADING = re.compile(r"load|warm|not ready|starting up|initiali[sz]", re.IGNORECASE)
_ROLES = re.compile(r"\broles?\b|system (?:message|prompt)|jinja|chat.?template", re.IGNORECASE)
_REASONING = ("reasoning_content", "reasoning", "thinking", "thoughts")
_THOUGHT_PARTS = ("thinking", "reasoning", "thought", "redacted_thinking")


@dataclass(frozen=True, slots=True)
class Said:
    """A model's answer. `text` is empty where there is none, and then `why` says what came instead."""

    text: str
    reasoning: str = ""
    """What stands in a field for thoughts: an answer only where it is nothing else."""
    why: str = "its message has no text"
    is_cut: bool = False
    """It ran into its limit of tokens."""


class Chat:
    """A server's chat route. What it has refused once is not sent again."""

    def __init__(
        self,
        route: ChatRoute,
        body: Mapping[str, Any],
        schema: Mapping[str, Any],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._route = route
        self._body = dict(body)
        self._sleep = sleep
        self.with_system = True
        self.with_schema = True
        self._format = {"type": "json_schema", "json_schema": {"name": "story", "strict": True, "schema": schema}}
        self.is_loading = False
        """Whether its last word was that it loads the model."""

    async def ask(self, messages: Sequence[Message]) -> Said:
        """What the model says. Raises AnswerError for a refusal, and ServerError."""
        while True:
            status, answer = await self._post(messages)
            if isinstance(answer, Said):
                return answer
            if self.with_system and status in UNKNOWN_FORMAT and _ROLES.search(answer):
                self.with_system = False
            elif self.with_schema and status in UNKNOWN_FORMAT:
                self.with_schema = False
            else:
                raise AnswerError(f"it answered {status}: {' '.join(answer.split())[:200]!r}")

    async def _post(self, messages: Sequence[Message]) -> tuple[int, Said | str]:
        """Status and answer, once the model is loaded; of a refusal the body."""
        told = messages if self.with_system else folded(messages)
        body = {**self._body, "messages": [{name: clean(text) for name, text in one.items()} for one in told]}
        if self.with_schema:
            body["response_format"] = self._format
        until_loaded = AsyncRetrying(
            retry=retry_if_result(lambda _: self.is_loading), wait=wait_fixed(LOADING_SECONDS), sleep=self._sleep
        )
        answer: ChatAnswer = await until_loaded(self._once, body)
        if answer.status != 200:
            return answer.status, answer.text
        is_stream = answer.is_stream or answer.text.lstrip().startswith(("data:", "event:"))
        return 200, _streamed(answer.text) if is_stream else _whole(answer.text)

    async def _once(self, body: Mapping[str, Any]) -> ChatAnswer:
        answer = await self._route.ask(body)
        self.is_loading = answer.status == 503 and _LOADING.search(answer.text) is not None
        return answer


def folded(messages: Sequence[Message]) -> list[Message]:
    """The system's text at the beginning of the user's first."""
    system = "\n\n".join(one["content"] for one in messages if one["role"] == "system")
    rest = [dict(one) for one in messages if one["role"] != "system"]
    if system and rest:
        rest[0]["content"] = f"{system}\n\n{rest[0]['content']}"
    return rest


# ---------------------------------------------------------------- an answer


def _whole(text: str) -> Said:
    """Raises AnswerError for what is no chat server's answer."""
    try:
        body = parse(text.encode())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise AnswerError(f"it did not answer as a chat server does, but with {kind_of(text)}")
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        if body.get("error"):
            raise AnswerError(f"it answered with an error: {_error(body['error'])}")
        empty = "with an empty list of choices" if choices == [] else f"but with {kind_of(text)}"
        raise AnswerError(f"it did not answer as a chat server does, {empty}")
    message = choice.get("message")
    if not isinstance(message, dict):
        message = {"content": choice.get("text")}
    return _said(message, cut=choice.get("finish_reason") == "length")


def _error(error: Any) -> str:
    told = error.get("message") if isinstance(error, dict) else error
    return repr(" ".join(str(told).split())[:200])


def _said(message: Mapping[str, Any], *, cut: bool) -> Said:
    text = _content(message.get("content"))
    why = "its message has no text"
    if not text.strip():
        text, why = _tool_call(message), "it called a tool" if message.get("tool_calls") else why
    if isinstance(message.get("refusal"), str) and not text.strip():
        why = f"it refused: {' '.join(message['refusal'].split())[:200]!r}"
    elif cut and not text.strip():
        why = "it ran into its limit of tokens before it answered"
    reasoning = next((told for name in _REASONING if (told := _content(message.get(name))).strip()), "")
    return Said(text, reasoning, why, cut)


def _content(content: Any) -> str:
    """A message's text; of one that comes in parts that of all but thoughts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and part.get("type") not in _THOUGHT_PARTS:
            told = part.get("text")
            texts.append(told if isinstance(told, str) else "")
    return "".join(texts)


def _tool_call(message: Mapping[str, Any]) -> str:
    """The arguments of the one call that the model made, though no tool was offered; empty for none, or several."""
    calls = message.get("tool_calls")
    one = calls[0] if isinstance(calls, list) and len(calls) == 1 and isinstance(calls[0], dict) else {}
    function = one.get("function")
    arguments = function.get("arguments") if isinstance(function, dict) else None
    return arguments if isinstance(arguments, str) else ""


def _streamed(text: str) -> Said:
    """The pieces of an answer that came as a stream, though none was asked for. Raises AnswerError."""
    pieces: list[str] = []
    thoughts: list[str] = []
    cut = False
    for line in text.splitlines():
        data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
        if not data or data == "[DONE]":
            continue
        try:
            chunk = parse(data.encode())
        except ValueError:
            raise AnswerError("its stream broke off in the middle") from None
        if not isinstance(chunk, dict):
            raise AnswerError("its stream broke off in the middle")
        if chunk.get("error"):
            raise AnswerError(f"it answered with an error: {_error(chunk['error'])}")
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            continue  # a chunk of figures
        told = [choice[name] for name in ("delta", "message") if isinstance(choice.get(name), dict)]
        delta: dict[str, Any] = told[0] if told else {}
        pieces.append(_content(delta.get("content")))
        thoughts.append(next((piece for name in _REASONING if (piece := _content(delta.get(name)))), ""))
        cut = cut or choice.get("finish_reason") == "length"
    return _said({"content": "".join(pieces), "reasoning_content": "".join(thoughts)}, cut=cut)
