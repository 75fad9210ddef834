"""The graph of a prompt while it runs, nodes added by expansions included: ``comfy_execution.graph``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .graph_utils import is_link

Node = dict[str, Any]


class NodeNotFoundError(Exception):
    """A link names a node that is neither in the prompt nor in an expansion."""

    __module__ = "comfy_execution.graph"  # as it is told in an execution_error


class NodeInputError(Exception):
    """A node asks for an input that it can't have."""

    __module__ = "comfy_execution.graph"


class DynamicPrompt:
    """The prompt as posted, and the nodes that expansions have added to it since."""

    def __init__(self, original_prompt: dict[str, Node]) -> None:
        self.original_prompt = original_prompt
        self.ephemeral_prompt: dict[str, Node] = {}
        self.ephemeral_parents: dict[str, str] = {}
        self.ephemeral_display: dict[str, str] = {}

    def get_node(self, node_id: str) -> Node:
        """The node of that id, added ones first."""
        for nodes in (self.ephemeral_prompt, self.original_prompt):
            if node_id in nodes:
                return nodes[node_id]
        raise NodeNotFoundError(f"Node {node_id} not found")

    def has_node(self, node_id: str) -> bool:
        """Whether there is such a node."""
        return node_id in self.ephemeral_prompt or node_id in self.original_prompt

    def add_ephemeral_node(self, node_id: str, node_info: Node, parent_id: str, display_id: str) -> None:
        """Add a node that ``parent_id`` has expanded into; people see it as ``display_id``."""
        self.ephemeral_prompt[node_id] = node_info
        self.ephemeral_parents[node_id] = parent_id
        self.ephemeral_display[node_id] = display_id

    def get_parent_node_id(self, node_id: str) -> str | None:
        """The node that expanded into this one; None for a node of the prompt."""
        return self.ephemeral_parents.get(node_id)

    def get_real_node_id(self, node_id: str) -> str:
        """The node of the posted prompt that this one stems from."""
        while node_id in self.ephemeral_parents:
            node_id = self.ephemeral_parents[node_id]
        return node_id

    def get_display_node_id(self, node_id: str) -> str:
        """The node as which people see this one."""
        while node_id in self.ephemeral_display:
            node_id = self.ephemeral_display[node_id]
        return node_id

    def get_original_prompt(self) -> dict[str, Node]:
        """The prompt as posted."""
        return self.original_prompt

    def links(self, node_id: str) -> Iterator[tuple[str, str, int]]:
        """Each linked input of a node: its name, and the source's id and output."""
        for name, value in self.get_node(node_id)["inputs"].items():
            if is_link(value):
                yield name, value[0], int(value[1])
