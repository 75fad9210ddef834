"""Tells the page of every node's state: the handler that the host itself adds to each prompt's registry."""

from __future__ import annotations

from typing import Any

from .progress import NodeProgressState, NodeState, ProgressHandler, ProgressRegistry, get_progress_state
from .run import Messenger


class WebProgress(ProgressHandler):
    """Sends ``progress_state`` to the client whose prompt it is."""

    def __init__(self, server: Messenger) -> None:
        super().__init__("webui")
        self._server = server
        self._registry = get_progress_state()

    def set_registry(self, registry: ProgressRegistry) -> None:
        """Whose nodes to tell of."""
        self._registry = registry

    def start_handler(self, node_id: str, state: NodeProgressState, prompt_id: str) -> None:
        """A node starts."""
        self._send(prompt_id)

    def update_handler(
        self,
        node_id: str,
        value: float,
        max_value: float,
        state: NodeProgressState,
        prompt_id: str,
        image: Any = None,
    ) -> None:
        """A node is further on."""
        self._send(prompt_id)

    def finish_handler(self, node_id: str, state: NodeProgressState, prompt_id: str) -> None:
        """A node is done."""
        self._send(prompt_id)

    def _send(self, prompt_id: str) -> None:
        if self._server.client_id is None:
            return
        known = self._registry.nodes.items()
        begun = {
            node_id: self._told(node_id, state, prompt_id)
            for node_id, state in known
            if state["state"] is not NodeState.Pending
        }
        self._server.send_sync("progress_state", {"prompt_id": prompt_id, "nodes": begun}, self._server.client_id)

    def _told(self, node_id: str, state: NodeProgressState, prompt_id: str) -> dict[str, Any]:
        graph = self._registry.dynprompt
        return {
            "value": state["value"],
            "max": state["max"],
            "state": state["state"].value,
            "node_id": node_id,
            "prompt_id": prompt_id,
            "display_node_id": graph.get_display_node_id(node_id),
            "parent_node_id": graph.get_parent_node_id(node_id),
            "real_node_id": graph.get_real_node_id(node_id),
        }
