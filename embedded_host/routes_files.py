"""The routes for files: looking at outputs, uploading inputs. Neither leaves its folder."""

from __future__ import annotations

import asyncio
import mimetypes
import os
from pathlib import Path

from aiohttp import web

from . import folders

# A browser would run these in our name: they are sent as mere bytes.
UNSAFE_TYPES = ("text/html", "text/javascript", "application/javascript", "text/css", "image/svg+xml")


async def view(request: web.Request) -> web.StreamResponse:
    """A file of the output, input or temp folder by ``filename``, ``subfolder`` and ``type``."""
    query = request.rel_url.query
    name = query.get("filename", "")
    folder = folders.get_directory_by_type(query.get("type", "output"))
    if not name or name.startswith("/") or ".." in name or folder is None:
        return web.Response(status=400 if "filename" in query else 404)
    place = _place(folder, query.get("subfolder", ""))
    if place is None:
        return web.Response(status=403)
    path = place / Path(name).name
    if not _is_file_of(folder, path):
        return web.Response(status=404)
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    kind = "application/octet-stream" if kind in UNSAFE_TYPES else kind
    headers = {"Content-Disposition": f'filename="{path.name}"', "Content-Type": kind}
    return web.FileResponse(path, headers=headers)


def _place(folder: str, subfolder: str) -> Path | None:
    """The subfolder's path; None where it isn't one."""
    place = Path(os.path.normpath(Path(folder, subfolder)))
    return place if place.is_relative_to(folder) else None


def _is_file_of(folder: str, path: Path) -> bool:
    return path.is_file() and folders.is_within_directory(folder, str(path))


async def upload_image(request: web.Request) -> web.Response:
    """Keep a posted ``image`` in the input folder; a taken name gets a number unless ``overwrite`` is given."""
    post = await request.post()
    image, kind = post.get("image"), str(post.get("type", "input"))
    folder = folders.get_directory_by_type(kind)
    if not isinstance(image, web.FileField) or not image.filename or folder is None:
        return web.Response(status=400)
    subfolder = str(post.get("subfolder", ""))
    place = _place(folder, subfolder)
    if place is None or not folders.is_within_directory(folder, str(place)):
        return web.Response(status=400)
    path, overwrite = place / Path(image.filename).name, post.get("overwrite") in ("true", "1")
    kept = await asyncio.get_running_loop().run_in_executor(None, _keep, path, image.file.read(), overwrite)
    return web.json_response({"name": kept.name, "subfolder": subfolder, "type": kind})


def _keep(path: Path, content: bytes, overwrite: bool) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    target, number = path, 1
    while (target.exists() or target.is_symlink()) and not overwrite:
        if target.is_file() and target.read_bytes() == content:
            return target
        target = path.with_name(f"{path.stem} ({number}){path.suffix}")
        number += 1
    if target.is_symlink():
        target.unlink()
    target.write_bytes(content)
    return target
