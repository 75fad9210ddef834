"""Several servers side by side: each takes one scene after another; what a lost server had goes to the next.

ComfyUI has one queue and runs one prompt at a time, so a second scene on the same server would only wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Literal, Protocol
from urllib.parse import urlsplit

from ..telemetry.process.deadline import timeout
from .together import together

Verdict = Literal["done", "failed", "lost"]
"""Lost: the server has gone, or did not let the scene be begun; another takes it."""
PROBE_SECONDS = 1.0
GONE_SECONDS = 5.0
"""A server that takes no connection for so long has gone; one that is only slow to answer, loading a model, hasn't."""
MOST_LOSSES = 3
"""The scene under which so many servers have gone is not given to another."""


class Work(Protocol):
    """A scene that waits for a server."""

    losses: int
    """How often a server was lost under it; the scene looks at it to know why it is cancelled."""

    @property
    def name(self) -> str:
        """Its id."""

    @property
    def pinned(self) -> str | None:
        """The server that has its prompt already; null where any will do."""


class Pool:
    """Scenes on servers. `work` does one scene on one server; on its cancellation it leaves the scene as it stands.

    `up` says whether a server answers, `back` is called for one that does so again. All ends where none has answered
    for `patience` seconds.
    """

    def __init__(
        self,
        servers: Iterable[str],
        scenes: Iterable[Work],
        work: Callable[[str, Work], Awaitable[Verdict]],
        up: Callable[[str], Awaitable[bool]],
        back: Callable[[str], Awaitable[None]],
        say: Callable[[str, str], None],
        *,
        patience: float,
        fail_fast: bool = False,
    ) -> None:
        self.servers = list(dict.fromkeys(servers))
        self.left: deque[Work] = deque(scenes)
        """What no server has taken, or has finished."""
        self.why: str | None = None
        """Why something is left; null while nothing is."""
        self._work, self._up, self._back, self._say = work, up, back, say
        self._patience, self._fail_fast = patience, fail_fast
        self._alive = set(self.servers)
        self._down: set[str] = set()
        self._dark: float | None = None
        """Since when no server has answered."""
        self._busy = 0
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        """Until every scene is done, has failed, or no server is left. An exception in one ends all."""
        await together(self._serve(server) for server in self.servers)
        if self.left and self.why is None:
            self.why = "no server is left that answers"

    # ------------------------------------------------------------ one server

    async def _serve(self, server: str) -> None:
        while await self._ready(server):
            scene = await self._next(server)
            if scene is None:
                return
            verdict: Verdict = "failed"
            try:
                verdict = await self._watched(server, scene)
            finally:
                self._busy -= 1  # in one step with what follows: whoever sees nobody busy believes that it is over
                self._take(scene, verdict)
            await self._tell()
        self._alive.discard(server)
        await self._tell()

    def _take(self, scene: Work, verdict: Verdict) -> None:
        if verdict == "lost" and scene.losses < MOST_LOSSES:
            self.left.appendleft(scene)
        elif verdict != "done" and self._fail_fast:
            self.why = self.why or f"{scene.name} failed, and the first failure was to be the last"

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _ready(self, server: str) -> bool:
        """Whether the server answers, perhaps after a while; false where for its patience no server has answered."""
        while not await self._up(server):
            if self.why is not None or (not self.left and not self._busy):
                return True  # nothing is left to be done: `_next` will say so
            if server not in self._down:
                self._say(server, "doesn't answer: waiting for it")
                self._down.add(server)
                await self._tell()
            if not self._alive <= self._down:
                self._dark = None
            elif self._dark is None:
                self._dark = time.monotonic()
            elif time.monotonic() - self._dark >= self._patience:
                return False
            await asyncio.sleep(PROBE_SECONDS)
        self._dark = None
        if server in self._down:
            self._down.discard(server)
            self._say(server, "answers again")
            await self._back(server)
        return True

    async def _next(self, server: str) -> Work | None:
        """The next scene for a server, waiting while others may still hand one back; null where nothing will come."""
        async with self._changed:
            while self.why is None:
                for scene in self.left:
                    if scene.pinned in (None, server) or scene.pinned not in self._alive - self._down:
                        self.left.remove(scene)
                        self._busy += 1
                        return scene
                if not self.left and not self._busy:
                    return None
                await self._changed.wait()
        return None

    async def _watched(self, server: str, scene: Work) -> Verdict:
        """Do a scene, as long as its server is there."""
        working = asyncio.ensure_future(self._work(server, scene))
        watching = asyncio.create_task(until_gone(server))
        try:
            await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            scene.losses += 1
            self._say(server, f"takes no connection any more: {scene.name} is handed back")
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                return await working  # it may have ended just then
            return "lost"
        finally:
            for task in (working, watching):
                task.cancel()
            await asyncio.gather(working, watching, return_exceptions=True)


async def until_gone(url: str) -> None:
    """Return when a server has taken no connection for GONE_SECONDS."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    seen = time.monotonic()
    while time.monotonic() - seen < GONE_SECONDS:
        await asyncio.sleep(PROBE_SECONDS)
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            async with timeout(GONE_SECONDS):
                _, writer = await asyncio.open_connection(parts.hostname, port)
            writer.close()
            seen = time.monotonic()
