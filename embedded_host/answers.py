"""What nodes give back, brought into one form."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from .graph_utils import ExecutionBlocker
from .v3_node import NodeOutput

Graph = dict[str, Any]


@dataclass
class Answer:
    """What one call gave: outputs (None: none at all), what to show, and a graph to expand into."""

    result: Any = None
    shown: dict[str, Any] | None = None
    graph: Graph | None = None
    gives: bool = True


@dataclass
class Answers:
    """What all calls of a node gave."""

    calls: list[Answer] = field(default_factory=list)

    @classmethod
    def read(cls, returned: list[Any], node_class: type[Any]) -> Answers:
        """Read what a V1 or V3 node returned from each call."""
        return cls([_read(value, node_class) for value in returned])

    def expands(self) -> bool:
        """Whether any call expands into a graph."""
        return any(call.graph is not None for call in self.calls)

    def outputs(self, node_class: type[Any]) -> list[list[Any]]:
        """Each output as the list of what the calls gave."""
        return merge([call.result for call in self.calls if call.gives], node_class)

    def shown(self) -> dict[str, Any]:
        """What the calls show, joined key by key: the keys of the first, and anything that can be walked through."""
        parts = [call.shown for call in self.calls if call.shown is not None]
        keys = parts[0] if parts else {}
        return {key: list(chain.from_iterable(part[key] for part in parts)) for key in keys}


def _read(returned: Any, node_class: type[Any]) -> Answer:
    if isinstance(returned, NodeOutput):
        shown = returned.ui if returned.ui is None or isinstance(returned.ui, dict) else returned.ui.as_dict()
        result: Any = returned.result
        if returned.block_execution is not None and (result is not None or returned.expand is not None):
            result = _blocked(ExecutionBlocker(returned.block_execution), node_class)
        return Answer(result, shown, returned.expand, gives=result is not None)
    if isinstance(returned, dict):
        result = _unblocked(returned.get("result"), node_class)
        return Answer(result, returned.get("ui"), returned.get("expand"), gives="result" in returned)
    return Answer(_unblocked(returned, node_class))


def _unblocked(result: Any, node_class: type[Any]) -> Any:
    return _blocked(result, node_class) if isinstance(result, ExecutionBlocker) else result


def _blocked(blocker: ExecutionBlocker, node_class: type[Any]) -> tuple[ExecutionBlocker, ...]:
    return (blocker,) * len(node_class.RETURN_TYPES)


def merge(results: list[Any], node_class: type[Any]) -> list[list[Any]]:
    """One list for each output; where an output is a list itself, the calls' lists are joined."""
    if not results:
        return []
    lists = getattr(node_class, "OUTPUT_IS_LIST", [False] * len(results[0]))
    return [
        _column([r[i] for r in results], is_list) for i, is_list in zip(range(len(results[0])), lists, strict=False)
    ]


def _column(values: list[Any], is_list: bool) -> list[Any]:
    if not is_list:
        return values
    return list(chain.from_iterable([value] if isinstance(value, ExecutionBlocker) else value for value in values))
