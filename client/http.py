"""Asks one server over HTTP, asynchronously, and takes no more of an answer than its kind's bound.

No redirect is followed and no cookie kept: what was asked of one server, with its token, is asked of no other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any

import aiohttp

from ..telemetry.process.deadline import timeout
from . import limits
from .decoding import ACCEPTED
from .errors import ServerError
from .limits import Bound, Kind, Limits
from .reading import Answer, Asked
from .request import Request
from .urls import address_of, logon_of, shown_url

FAILURES = (aiohttp.ClientError, ConnectionError, asyncio.TimeoutError, TimeoutError, ValueError)
"""What aiohttp raises for a server's sake; a full disk is none of them."""


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

    async def answer(self, request: Request) -> Answer:
        """The same for a request that is described. Raises ServerError."""
        return await self.json(
            request.method, request.path, request.kind, wait_seconds=request.wait_seconds, **request.more
        )


async def _refuse(_session: object, _context: object, asked: aiohttp.TraceRequestRedirectParams) -> None:
    """Aiohttp itself follows redirects for web sockets, and can't be told not to."""
    raise ValueError(f"{asked.url} redirects elsewhere")


def _why(error: BaseException, bound: Bound) -> str:
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)) and not str(error):
        return f"no whole answer within {bound.seconds:g} s"
    return str(error) or type(error).__name__
