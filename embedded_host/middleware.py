"""Who may talk to the server: not another website's page through someone's browser."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def origin_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """403 for what a browser calls cross-site, and where a loopback host is asked by a page of another host."""
    if request.headers.get("Sec-Fetch-Site") == "cross-site" or not _same_origin(request):
        logging.warning("refused a request from another site: %s", request.headers.get("Origin"))
        return web.Response(status=403)
    if request.method == "OPTIONS":
        return web.Response()
    return await handler(request)


def _same_origin(request: web.Request) -> bool:
    host = urlsplit("//" + request.headers.get("Host", "").lower())
    origin = urlsplit(request.headers.get("Origin", "").lower())
    if not host.hostname or not origin.hostname or not _is_loopback(host.hostname):
        return True
    if host.port is None or origin.port is None:  # one of them leaves its port out
        return host.hostname == origin.hostname
    return host.netloc == origin.netloc


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
