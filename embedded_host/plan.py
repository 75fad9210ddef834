"""Which nodes are still to run, and what each of them waits for."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from . import nodes
from .graph import DynamicPrompt, NodeInputError
from .graph_utils import is_link
from .inputs import input_info


class DependencyCycleError(Exception):
    """Nodes wait for each other: an expansion has closed a circle."""

    def __init__(self, node_id: str) -> None:
        super().__init__("Dependency cycle detected")
        self.node_id = node_id


class Plan:
    """Open nodes, each with the open nodes it needs. ``has_result`` says which need not run at all."""

    def __init__(self, dynprompt: DynamicPrompt, has_result: Callable[[str], bool]) -> None:
        self._dynprompt = dynprompt
        self._has_result = has_result
        self._needs: dict[str, set[str]] = {}
        self._held: set[str] = set()
        self._freed = asyncio.Event()

    def add(self, node_id: str) -> None:
        """Open a node, and whatever it is linked to by inputs that aren't lazy."""
        found = [node_id]
        while found:
            current = found.pop()
            if current in self._needs:
                continue
            sources = {source for source in self._eager_sources(current) if not self._has_result(source)}
            self._needs[current] = sources
            found.extend(sources)

    def require(self, node_id: str, source: str) -> None:
        """Let a node wait for another one."""
        if not self._has_result(source):
            self.add(source)
            self._needs[node_id].add(source)

    def require_input(self, node_id: str, name: str) -> None:
        """Let a node wait for what one of its lazy inputs is linked to."""
        value = self._dynprompt.get_node(node_id)["inputs"].get(name)
        if not is_link(value):
            raise NodeInputError(f"Node {node_id} says it needs input {name}, but that isn't linked to anything")
        self.require(node_id, value[0])

    def hold(self, node_id: str) -> Callable[[], None]:
        """Let a node wait for something outside the graph; returns what ends that."""
        self._held.add(node_id)

        def free() -> None:
            self._held.discard(node_id)
            self._freed.set()

        return free

    def close(self, node_id: str) -> None:
        """A node is done."""
        del self._needs[node_id]
        for needed in self._needs.values():
            needed.discard(node_id)

    def wanted_outputs(self, node_id: str) -> set[int]:
        """Which outputs of a node the open nodes that wait for it are linked to."""
        waiting = [other for other, needed in self._needs.items() if node_id in needed]
        links = (link for other in waiting for link in self._dynprompt.links(other))
        return {slot for _, source, slot in links if source == node_id}

    def __bool__(self) -> bool:
        """Whether any node is open."""
        return bool(self._needs)

    async def next(self) -> str:
        """A node that waits for nothing; what people see first goes first, and what others can overlap with."""
        while not (ready := self._ready()):
            if not self._held:
                raise DependencyCycleError(self._blamed())
            await self._freed.wait()
            self._freed.clear()
        return self._first(ready)

    def _ready(self) -> list[str]:
        return [node_id for node_id, needed in self._needs.items() if not needed and node_id not in self._held]

    def _first(self, ready: list[str]) -> str:
        if (urgent := next(filter(self._is_urgent, ready), None)) is not None:
            return urgent
        feeding = {source for node_id, needed in self._needs.items() if self._is_urgent(node_id) for source in needed}
        return next((node_id for node_id in ready if node_id in feeding), ready[0])

    def _is_urgent(self, node_id: str) -> bool:
        node_class = self._class_of(node_id)
        is_async = inspect.iscoroutinefunction(getattr(node_class, node_class.FUNCTION, None))
        return is_async or bool(getattr(node_class, "OUTPUT_NODE", False))

    def _eager_sources(self, node_id: str) -> list[str]:
        types: dict[str, dict[str, Any]] = self._class_of(node_id).INPUT_TYPES()
        links = self._dynprompt.links(node_id)
        return [source for name, source, _ in links if not input_info(types, name)[2].get("lazy")]

    def _class_of(self, node_id: str) -> type[Any]:
        return nodes.NODE_CLASS_MAPPINGS[self._dynprompt.get_node(node_id)["class_type"]]

    def _blamed(self) -> str:
        """The node of the posted prompt whose expansion closed the circle: the first seen as another node."""
        circle = self._circle()
        shown = ((node_id, self._dynprompt.get_display_node_id(node_id)) for node_id in circle)
        return next((display for node_id, display in shown if display != node_id), circle[0])

    def _circle(self) -> list[str]:
        """The open nodes without those that nothing open needs and those that need nothing open."""
        needs = {node_id: set(needed) for node_id, needed in self._needs.items()}
        while free := {node_id for node_id, needed in needs.items() if not needed}:
            needs = {node_id: needed - free for node_id, needed in needs.items() if node_id not in free}
        return list(needs)
