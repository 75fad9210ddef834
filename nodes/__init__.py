"""What artists see, one file a node."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..comfyui_host import Host


def extension(host: Host | None) -> Any:
    """ComfyUI's extension object with our nodes; with none where another copy of this package brings them."""
    api = importlib.import_module("comfy_api.v0_0_2")
    from . import gpu_telemetry, write_done_marker

    class RunRecorderExtension(api.ComfyExtension):  # type: ignore[misc, name-defined]
        """The nodes of this package."""

        async def get_node_list(self) -> list[type[Any]]:
            if host is None:
                return []
            return [module.make_node(api.io, host) for module in (write_done_marker, gpu_telemetry)]

    return RunRecorderExtension()
