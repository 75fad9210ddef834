"""GET /telemetry/ and /telemetry/panel/{file}: the page, and what it and ComfyUI's sidebar are made of."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from aiohttp import web

from .answering import on_thread
from .parameters import Page
from .route import Call, Route, not_found

FOLDER = Path(__file__).parent.parent / "web" / "panel"
PAGE = "index.html"
KINDS = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
"""Said here, because what a system says of `.js` may be wrong, and browsers then refuse it."""
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "frame-ancestors 'self'",  # the rest is in the page: ComfyUI may set a header of its own
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@functools.lru_cache(maxsize=64)
def _read(name: str) -> tuple[bytes, str]:
    """A file and its tag. Raises FileNotFoundError for what is not in the folder itself."""
    if name not in {path.name for path in FOLDER.iterdir() if path.suffix in KINDS}:
        raise FileNotFoundError(name)
    body = (FOLDER / name).read_bytes()
    return body, hashlib.sha256(body).hexdigest()[:32]


async def _file(call: Call, name: str) -> web.StreamResponse:
    try:
        body, tag = await on_thread(_read, name)
    except OSError:
        raise not_found(f"the panel has no file {name!r}", "file") from None
    if any(known.value in (tag, "*") for known in call.request.if_none_match or ()):
        return web.Response(status=304, headers={**HEADERS, "ETag": f'"{tag}"'})
    kind = KINDS[Path(name).suffix]
    return web.Response(body=body, content_type=kind, charset="utf-8", headers={**HEADERS, "ETag": f'"{tag}"'})


async def get_page(call: Call) -> web.StreamResponse:
    """The panel as a page of its own. It holds no data, so that it needs no token."""
    return await _file(call, PAGE)


async def to_page(_request: web.Request) -> web.Response:
    """The page's address is one with a slash, as what it asks for lies below it."""
    return web.Response(status=308, headers={"Location": "telemetry/"})


async def get_panel_file(call: Call) -> web.StreamResponse:
    """One of the panel's files."""
    return await _file(call, call.path["file"])


ROUTES = (
    Route("GET", "/", "The panel", get_page, Page, {200: None}, public=True, media_types=("text/html",)),
    Route(
        "GET",
        "/panel/{file}",
        "What the panel is made of",
        get_panel_file,
        answers={200: None},
        errors=(404,),
        public=True,
        media_types=tuple(KINDS.values()),
    ),
)
