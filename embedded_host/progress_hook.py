"""Carries what progress bars say to the registry and to the page; here, too, an interrupt is noticed."""

from __future__ import annotations

from typing import Any

from . import model_management
from .context import get_executing_context
from .progress import get_progress_state
from .progress_bar import set_progress_bar_global_hook
from .server import PromptServer


def install(server: PromptServer) -> None:
    """Let all bars made from now on tell this server."""

    def tell(
        value: float, total: float, preview_image: Any, prompt_id: str | None = None, node_id: str | None = None
    ) -> None:
        context = get_executing_context()
        if context is not None:
            prompt_id, node_id = prompt_id or context.prompt_id, node_id or context.node_id
        model_management.throw_exception_if_processing_interrupted()
        prompt_id = prompt_id or server.last_prompt_id
        # a bar in a plain thread of a headless prompt: nobody knows its node, and None is what handlers get
        node: Any = node_id or server.last_node_id
        get_progress_state().update_progress(node, value, total, preview_image)
        message = {"value": value, "max": total, "prompt_id": prompt_id, "node": node}
        server.send_sync("progress", message, server.client_id)

    set_progress_bar_global_hook(tell)
