"""Our handler of ComfyUI's progress: told of the start, the steps and the finish of each node of one prompt."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from time import time as wall_time
from types import ModuleType
from typing import Any, Protocol

from ..telemetry.models.text import clean_or_none
from ..telemetry.process.cost import RecordCost
from ..telemetry.record.events import ExpandedNode
from .seams import Seams


class NodeHooks(Protocol):
    """What is told of each node. `handler` is the one of its prompt, `mono` is `time.perf_counter`."""

    seams: Seams
    cost: RecordCost

    def on_node_start(self, handler: Any, node_id: str, mono: float) -> None:
        """A node starts, or is staged again."""

    def on_node_progress(self, handler: Any, node_id: str | None, value: float, most: float) -> None:
        """A node told how far it is."""

    def on_node_finish(self, handler: Any, node_id: str, mono: float) -> None:
        """A node is done."""


def handler_class(progress: ModuleType) -> type[Any]:
    """Our progress handler; made here because its base class is ComfyUI's."""

    class RecorderHandler(progress.ProgressHandler):  # type: ignore[misc, name-defined]
        """Tells of each node of one prompt.

        A node's start and finish are the only code of ours that ComfyUI's executing thread runs for every node, so
        they carry their guard themselves, and count what they cost.
        """

        def __init__(self, hooks: NodeHooks, prompt_id: str) -> None:
            super().__init__("run-recorder")
            self.hooks = hooks
            self.seen = hooks.seams.seen
            self.cost = hooks.cost
            self.prompt_id = prompt_id
            self.dynprompt: Any = None
            self.graph: Mapping[str, Any] = {}

        def set_registry(self, registry: Any) -> None:
            self.dynprompt = getattr(registry, "dynprompt", None)
            self.graph = getattr(self.dynprompt, "original_prompt", None) or {}

        def expanded(self, node_id: str) -> ExpandedNode | None:
            if self.dynprompt is None:
                return None
            node = self.dynprompt.get_node(node_id)
            meta = node.get("_meta")
            return ExpandedNode(
                clean_or_none(node.get("class_type"), 200),
                clean_or_none(meta.get("title"), 200) if isinstance(meta, Mapping) else None,
                self.dynprompt.get_display_node_id(node_id),
                self.dynprompt.get_parent_node_id(node_id),
            )

        def start_handler(self, node_id: str, *args: Any, **kwargs: Any) -> None:
            began = perf_counter()
            hooks = self.hooks
            try:
                self.seen["progress"] = wall_time()
                hooks.on_node_start(self, node_id, began)
            except Exception as error:  # noqa: BLE001  as in `guarded`
                hooks.seams.hook_failed("progress", error)
            self.cost.seconds += perf_counter() - began

        def update_handler(
            self, node_id: str | None, value: float, max_value: float, *args: Any, **kwargs: Any
        ) -> None:
            self.hooks.seams.guarded("progress", self.hooks.on_node_progress, self, node_id, value, max_value)

        def finish_handler(self, node_id: str, *args: Any, **kwargs: Any) -> None:
            began = perf_counter()
            hooks = self.hooks
            try:
                self.seen["progress"] = wall_time()
                hooks.on_node_finish(self, node_id, began)
            except Exception as error:  # noqa: BLE001  as in `guarded`
                hooks.seams.hook_failed("progress", error)
            cost = self.cost
            cost.nodes += 1
            cost.seconds += perf_counter() - began

    return RecorderHandler
