"""Loads custom node packs as ComfyUI does: one module a pack, and a pack that fails costs only itself."""

from __future__ import annotations

import importlib.util
import inspect
import logging
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from . import folders, nodes
from .api import ComfyExtension


async def load_all() -> None:
    """Load every pack in the custom_nodes folders."""
    times = []
    for path in _packs():
        began = time.perf_counter()
        ok = await load(path)
        times.append((time.perf_counter() - began, path, ok))
    if times:
        logging.info("\nImport times for custom nodes:")
    for seconds, path, ok in sorted(times, key=lambda entry: entry[0]):
        logging.info("%6.1f seconds%s: %s", seconds, "" if ok else " (IMPORT FAILED)", path)


def _packs() -> list[Path]:
    roots = [Path(folder).resolve() for folder in folders.get_folder_paths("custom_nodes")]
    return [path for root in roots for path in sorted(root.iterdir()) if _is_pack(path)]


def _is_pack(path: Path) -> bool:
    if path.name == "__pycache__" or path.name.endswith(".disabled"):
        return False
    return path.is_dir() or path.suffix == ".py"


async def load(path: Path) -> bool:
    """Load one pack. False, and the reason in the log, where it brings no nodes."""
    try:
        module = _import(path)
        _register_web(module, path)
        if getattr(module, "NODE_CLASS_MAPPINGS", None) is not None:
            _register_v1(module, path)
        elif hasattr(module, "comfy_entrypoint"):
            await _register_v3(module.comfy_entrypoint, path)
        else:
            raise ValueError("neither NODE_CLASS_MAPPINGS nor comfy_entrypoint")
    except Exception as error:
        logging.warning("Cannot import %s module for custom nodes: %s", path, error, exc_info=error)
        return False
    return True


def _import(path: Path) -> ModuleType:
    """The pack's module, known to Python by its path: dots would make it look like a package's child."""
    if path.is_file():
        name, file = str(path.with_suffix("")), path
    else:
        name, file = str(path).replace(".", "_x_"), path / "__init__.py"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"no module at {file}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _pack_name(path: Path) -> str:
    return path.name if path.is_dir() else str(path.with_suffix(""))


def _register_web(module: ModuleType, path: Path) -> None:
    folder = getattr(module, "WEB_DIRECTORY", None)
    if folder is None:
        return
    web = ((path if path.is_dir() else path.parent) / folder).resolve()
    if web.is_dir():
        nodes.EXTENSION_WEB_DIRS[_pack_name(path)] = str(web)


def _register_v1(module: ModuleType, path: Path) -> None:
    for name, node_class in module.NODE_CLASS_MAPPINGS.items():
        _add(name, node_class, path)
    nodes.NODE_DISPLAY_NAME_MAPPINGS.update(getattr(module, "NODE_DISPLAY_NAME_MAPPINGS", None) or {})


async def _register_v3(entrypoint: Any, path: Path) -> None:
    extension = entrypoint()
    if inspect.isawaitable(extension):
        extension = await extension
    if not isinstance(extension, ComfyExtension):
        raise TypeError("comfy_entrypoint did not return a ComfyExtension")
    await extension.on_load()
    for node_class in await extension.get_node_list():
        schema = node_class.GET_SCHEMA()
        _add(schema.node_id, node_class, path)
        if schema.display_name is not None:
            nodes.NODE_DISPLAY_NAME_MAPPINGS[schema.node_id] = schema.display_name


def _add(name: str, node_class: type[Any], path: Path) -> None:
    if name in nodes.NODE_CLASS_MAPPINGS and nodes.NODE_CLASS_MAPPINGS[name].__module__.startswith(__package__):
        return  # the host's own nodes can't be replaced
    nodes.NODE_CLASS_MAPPINGS[name] = node_class
    node_class.RELATIVE_PYTHON_MODULE = f"custom_nodes.{path.stem if path.is_file() else path.name}"
