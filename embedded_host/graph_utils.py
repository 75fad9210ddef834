"""What an expanding node builds its graph with: ``comfy_execution.graph_utils``."""

from __future__ import annotations

from typing import Any, ClassVar


def is_link(obj: object) -> bool:
    """Whether an input's value is ``[node id, output]``, a link, and not a literal."""
    return isinstance(obj, list) and len(obj) == 2 and isinstance(obj[0], str) and isinstance(obj[1], (int, float))


class ExecutionBlocker:
    """Returned in place of an output: whatever depends on it doesn't run."""

    def __init__(self, message: str | None) -> None:
        self.message = message


class Node:
    """A node of a graph under construction."""

    def __init__(self, node_id: str, class_type: str, inputs: dict[str, Any]) -> None:
        self.id = node_id
        self.class_type = class_type
        self.inputs = inputs

    def out(self, index: int) -> list[Any]:
        """A link to one of its outputs."""
        return [self.id, index]

    def set_input(self, key: str, value: Any) -> None:
        """Give an input; None takes it away."""
        if value is None:
            self.inputs.pop(key, None)
        else:
            self.inputs[key] = value

    def serialize(self) -> dict[str, Any]:
        """The node as it stands in a graph."""
        return {"class_type": self.class_type, "inputs": self.inputs}


class GraphBuilder:
    """Collects nodes under a prefix that no other expansion uses: ``<node>.<list index>.<graph>.``."""

    _root: ClassVar[str] = ""
    _call: ClassVar[int] = 0
    _graph: ClassVar[int] = 0

    def __init__(self, prefix: str | None = None) -> None:
        self.prefix = self.alloc_prefix() if prefix is None else prefix
        self.nodes: dict[str, Node] = {}
        self._counter = 0

    @classmethod
    def set_default_prefix(cls, prefix_root: str, call_index: int, graph_index: int = 0) -> None:
        """Said by the executor before each call of a node."""
        cls._root, cls._call, cls._graph = prefix_root, call_index, graph_index

    @classmethod
    def alloc_prefix(
        cls, root: str | None = None, call_index: int | None = None, graph_index: int | None = None
    ) -> str:
        """The next unused prefix of the node that is running."""
        graph = cls._graph if graph_index is None else graph_index
        cls._graph += 1
        return f"{cls._root if root is None else root}.{cls._call if call_index is None else call_index}.{graph}."

    def node(self, class_type: str, id: str | None = None, **kwargs: Any) -> Node:  # noqa: A002 - ComfyUI's name
        """Add a node, numbered from 1 unless it is named."""
        if id is None:
            self._counter += 1
            id = str(self._counter)  # noqa: A001
        name = self.prefix + id
        return self.nodes.setdefault(name, Node(name, class_type, kwargs))

    def finalize(self) -> dict[str, Any]:
        """The graph, as a node returns it under ``expand``."""
        return {name: node.serialize() for name, node in self.nodes.items()}
