"""What artists see, one file a node."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..comfyui_host import Host

API = "comfy_api.v0_0_2"
"""ComfyUI's versioned interface for nodes."""
LEFT_OUT = "it can't be made in this ComfyUI, and is left out; the recorder and its routes go on"


def extension(host: Host | None) -> Any:
    """ComfyUI's extension object with our nodes; with none where another copy of this package brings them.

    A node that can't be made costs only itself, and health says so. Raises ImportError where this ComfyUI has no
    interface for nodes.
    """
    try:
        api = importlib.import_module(API)
    except ImportError as error:
        if host is not None:
            host.problems.report(
                "nodes", f"this ComfyUI has no {API}, so there are no nodes; the recorder goes on", error
            )
        raise
    from . import gpu_telemetry, write_done_marker

    class RunRecorderExtension(api.ComfyExtension):  # type: ignore[misc, name-defined]
        """The nodes of this package."""

        async def get_node_list(self) -> list[type[Any]]:
            if host is None:
                return []
            made = [_made(module, api.io, host) for module in (write_done_marker, gpu_telemetry)]
            return [node for node in made if node is not None]

    return RunRecorderExtension()


def _made(module: ModuleType, io: Any, host: Host) -> type[Any] | None:
    """A node's class; null where this ComfyUI's interface is such that it can't be made."""
    try:
        node: type[Any] = module.make_node(io, host)
        node.define_schema()  # ComfyUI asks for it as soon as it has the list, and would take no node where one fails
    except Exception as error:  # noqa: BLE001  an interface that is not as we know it
        host.problems.report(f"node {module.NODE_NAME}", LEFT_OUT, error)
        return None
    return node
