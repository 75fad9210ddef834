"""The table of all routes, and how it gets into ComfyUI's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from ..telemetry.process.printable import logger
from . import compare, documents, environments, events, gpu, health, metrics, naming, panel, prompts, waiting
from .answering import Answering
from .route import PREFIX, Route

if TYPE_CHECKING:
    from ..comfyui_host import Host

ROUTES: tuple[Route, ...] = (
    *health.ROUTES,
    *gpu.ROUTES,
    *prompts.ROUTES,
    *naming.ROUTES,
    *waiting.ROUTES,
    *environments.ROUTES,
    *compare.ROUTES,
    *events.ROUTES,
    *metrics.ROUTES,
    *documents.document_routes(lambda: ROUTES),
    *panel.ROUTES,
)
"""Every route, in the order in which the documentation lists them."""

NOWHERE = documents.no_route(lambda: ROUTES)


def add_routes(table: web.RouteTableDef, host: Host) -> None:
    """Add our routes to ComfyUI's table; it serves each a second time under `/api`."""
    answering = Answering(host)
    for route in ROUTES:
        path = PREFIX + route.path
        if any(
            isinstance(known, web.RouteDef) and known.path == path and known.method == route.method for known in table
        ):
            logger.warning("Run Recorder: %s %s is another package's; ours is left out", route.method, path)
            continue
        table.route(route.method, path)(answering.handler(route))
    table.get(PREFIX)(panel.to_page)
    table.route("*", PREFIX + "/{tail:.*}")(answering.handler(NOWHERE))
