"""Puts this package's modules where custom nodes look for ComfyUI's. Only ever in a process of the host's own."""

from __future__ import annotations

import sys
from types import ModuleType

from . import (
    api,
    context,
    execution,
    folders,
    graph,
    graph_utils,
    model_management,
    nodes,
    options,
    progress,
    progress_bar,
    server,
    version,
)

PACKAGES = ("comfy", "comfy_api", "comfy_execution")
NAMES: dict[str, ModuleType] = {
    "comfy.cli_args": options,
    "comfy.model_management": model_management,
    "comfy.utils": progress_bar,
    "comfy_api.latest": api,
    "comfy_api.v0_0_2": api,
    "comfy_execution.graph": graph,
    "comfy_execution.graph_utils": graph_utils,
    "comfy_execution.progress": progress,
    "comfy_execution.utils": context,
    "comfyui_version": version,
    "execution": execution,
    "folder_paths": folders,
    "nodes": nodes,
    "server": server,
}


def register() -> None:
    """Make ``import server``, ``from comfy_api.latest import io`` and the others find this package's modules."""
    for package in PACKAGES:
        module = ModuleType(package, "Stands in for ComfyUI's package of that name.")
        module.__path__ = []
        sys.modules[package] = module
    for name, module in NAMES.items():
        sys.modules[name] = module
        package, _, child = name.rpartition(".")
        if package:
            setattr(sys.modules[package], child, module)
