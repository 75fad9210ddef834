"""ComfyUI's web socket: tells a client at once how its prompts go on, and what their nodes saved."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp

MOST_BYTES = 64 * 1024 * 1024
"""Of one message: pictures come this way, too."""
KEPT = 16
"""Prompts whose news are kept; of older ones nobody asks any more."""
ENDS: dict[str, Literal["success", "error", "interrupted"]] = {
    "execution_success": "success",
    "execution_error": "error",
    "execution_interrupted": "interrupted",
}


@dataclass(slots=True)
class Heard:
    """What the socket told of one prompt."""

    end: Literal["success", "error", "interrupted"] | None = None
    """Null while it has not ended, and on servers that tell only that nothing runs any more."""
    told: dict[str, Any] = field(default_factory=dict)
    """What came with the end."""
    outputs: dict[str, Any] = field(default_factory=dict)
    """By node, what it reported."""
    progress: tuple[object, ...] = ()
    """Node, value and maximum of the last step; empty before the first node."""
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

    async def open(self) -> None:
        """Connect, once. Where the server doesn't let us, nothing is ever heard. Raises nothing."""
        if self._tried:
            return
        self._tried = True
        try:
            socket = await self._session.ws_connect(
                self._url, params={"clientId": self._client_id}, max_msg_size=MOST_BYTES, heartbeat=20
            )
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError):
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
            await asyncio.wait_for(heard.over.wait(), seconds)

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse[Any]) -> None:
        try:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    with contextlib.suppress(ValueError, RecursionError):
                        self._take(json.loads(message.data))
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError):
            pass
        finally:
            for heard in self._heard.values():
                heard.over.set()
            await socket.close()

    def _take(self, message: Any) -> None:
        data = message.get("data") if isinstance(message, dict) else None
        if not isinstance(data, dict) or not isinstance(data.get("prompt_id"), str):
            return
        kind, heard = message.get("type"), self.of(data["prompt_id"])
        if kind in ENDS:
            heard.end, heard.told = ENDS[kind], data
            heard.over.set()
        elif kind == "executing" and data.get("node") is None:
            heard.over.set()
        elif kind == "executed" and isinstance(data.get("output"), dict):
            heard.outputs[str(data.get("node"))] = data["output"]
        if kind in ("executing", "progress") and data.get("node") is not None:
            heard.progress = (str(data["node"]), data.get("value"), data.get("max"))
