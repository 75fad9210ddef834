"""An answer as it is read: in pieces, no more of it than its bound, and no slower."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from . import limits
from .decoding import Decoder, EncodingError
from .errors import ServerError
from .limits import Bound
from .parsing import UnreadableError, parse

CHUNK = 64 * 1024
IN_MEMORY = limits.MIB
"""Bytes of an answer that isn't whole yet."""


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
