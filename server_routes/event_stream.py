"""The answer of GET /telemetry/events: server-sent events, which are told as they are committed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

from aiohttp import web

from ..telemetry.live.stream import Reader, Stream
from ..telemetry.process.deadline import timeout

PING = b": ping\r\n\r\n"
PING_SECONDS = 15.0
"""How often a silent stream says a word, so that proxies keep it."""
SEND_BUFFER_BYTES = 128 * 1024
WRITE_SECONDS = 30.0
"""A reader that takes so long to take what it was sent is cut off."""
UNANSWERED_MS = 120_000
"""Where the system can do that: a connection whose other end has not answered for so long is closed."""
HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache",
    "Connection": "keep-alive",
    "X-Accel-Buffering": "no",
}


class EventStream(web.StreamResponse):
    """Sends events until its reader goes away, or is cut off because it takes too long.

    It does so when aiohttp sends the body, after the handler: so ComfyUI's middleware sees the answer first, as it
    sees every other, and adds its headers.
    """

    def __init__(self, stream: Stream, prompt_id: str | None, after: int | None) -> None:
        super().__init__(headers=HEADERS)
        self.enable_chunked_encoding()
        self._stream = stream
        self._prompt_id = prompt_id
        self._after = after

    async def write_eof(self, data: bytes = b"") -> None:
        """Send what comes, for as long as somebody reads."""
        reader = self._stream.subscribe(self._prompt_id, self._after)
        reader.on_cut = self._abort
        self._bound_connection()
        try:
            await self._send_all(reader)
        except (ConnectionError, asyncio.TimeoutError, RuntimeError):
            self._abort()
        except asyncio.CancelledError:
            self._abort()
            raise
        finally:
            self._stream.unsubscribe(reader)
        with contextlib.suppress(ConnectionError, RuntimeError):
            await super().write_eof(data)

    async def _send_all(self, reader: Reader) -> None:
        await self.write(b": run-recorder\r\n\r\n")
        while not reader.cut:
            try:
                async with timeout(PING_SECONDS):
                    await reader.bell.wait()
            except asyncio.TimeoutError:
                await self._write(PING)
                continue
            reader.bell.clear()
            events = b"".join(reader.waiting)
            reader.waiting.clear()
            if events:
                await self._write(events)

    async def _write(self, data: bytes) -> None:
        async with timeout(WRITE_SECONDS):
            await self.write(data)

    def _bound_connection(self) -> None:
        """Linux lets a connection's buffer grow to megabytes, and waits a quarter of an hour for who has gone."""
        request: Any = self._req
        connection = request.transport.get_extra_info("socket") if request.transport is not None else None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            with contextlib.suppress(OSError, AttributeError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_MS)

    def _abort(self) -> None:
        """Close the connection without waiting for a reader who does not read."""
        request: Any = self._req
        if request is not None and request.transport is not None:
            request.transport.abort()
