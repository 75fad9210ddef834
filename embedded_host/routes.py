"""All of the host's own routes."""

from __future__ import annotations

import uuid

from aiohttp import web

from . import routes_files, routes_info
from .routes_prompts import PromptRoutes
from .server import PromptServer


def add_host_routes(server: PromptServer) -> None:
    """Put them into the server's table, before custom nodes add theirs."""
    prompts = PromptRoutes(server).table()
    info = [
        web.get("/", routes_info.page),
        web.get("/features", routes_info.features),
        web.get("/system_stats", routes_info.system_stats),
        web.get("/object_info", routes_info.object_info),
        web.get("/object_info/{node_class}", routes_info.object_info_of),
        web.get("/extensions", routes_info.extensions),
    ]
    files = [web.get("/view", routes_files.view), web.post("/upload/image", routes_files.upload_image)]
    for entry in [*prompts, *info, *files, web.get("/ws", SocketRoute(server).connect)]:
        server.routes.route(entry.method, entry.path, **entry.kwargs)(entry.handler)


class SocketRoute:
    """/ws: what the page hears."""

    def __init__(self, server: PromptServer) -> None:
        self._server = server

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one client until it goes. ``clientId`` names it, and replaces an older one of that name."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client = request.rel_url.query.get("clientId") or uuid.uuid4().hex
        server = self._server
        server.sockets[client] = socket
        server.sockets_metadata[client] = {"feature_flags": {}}
        try:
            await server.send("status", {"status": server.get_queue_info(), "sid": client}, client)
            if server.client_id == client and server.last_node_id is not None:
                await server.send("executing", {"node": server.last_node_id}, client)
            async for _ in socket:
                pass  # pages send their feature flags; this host has none to agree on
        finally:
            if server.sockets.get(client) is socket:
                del server.sockets[client]
                del server.sockets_metadata[client]
        return socket
