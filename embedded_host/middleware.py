"""Who may talk to the server: not another website's page through someone's browser."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from .options import Options

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_COMPRESSED = ("application/json", "text/plain")


@web.middleware
async def origin_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """403 for what a browser calls cross-site, and where a loopback host is asked by a page of another host."""
    if request.headers.get("Sec-Fetch-Site") == "cross-site" or not _same_origin(request):
        logging.warning("refused a request from another site: %s", request.headers.get("Origin"))
        return web.Response(status=403)
    if request.method == "OPTIONS":
        return web.Response()
    return await handler(request)


def allow_origin(origin: str) -> Middleware:
    """Let pages of another site read every answer; takes the place of `origin_only`."""
    headers = {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": "POST, GET, DELETE, PUT, OPTIONS, PATCH",
        "Access-Control-Allow-Headers": "Content-Type, Authorization",
        "Access-Control-Allow-Credentials": "true",
    }

    @web.middleware
    async def allow(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = web.Response() if request.method == "OPTIONS" else await handler(request)
        response.headers.update(headers)
        return response

    return allow


@web.middleware
async def compress(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Compress text and JSON for a client that takes it so."""
    response = await handler(request)
    wanted = "gzip" in request.headers.get("Accept-Encoding", "")
    if wanted and isinstance(response, web.Response) and response.body and response.content_type in _COMPRESSED:
        response.enable_compression()
    return response


def chosen(options: Options) -> list[Middleware]:
    """What stands before every route, as the command line has it."""
    before: list[Middleware] = [compress] if options.enable_compress_response_body else []
    return [*before, allow_origin(options.enable_cors_header) if options.enable_cors_header else origin_only]


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
