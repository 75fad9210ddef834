"""ComfyUI's web socket: tells a client at once how its prompts go on, and what their nodes saved."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from ..telemetry.process.deadline import timeout
from . import limits
from .answers import ENDS, MOST_ID, End, EndData, text_of
from .http import FAILURES
from .outputs import OutputFile, files_of
from .parsing import UnreadableError, parse

KEPT = 16
"""Prompts whose news are kept; of older ones nobody asks any more."""
FLOODED = "the web socket told more than is listened to, so that only the history was asked"


@dataclass(slots=True)
class Heard:
    """What the socket told of one prompt."""

    end: End | None = None
    """Null while it has not ended, and on servers that tell only that nothing runs any more."""
    is_idle: bool = False
    """True once ComfyUI has told that it runs nothing any more: older servers tell no more of an end."""
    told: EndData = field(default_factory=EndData)
    """What came with the end."""
    files: list[OutputFile] = field(default_factory=list)
    """What its nodes reported."""
    progress: tuple[str, float | None, float | None] | None = None
    """Node, value and maximum of the last step; null before the first node."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when ComfyUI has told the end, or that the socket is broken."""


class WebSocket:
    """One connection, for the prompts that were queued under its client id."""

    def __init__(self, session: aiohttp.ClientSession, url: str, client_id: str) -> None:
        self._session = session
        self._url = f"{url}/ws"
        self._client_id = client_id
        self._heard: OrderedDict[str, Heard] = OrderedDict()
        self._task: asyncio.Task[None] | None = None
        self._tried = False
        self._kept = 0
        """Characters of the messages whose files are kept."""
        self.flooded = False
        """Whether it was hung up because it told too much."""

    async def open(self) -> None:
        """Connect, once. Where the server doesn't let us, nothing is ever heard. Raises nothing."""
        if self._tried:
            return
        self._tried = True
        try:
            async with timeout(limits.CONNECT_SECONDS):
                socket = await self._session.ws_connect(
                    self._url, params={"clientId": self._client_id}, max_msg_size=limits.SOCKET_MESSAGE, heartbeat=20
                )
        except (*FAILURES, OSError):
            return
        self._task = asyncio.create_task(self._listen(socket))

    async def close(self) -> None:
        """Hang up."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def of(self, prompt_id: str) -> Heard:
        """What was heard of a prompt so far; goes on to be filled."""
        heard = self._heard.setdefault(prompt_id, Heard())
        self._heard.move_to_end(prompt_id)
        while len(self._heard) > KEPT:
            self._heard.popitem(last=False)
        return heard

    async def until_over(self, prompt_id: str, seconds: float) -> None:
        """Sleep so long, or until the prompt is over; at full length where the socket is broken."""
        heard = self.of(prompt_id)
        if self._task is None or self._task.done() or heard.over.is_set():
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(asyncio.TimeoutError):
            async with timeout(seconds):
                await heard.over.wait()

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse[Any]) -> None:
        since, count = time.monotonic(), 0
        try:
            async for message in socket:
                count += 1
                if time.monotonic() - since >= limits.SOCKET_SECONDS:
                    since, count = time.monotonic(), 0
                elif count > limits.SOCKET_FLOOD * limits.SOCKET_SECONDS:
                    self.flooded = True
                    return
                if message.type is aiohttp.WSMsgType.TEXT and len(message.data) <= limits.SOCKET_TEXT:
                    self._take(message.data)
        except (*FAILURES, OSError):
            pass
        finally:
            for heard in self._heard.values():
                heard.over.set()
            await socket.close()

    def _take(self, said: str) -> None:
        """One message; what is none of a prompt that somebody asks for is passed over."""
        try:
            message = parse(said.encode("utf-8", "replace"))
        except UnreadableError:
            return
        data = message.get("data") if isinstance(message, dict) else None
        if not isinstance(data, dict) or not isinstance(data.get("prompt_id"), str):
            return
        kind, heard = message.get("type"), self.of(data["prompt_id"][:MOST_ID])
        if not isinstance(kind, str):
            return
        node = text_of(data.get("node"), MOST_ID)
        if kind in ENDS:
            heard.end, heard.told = ENDS[kind], EndData.model_validate(data)
            heard.over.set()
        elif kind == "executing" and node is None:
            heard.is_idle = True
            heard.over.set()
        elif kind == "executed" and isinstance(data.get("output"), dict):
            self._kept += len(said)
            if self._kept <= limits.SOCKET_KEPT:
                heard.files += files_of({node: data["output"]})
        if kind in ("executing", "progress") and node is not None:
            heard.progress = (node, number(data.get("value")), number(data.get("max")))


def number(value: object) -> float | None:
    """A number as it is; null for what is none."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
