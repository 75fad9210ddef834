"""The chat route of a language model's server: what the `openai` package makes of a question, over our own HTTP.

Where that package is there (the extra `llm`), it says what a question looks like; where it is not, the question is
sent as it is given. Either way it goes by `Http`, with its bounds on bytes, speed and seconds, without redirects, and
with nothing of the environment's `OPENAI_*`; and an answer of any size and kind is ours to read.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple

from .http import Http


class ChatAnswer(NamedTuple):
    """What a server answers: any status."""

    status: int
    text: str
    is_stream: bool
    """Whether it calls it a stream of events."""


class ChatRoute:
    """One server's chat route, by a session with that route's URL."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._package = _Package(http) if _is_installed() else None

    async def __aenter__(self) -> ChatRoute:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._package is not None:
            await self._package.close()

    async def ask(self, body: Mapping[str, Any]) -> ChatAnswer:
        """The whole answer to one question. Raises ServerError."""
        if self._package is not None:
            return await self._package.ask(body)
        return await _post(self._http, json.dumps(body).encode())


async def _post(http: Http, data: bytes) -> ChatAnswer:
    async with http.ask("POST", "", "story", data=data, headers={"Content-Type": "application/json"}) as asked:
        text = (await asked.body()).decode("utf-8", "replace")
        return ChatAnswer(asked.status, text, "text/event-stream" in asked.headers.get("Content-Type", ""))


def _is_installed() -> bool:
    try:
        importlib.import_module("openai")
    except ImportError:
        return False
    return True


class _Declined(Exception):  # noqa: N818  a status is no error here
    """An answer that isn't 200, past everything that the package does with one."""

    def __init__(self, answer: ChatAnswer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class _Package:
    """The `openai` package, which opens no connection here."""

    def __init__(self, http: Http) -> None:
        import openai

        self._wrapping = openai.APIConnectionError
        client = openai.DefaultAsyncHttpxClient(transport=_transport(http), follow_redirects=False, trust_env=False)
        base = http.url.partition("?")[0].rpartition("/chat/completions")[0]
        self._client = openai.AsyncOpenAI(
            api_key="none", base_url=base, max_retries=0, timeout=None, http_client=client
        )

    async def close(self) -> None:
        """Let go of what the package holds."""
        await self._client.close()

    async def ask(self, body: Mapping[str, Any]) -> ChatAnswer:
        """The whole answer to one question. Raises ServerError."""
        try:
            answer = await self._client.chat.completions.with_raw_response.create(**body)
        except _Declined as declined:
            return declined.answer
        except self._wrapping as error:  # before its version 3 it wraps whatever its transport raises
            if isinstance(error.__cause__, _Declined):
                return error.__cause__.answer
            raise error.__cause__ or error from None
        told = answer.http_response
        is_stream = "text/event-stream" in told.headers.get("Content-Type", "")
        return ChatAnswer(told.status_code, told.content.decode("utf-8", "replace"), is_stream)


def _transport(http: Http) -> Any:
    """What the package sends its requests by; of httpx or httpx2, whichever its version has."""

    class Transport:
        """Takes of a request its body alone."""

        async def handle_async_request(self, request: Any) -> Any:
            answer = await _post(http, await request.aread())
            if answer.status != 200:
                raise _Declined(answer)
            library = importlib.import_module(type(request).__module__.partition(".")[0])
            told = {"Content-Type": "text/event-stream"} if answer.is_stream else {}
            return library.Response(200, headers=told, content=answer.text.encode("utf-8"))

        async def aclose(self) -> None:
            """Nothing: the session is its owner's."""

        async def __aenter__(self) -> Transport:
            return self

        async def __aexit__(self, *_: object) -> None:
            """Nothing, as above."""

    return Transport()
