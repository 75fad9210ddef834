"""What a pack imports as ``comfy_api.latest`` and ``comfy_api.v0_0_2``."""

from __future__ import annotations

from . import io, ui
from .v3_node import ComfyNode

__all__ = ["ComfyExtension", "io", "ui"]


class ComfyExtension:
    """What a pack's ``comfy_entrypoint`` returns."""

    async def on_load(self) -> None:
        """Called once, before its nodes are asked for."""

    async def get_node_list(self) -> list[type[ComfyNode]]:
        """The pack's nodes."""
        raise NotImplementedError
