"""The routes that tell about the host: its nodes, its machine, its page."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import web

from . import model_management, nodes
from .v3_node import ComfyNode
from .version import __version__

PAGE = """<!doctype html><meta charset="utf-8"><title>Embedded host</title>
<h1>Run Recorder's embedded host</h1>
<p>A stand-in for ComfyUI with a handful of nodes and no editor: post graphs to <code>/prompt</code>.
What there is: <a href="object_info">nodes</a>, <a href="queue">queue</a>, <a href="history">history</a>,
<a href="system_stats">machine</a>.</p>
"""


async def page(request: web.Request) -> web.Response:
    """What stands where ComfyUI has its editor."""
    return web.Response(text=PAGE, content_type="text/html")


async def features(request: web.Request) -> web.Response:
    """What this server can do that older ones can't: nothing."""
    return web.json_response({})


async def system_stats(request: web.Request) -> web.Response:
    """The machine, with one device, the processor. Memory in bytes; what torch would tell is null."""
    total, free = model_management.get_total_memory(), model_management.get_free_memory()
    memory = {"vram_total": total, "vram_free": free, "torch_vram_total": total, "torch_vram_free": free}
    system = {
        "os": sys.platform,
        "ram_total": total,
        "ram_free": free,
        "comfyui_version": __version__,
        "required_frontend_version": None,
        "installed_templates_version": None,
        "required_templates_version": None,
        "comfy_package_versions": [],
        "python_version": sys.version,
        "pytorch_version": None,
        "embedded_python": False,
        "deploy_environment": "embedded-host",
        "argv": sys.argv,
    }
    return web.json_response({"system": system, "devices": [{"name": "cpu", "type": "cpu", "index": None, **memory}]})


async def object_info(request: web.Request) -> web.Response:
    """All nodes; one whose description fails is left out."""
    told = {}
    for name in nodes.NODE_CLASS_MAPPINGS:
        try:
            told[name] = _node_info(name)
        except Exception:
            logging.exception("no information about node %s", name)
    return web.json_response(told)


async def object_info_of(request: web.Request) -> web.Response:
    """One node; ``{}`` where there is none of that name."""
    name = request.match_info["node_class"]
    return web.json_response({name: _node_info(name)} if name in nodes.NODE_CLASS_MAPPINGS else {})


async def extensions(request: web.Request) -> web.Response:
    """The scripts that the editor would load."""
    packs = nodes.EXTENSION_WEB_DIRS.items()
    return web.json_response([url for name, folder in packs for url in _scripts(name, folder)])


def _scripts(name: str, folder: str) -> list[str]:
    files = sorted(Path(folder).rglob("*.js"))
    return [f"/extensions/{quote(name)}/{file.relative_to(folder).as_posix()}" for file in files]


def _node_info(name: str) -> dict[str, Any]:
    node_class = nodes.NODE_CLASS_MAPPINGS[name]
    if issubclass(node_class, ComfyNode):
        return node_class.GET_NODE_INFO_V1()
    types, outputs = node_class.INPUT_TYPES(), node_class.RETURN_TYPES
    return {
        "input": types,
        "input_order": {group: list(entries) for group, entries in types.items()},
        "is_input_list": getattr(node_class, "INPUT_IS_LIST", False),
        "output": outputs,
        "output_is_list": getattr(node_class, "OUTPUT_IS_LIST", [False] * len(outputs)),
        "output_name": getattr(node_class, "RETURN_NAMES", outputs),
        "name": name,
        "display_name": nodes.NODE_DISPLAY_NAME_MAPPINGS.get(name, name),
        "description": getattr(node_class, "DESCRIPTION", ""),
        "python_module": getattr(node_class, "RELATIVE_PYTHON_MODULE", "nodes"),
        "category": getattr(node_class, "CATEGORY", "sd"),
        "output_node": getattr(node_class, "OUTPUT_NODE", False) is True,
        "has_intermediate_output": False,
        "search_aliases": getattr(node_class, "SEARCH_ALIASES", []),
    }
