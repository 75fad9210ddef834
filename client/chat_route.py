"""The chat route of a language model's server, asked by the `openai` package over our own HTTP.

That package says what a question looks like. It opens no connection: what goes over the wire goes by `Http`, with its
bounds on bytes, speed and seconds, without redirects, and with nothing of the environment's `OPENAI_*` in its headers.
It reads no answer, either: it would read a refusal of any size into objects.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple

from .errors import ServerError
from .http import Http

INSTALL = "to ask a language model, pip install 'run-recorder[llm]'"


class ChatAnswer(NamedTuple):
    """What a server answers: any status."""

    status: int
    text: str
    is_stream: bool
    """Whether it calls it a stream of events."""


class _Declined(Exception):  # noqa: N818  a status is no error here
    """An answer that isn't 200, past everything that the package does with one."""

    def __init__(self, answer: ChatAnswer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def is_installed() -> bool:
    """Whether the package is there."""
    return importlib.util.find_spec("openai") is not None


class ChatRoute:
    """One server's chat route, by a session with that route's URL. Raises ServerError where the package is missing."""

    def __init__(self, http: Http) -> None:
        try:
            import openai
        except ImportError:
            raise ServerError("missing", INSTALL) from None
        self._wrapping = openai.APIConnectionError
        client = openai.DefaultAsyncHttpxClient(transport=_transport(http), follow_redirects=False, trust_env=False)
        base = http.url.partition("?")[0].rpartition("/chat/completions")[0]
        self._client = openai.AsyncOpenAI(
            api_key="none", base_url=base, max_retries=0, timeout=None, http_client=client
        )

    async def __aenter__(self) -> ChatRoute:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
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
        return _answer(told.status_code, told.content, told.headers)


def _answer(status: int, body: bytes, headers: Mapping[str, str]) -> ChatAnswer:
    return ChatAnswer(status, body.decode("utf-8", "replace"), "text/event-stream" in headers.get("Content-Type", ""))


def _transport(http: Http) -> Any:
    """What the package sends its requests by; of httpx or httpx2, whichever its version has."""

    class Transport:
        """Takes of a request its body alone."""

        async def handle_async_request(self, request: Any) -> Any:
            body = await request.aread()
            headers = {"Content-Type": "application/json"}
            async with http.ask("POST", "", "story", data=body, headers=headers) as asked:
                content, status = await asked.body(), asked.status
                told = {"Content-Type": asked.headers.get("Content-Type", "")}
            if status != 200:
                raise _Declined(_answer(status, content, told))
            library = importlib.import_module(type(request).__module__.partition(".")[0])
            return library.Response(200, headers=told, content=content)

        async def aclose(self) -> None:
            """Nothing: the session is its owner's."""

        async def __aenter__(self) -> Transport:
            return self

        async def __aexit__(self, *_: object) -> None:
            """Nothing, as above."""

    return Transport()
