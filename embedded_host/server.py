"""The HTTP server and what custom nodes do with it: ``server.PromptServer``."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from typing import Any, ClassVar

from aiohttp import web

from . import middleware, nodes, options
from .prompt_queue import PromptQueue

# How long open requests (somebody waits for a prompt) may hold up the end of the process.
SHUTDOWN_S = 1.0
MAX_BODY_BYTES = 100 * 1024 * 1024
PromptHandler = Callable[[dict[str, Any]], dict[str, Any]]


class PromptServer:
    """Queue, routes and web sockets of the one server of this process."""

    instance: ClassVar[PromptServer]
    address: str
    port: int

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        type(self).instance = self
        self.loop = loop
        self.messages: asyncio.Queue[tuple[str, Any, str | None]] = asyncio.Queue()
        self.prompt_queue = PromptQueue(self)
        self.number = 0
        self.client_id: str | None = None
        self.last_node_id: str | None = None
        self.last_prompt_id: str | None = None
        self.sockets: dict[str, web.WebSocketResponse] = {}
        self.sockets_metadata: dict[str, dict[str, Any]] = {}
        self.on_prompt_handlers: list[PromptHandler] = []
        self.routes = web.RouteTableDef()
        self.app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=middleware.chosen(options.args))
        self._runner = web.AppRunner(self.app, access_log=None, shutdown_timeout=SHUTDOWN_S)

    def add_routes(self) -> None:
        """Mount all routes, the custom nodes' too: under their own path and again under /api."""
        doubled = [
            web.route(entry.method, "/api" + entry.path, entry.handler, **entry.kwargs)
            for entry in self.routes
            if isinstance(entry, web.RouteDef)
        ]
        self.app.add_routes(doubled)
        self.app.add_routes(self.routes)
        for name, folder in nodes.EXTENSION_WEB_DIRS.items():
            self.app.add_routes([web.static(f"/extensions/{name}", folder)])

    async def start(self, address: str, port: int) -> None:
        """Listen. Port 0 takes any free one; ``address`` and ``port`` say which it became."""
        await self._runner.setup()
        for host in address.split(","):
            site = web.TCPSite(self._runner, host, port)
            await site.start()
            if not hasattr(self, "address"):
                self.address, self.port = host, _bound_port(site, port)
            logging.info("To see the GUI go to: http://%s:%s", f"[{host}]" if ":" in host else host, self.port)

    async def stop(self) -> None:
        """Close the sockets and stop listening."""
        for socket in list(self.sockets.values()):
            await socket.close()
        await self._runner.cleanup()

    async def publish_loop(self) -> None:
        """Send what nodes and worker have to tell, in order, for ever."""
        while True:
            await self.send(*await self.messages.get())

    async def send(self, event: str, data: Any, sid: str | None = None) -> None:
        """Tell one client, or all where ``sid`` is None."""
        targets = list(self.sockets.values()) if sid is None else [self.sockets[sid]] if sid in self.sockets else []
        for socket in targets:
            try:
                await socket.send_json({"type": event, "data": data})
            except (ConnectionError, RuntimeError) as error:
                logging.warning("send error: %s", error)

    def send_sync(self, event: str, data: Any, sid: str | None = None) -> None:
        """The same from any thread, at once: it is sent when the loop comes to it."""
        if not self.loop.is_closed():  # the worker may outlive it by a moment
            self.loop.call_soon_threadsafe(self.messages.put_nowait, (event, data, sid))

    def queue_updated(self) -> None:
        """Tell all clients how many prompts are left."""
        self.send_sync("status", {"status": self.get_queue_info()})

    def get_queue_info(self) -> dict[str, Any]:
        """How many prompts run or wait."""
        return {"exec_info": {"queue_remaining": self.prompt_queue.get_tasks_remaining()}}

    def add_on_prompt_handler(self, handler: PromptHandler) -> None:
        """Let a function see, and change, each request for a prompt before it is checked."""
        self.on_prompt_handlers.append(handler)

    def trigger_on_prompt(self, json_data: dict[str, Any]) -> dict[str, Any]:
        """Pass a request through those functions; one that raises is left out."""
        for handler in self.on_prompt_handlers:
            try:
                json_data = handler(json_data)
            except Exception:
                logging.exception("an on_prompt_handler failed")
        return json_data

    def next_number(self, wish: dict[str, Any]) -> float:
        """The priority that a request gets: its own ``number``, else the next, negative for ``front``."""
        if "number" in wish:
            return float(wish["number"])
        number, self.number = self.number, self.number + 1
        return -number if wish.get("front") else number


def new_prompt_id() -> str:
    """An id for a prompt that came without."""
    return str(uuid.uuid4())


def _bound_port(site: web.TCPSite, wanted: int) -> int:
    server = site._server
    sockets = getattr(server, "sockets", None) or []
    return int(sockets[0].getsockname()[1]) if sockets else wanted
