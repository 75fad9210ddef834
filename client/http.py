"""Asks one server over HTTP, asynchronously, and takes no more of an answer than its kind's bound.

No redirect is followed and no cookie kept: what was asked of one server, with its token, is asked of no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import aiohttp

from ..telemetry.process.deadline import timeout
from . import limits
from .decoding import ACCEPTED, Decoder, EncodingError
from .errors import ServerError
from .limits import Bound, Kind, Limits
from .parsing import UnreadableError, parse
from .urls import address_of, logon_of, shown_url

CHUNK = 64 * 1024
IN_MEMORY = limits.MIB
"""Bytes of an answer that isn't whole yet."""
FAILURES = (aiohttp.ClientError, ConnectionError, asyncio.TimeoutError, TimeoutError, ValueError)
"""What aiohttp raises for a server's sake; a full disk is none of them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, read. `value` is its JSON; null where it is none, and then `why` says why."""

    status: int
    headers: Mapping[str, str]
    value: Any
    why: str | None = None


class Asked:
    """An answer that is being read."""

    def __init__(self, url: str, answer: aiohttp.ClientResponse, bound: Bound, *, endless: bool = False) -> None:
        self._url = url
        self._answer = answer
        self._bound = bound
        self._endless = endless

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers."""
        return self._answer.headers

    @property
    def size(self) -> int | None:
        """The bytes that the server says it will send; null where it doesn't."""
        with contextlib.suppress(ValueError):
            return self._answer.content_length
        return None

    async def pieces(self) -> AsyncIterator[bytes]:
        """The unpacked bytes in pieces of at most 64 KiB, as far as the bound. Raises ServerError."""
        most = self._bound.most_bytes
        pace, size = _Pace(self._bound.least_speed), 0
        try:
            decoder = Decoder(self._answer.headers.get("Content-Encoding"))
            async for chunk in self._answer.content.iter_chunked(CHUNK):
                if pace.is_too_slow(len(chunk)):
                    slow = f"less than {self._bound.least_speed} bytes a second for {limits.SLOW_SECONDS:g} s"
                    raise ServerError("too_slow", f"{self._url} sends {slow}")
                for piece in decoder.feed(chunk):
                    size += len(piece)
                    if size > most and not self._endless:
                        raise ServerError("too_large", f"{self._url} sends more than {most} bytes, which are taken")
                    yield piece
            decoder.finish()
        except EncodingError as error:
            raise ServerError("bad_answer", f"{self._url}: its answer can't be read: {error}") from None

    async def body(self) -> bytes:
        """The whole of it. Raises ServerError."""
        content = bytearray()
        async for piece in self.pieces():
            content += piece
        return bytes(content)

    async def json(self) -> Answer:
        """The whole of it as JSON. Raises ServerError for what breaks off or is beyond the bound.

        A large one waits on the disk until it is whole, so that however many servers send at once, one is in memory.
        """
        with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as kept:
            async for piece in self.pieces():
                kept.write(piece)
            kept.seek(0)
            try:
                return Answer(self.status, self.headers, parse(kept.read()))
            except UnreadableError as error:
                return Answer(self.status, self.headers, None, str(error))


class Http:
    """One server, by its URL. `headers` go with every request, a bearer token for one; `whom` is what messages call it.

    A token takes the place of a user and password that came with the URL: a request has one `Authorization`.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        bounds: Limits | None = None,
        *,
        whom: str = "ComfyUI",
    ) -> None:
        self.whom = whom
        self.url = (address_of(url) or url).rstrip("/")
        self.shown = shown_url(self.url)
        """As a message has it."""
        self.headers = {**logon_of(self.url), **(headers or {})}
        self.bounds = bounds or Limits()
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The open session."""
        assert self._session is not None
        return self._session

    async def __aenter__(self) -> Http:
        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(_refuse)
        self._session = aiohttp.ClientSession(
            headers={"Accept-Encoding": ACCEPTED, **self.headers},
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[trace],
            timeout=aiohttp.ClientTimeout(total=None, connect=limits.CONNECT_SECONDS),
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._session is not None:
            await self._session.close()

    @contextlib.asynccontextmanager
    async def ask(
        self, method: str, path: str, kind: Kind, *, wait_seconds: float = 0.0, endless: bool = False, **more: Any
    ) -> AsyncIterator[Asked]:
        """Ask for a path. `wait_seconds` is how long the server was asked to wait before it answers.

        With `endless` no time bounds the whole, but silence does. Raises ServerError where nobody answers, or stops to.
        """
        bound = self.bounds.of(kind, wait_seconds)
        silence = bound.seconds if endless else limits.SILENCE_SECONDS + wait_seconds
        patience = aiohttp.ClientTimeout(
            total=None if endless else bound.seconds, connect=limits.CONNECT_SECONDS, sock_read=silence
        )
        try:
            async with timeout(bound.seconds):
                answer = await self.session.request(
                    method, self.url + path, allow_redirects=False, timeout=patience, **more
                )
            async with answer:
                yield Asked(self.shown, answer, bound, endless=endless)
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError) as error:
            raise ServerError("tls", f"{self.shown}: no secure connection ({error})") from None
        except FAILURES as error:
            why = f"no {self.whom} answers at {self.shown} ({_why(error, bound)})"
            raise ServerError("unavailable", why) from None

    async def json(self, method: str, path: str, kind: Kind, **more: Any) -> Answer:
        """Ask for a path, and read its JSON. Raises ServerError."""
        async with self.ask(method, path, kind, **more) as asked:
            return await asked.json()


class _Pace:
    """Whether bytes come fast enough, looked at once every SLOW_SECONDS."""

    def __init__(self, least: int) -> None:
        self._least = least
        self._since = time.monotonic()
        self._bytes = 0

    def is_too_slow(self, count: int) -> bool:
        self._bytes += count
        seconds = time.monotonic() - self._since
        if seconds < limits.SLOW_SECONDS:
            return False
        slow = self._bytes < self._least * seconds
        self._since, self._bytes = time.monotonic(), 0
        return slow


async def _refuse(_session: object, _context: object, asked: aiohttp.TraceRequestRedirectParams) -> None:
    """Aiohttp itself follows redirects for web sockets, and can't be told not to."""
    raise ValueError(f"{asked.url} redirects elsewhere")


def _why(error: BaseException, bound: Bound) -> str:
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)) and not str(error):
        return f"no whole answer within {bound.seconds:g} s"
    return str(error) or type(error).__name__
