"""The answer of GET /telemetry/events. Needs aiohttp-sse, so it is imported only when it is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

from aiohttp_sse import EventSourceResponse

from ..telemetry.live.stream import Reader, Stream
from ..telemetry.process.deadline import timeout

PING_SECONDS = 15.0
"""How often a silent stream says a word, so that proxies keep it."""
SEND_BUFFER_BYTES = 128 * 1024
WRITE_SECONDS = 30.0
"""A reader that takes so long to take what it was sent is cut off."""


class EventStream(EventSourceResponse):
    """Sends events until its reader goes away, or is cut off because it takes too long.

    It does so when aiohttp sends the body, after the handler: so ComfyUI's middleware sees the answer first, as it
    sees every other, and adds its headers.
    """

    def __init__(self, stream: Stream, prompt_id: str | None, after: int | None) -> None:
        super().__init__(ping_interval=PING_SECONDS)
        self._stream = stream
        self._prompt_id = prompt_id
        self._after = after

    async def write_eof(self, data: bytes = b"") -> None:
        """Send what comes, for as long as somebody reads."""
        reader = self._stream.subscribe(self._prompt_id, self._after)
        reader.on_cut = self._abort
        self._bound_send_buffer()
        try:
            async with self:
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
            await reader.bell.wait()
            reader.bell.clear()
            events = b"".join(reader.waiting)
            reader.waiting.clear()
            if events:
                async with timeout(WRITE_SECONDS):
                    await self.write(events)

    def _bound_send_buffer(self) -> None:
        """Linux lets a connection's buffer grow to megabytes, which a reader who never reads would fill."""
        request: Any = self._req
        connection = request.transport.get_extra_info("socket") if request.transport is not None else None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def _abort(self) -> None:
        """Close the connection without waiting for a reader who does not read."""
        request: Any = self._req
        if request is not None and request.transport is not None:
            request.transport.abort()
