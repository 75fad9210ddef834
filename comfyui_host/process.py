"""The process that ComfyUI runs in: its folders, port, versions and options, and what this thread executes."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import ipaddress
import re
import sys
from pathlib import Path
from typing import Any

import psutil

from ..telemetry.models.environment import Environment
from ..telemetry.models.text import clean, clean_or_none, kept_id
from ..telemetry.process.environment import gather, nvidia_driver_version
from ..telemetry.process.launch_options import launch_options
from .torch import torch_build

SYSTEM_FOLDER = "run_recorder"


def is_comfyui() -> bool:
    """Whether ComfyUI is loading us: its server exists, and it has loaded what we observe."""
    instance = getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
    return instance is not None and "execution" in sys.modules and "folder_paths" in sys.modules


def server() -> Any:
    """ComfyUI's server."""
    return sys.modules["server"].PromptServer.instance


def private_folder() -> Path:
    """A folder of ours that ComfyUI's own HTTP API never serves."""
    folder_paths = sys.modules["folder_paths"]
    named = getattr(folder_paths, "get_system_user_directory", None)
    if named is not None:
        return Path(named(SYSTEM_FOLDER))
    return Path(folder_paths.get_user_directory()) / f"__{SYSTEM_FOLDER}"


def roots() -> dict[str, Path]:
    """The folders of `output`, `temp` and `input`, as they are now."""
    folder_paths = sys.modules["folder_paths"]
    return {
        "output": Path(folder_paths.get_output_directory()),
        "temp": Path(folder_paths.get_temp_directory()),
        "input": Path(folder_paths.get_input_directory()),
    }


def port() -> int | None:
    """The port that the server listens on; null until it does."""
    value = getattr(server(), "port", None)
    return value if isinstance(value, int) else None


def loopback_only(listening_on: int | None) -> bool | None:
    """Whether this process listens on a port on loopback addresses alone; null where that can't be told."""
    try:
        sockets = psutil.Process().net_connections(kind="tcp")
    except (AttributeError, OSError, psutil.Error):  # AttributeError: psutil before 6
        return _told_loopback_only()
    addresses = [one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN and one.laddr.port == listening_on]
    return all(_is_loopback(address) for address in addresses) if addresses else None


def _told_loopback_only() -> bool | None:
    """The same as far as ComfyUI's options tell it."""
    told = getattr(getattr(sys.modules.get("comfy.cli_args"), "args", None), "listen", None)
    return all(_is_loopback(one.strip()) for one in told.split(",")) if isinstance(told, str) else None


def _is_loopback(address: str) -> bool:
    with contextlib.suppress(ValueError):
        found = ipaddress.ip_address(address)
        return (getattr(found, "ipv4_mapped", None) or found).is_loopback
    return address == "localhost"


def comfyui_version() -> str | None:
    """ComfyUI's version; null where it doesn't say."""
    with contextlib.suppress(ImportError):
        return clean_or_none(getattr(importlib.import_module("comfyui_version"), "__version__", None), 80)
    return None


def environment() -> Environment:
    """What prompts of this process run on."""
    folder_paths = sys.modules["folder_paths"]
    return gather(
        comfyui_version=comfyui_version(),
        comfyui_folder=Path(str(sys.modules["execution"].__file__)).parent,
        frontend_version=_frontend_version(),
        options=_launch_options(),
        node_folders=[Path(folder) for folder in folder_paths.get_folder_paths("custom_nodes")],
        devices=_device_names(),
        driver_version=nvidia_driver_version(),
        torch=torch_build(),
    )


def _launch_options() -> list[str]:
    """By ComfyUI's own parser; none where it has none of this name."""
    parser = getattr(sys.modules.get("comfy.cli_args"), "parser", None)
    return launch_options(parser, sys.argv[1:]) if isinstance(parser, argparse.ArgumentParser) else []


def _frontend_version() -> str | None:
    """Where the page is not the installed package's, the version that its folder is called after, else `custom`."""
    root = getattr(server(), "web_root", None)
    if not isinstance(root, str) or "comfyui_frontend_package" in Path(root).parts:
        return None
    name = Path(root).name
    return name if re.fullmatch(r"v?[0-9]+(\.[0-9]+){1,3}[\w.-]{0,20}", name) else "custom"


def _device_names() -> list[str]:
    management = sys.modules.get("comfy.model_management")
    try:
        device = management.get_torch_device()  # type: ignore[union-attr]
        return [clean(str(management.get_torch_device_name(device)), 200)]  # type: ignore[union-attr]
    except Exception:  # noqa: BLE001  a driver's or torch's own trouble
        return []


def executing(unique_id: object) -> tuple[str, str]:
    """The prompt and the node that this thread executes."""
    prompt_id, node_id = None, clean_or_none(unique_id)
    with contextlib.suppress(ImportError, AttributeError):
        context = importlib.import_module("comfy_execution.utils").get_executing_context()
        if context is not None:
            prompt_id, node_id = context.prompt_id, context.node_id
    if prompt_id is None:
        prompt_id = server().last_prompt_id
    return kept_id(prompt_id), str(node_id)


def show_text(unique_id: object, text: str) -> None:
    """Show a line on the node that this thread executes, in ComfyUI's page, where ComfyUI can do that."""
    send = getattr(server(), "send_progress_text", None)
    if send is not None:
        send(text, executing(unique_id)[1], server().client_id)


def pack_of(class_type: str) -> str | None:
    """The folder of the node pack that a class is of; `ComfyUI` for its own, null for one that is not there."""
    found = getattr(sys.modules.get("nodes"), "NODE_CLASS_MAPPINGS", {}).get(class_type)
    if found is None:
        return None
    module = getattr(found, "RELATIVE_PYTHON_MODULE", None)
    parent, _, name = module.partition(".") if isinstance(module, str) else ("", "", "")
    return clean(name, 200) if parent == "custom_nodes" and name else "ComfyUI"
