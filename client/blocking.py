"""The same for code that is not asynchronous: a question and its whole answer, or a stream's lines."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from . import limits
from .errors import ServerError
from .http import FAILURES, Http
from .limits import Limits
from .reading import Answer
from .request import Request

Result = TypeVar("Result")


def ask(
    url: str, request: Request, *, headers: Mapping[str, str] | None = None, bounds: Limits | None = None
) -> Answer:
    """Ask a server, and read its JSON. Raises ServerError."""

    async def asked() -> Answer:
        async with Http(url, headers, bounds) as http:
            return await http.answer(request)

    return complete(asked())


def complete(work: Coroutine[Any, Any, Result]) -> Result:
    """Do it to its end, also where this thread has an event loop at work: then on a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work).result()


@contextlib.contextmanager
def lines(
    url: str, request: Request, *, headers: Mapping[str, str] | None = None
) -> Iterator[tuple[Answer | None, Iterator[bytes]]]:
    """The lines of a stream of server-sent events as they come, without their ends.

    With them the whole answer where the server refuses (no line comes then), else null. Raises ServerError, also
    from the iterator: where the stream is silent for too long, or one line is too long.
    """
    loop = asyncio.new_event_loop()
    opened = contextlib.AsyncExitStack()
    try:
        refused, told = loop.run_until_complete(_open(opened, url, request, headers))
        yield refused, _each(loop, told)
    finally:
        try:
            for task in asyncio.all_tasks(loop):  # one that Ctrl-C left
                task.cancel()
            loop.run_until_complete(opened.aclose())
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()


async def _open(
    opened: contextlib.AsyncExitStack, url: str, request: Request, headers: Mapping[str, str] | None
) -> tuple[Answer | None, AsyncIterator[bytes]]:
    http = await opened.enter_async_context(Http(url, {"Accept": "text/event-stream", **(headers or {})}))
    asked = await opened.enter_async_context(http.ask(request.method, request.path, request.kind, endless=True))
    if asked.status != 200:
        return await asked.json(), _lines(http.url, _none())
    return None, _lines(http.url, asked.pieces())


async def _none() -> AsyncIterator[bytes]:
    return
    yield b""


def _each(loop: asyncio.AbstractEventLoop, told: AsyncIterator[bytes]) -> Iterator[bytes]:
    while (line := loop.run_until_complete(_next(told))) is not None:
        yield line


async def _next(told: AsyncIterator[bytes]) -> bytes | None:
    async for line in told:
        return line
    return None


async def _lines(url: str, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Lines of an answer. Raises ServerError for one that is longer than an event may be, and for a broken stream."""
    most, left = limits.BOUNDS["events"].most_bytes, b""
    try:
        async for piece in pieces:
            *whole, left = (left + piece).split(b"\n")
            for line in whole:
                yield line
            if len(left) > most:
                raise ServerError("too_large", f"{url} sends a line of more than {most} bytes")
    except FAILURES as error:
        raise ServerError("unavailable", f"{url} went away ({str(error) or type(error).__name__})") from None
    if left:
        yield left
