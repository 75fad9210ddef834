"""Who is told how far each node is: ``comfy_execution.progress``."""

from __future__ import annotations

from abc import ABC
from enum import Enum
from typing import Any, TypedDict

from .graph import DynamicPrompt


class NodeState(Enum):
    """How far a node is."""

    Pending = "pending"
    Running = "running"
    Finished = "finished"
    Error = "error"


class NodeProgressState(TypedDict):
    """A node's state, and ``value`` steps of ``max``."""

    state: NodeState
    value: float
    max: float


class ProgressHandler(ABC):  # noqa: B024 - ComfyUI's has no abstract method either
    """Told of each node of one prompt. Kept by name: a second one of the same name replaces the first."""

    def __init__(self, name: str) -> None:
        self.name = name

    def set_registry(self, registry: ProgressRegistry) -> None:  # noqa: B027
        """Told the registry when it is added to one."""

    def start_handler(self, node_id: str, state: NodeProgressState, prompt_id: str) -> None:  # noqa: B027
        """A node has been staged; with lazy inputs more than once."""

    def update_handler(  # noqa: B027
        self,
        node_id: str,
        value: float,
        max_value: float,
        state: NodeProgressState,
        prompt_id: str,
        image: Any = None,
    ) -> None:
        """A node has told how far it is."""

    def finish_handler(self, node_id: str, state: NodeProgressState, prompt_id: str) -> None:  # noqa: B027
        """A node has finished, or was found in the cache."""

    def reset(self) -> None:  # noqa: B027
        """The next prompt begins."""


class ProgressRegistry:
    """The states of one prompt's nodes, and who is told of them."""

    def __init__(self, prompt_id: str, dynprompt: DynamicPrompt) -> None:
        self.prompt_id = prompt_id
        self.dynprompt = dynprompt
        self.nodes: dict[str, NodeProgressState] = {}
        self.handlers: dict[str, ProgressHandler] = {}

    def register_handler(self, handler: ProgressHandler) -> None:
        """Tell this one, too."""
        self.handlers[handler.name] = handler

    def ensure_entry(self, node_id: str) -> NodeProgressState:
        """A node's state, pending if it has none."""
        return self.nodes.setdefault(node_id, {"state": NodeState.Pending, "value": 0.0, "max": 1.0})

    def start_progress(self, node_id: str) -> None:
        """A node is about to run."""
        entry = self._set(node_id, NodeState.Running, 0.0, 1.0)
        for handler in list(self.handlers.values()):
            handler.start_handler(node_id, entry, self.prompt_id)

    def update_progress(self, node_id: str, value: float, max_value: float, image: Any = None) -> None:
        """A node has come so far."""
        entry = self._set(node_id, NodeState.Running, value, max_value)
        for handler in list(self.handlers.values()):
            handler.update_handler(node_id, value, max_value, entry, self.prompt_id, image)

    def finish_progress(self, node_id: str) -> None:
        """A node is done."""
        top = self.ensure_entry(node_id)["max"]
        entry = self._set(node_id, NodeState.Finished, top, top)
        for handler in list(self.handlers.values()):
            handler.finish_handler(node_id, entry, self.prompt_id)

    def reset_handlers(self) -> None:
        """Another prompt begins."""
        for handler in list(self.handlers.values()):
            handler.reset()

    def _set(self, node_id: str, state: NodeState, value: float, top: float) -> NodeProgressState:
        entry = self.ensure_entry(node_id)
        entry["state"], entry["value"], entry["max"] = state, value, top
        return entry


_registry = ProgressRegistry("", DynamicPrompt({}))


def reset_progress_state(prompt_id: str, dynprompt: DynamicPrompt) -> None:
    """Begin a prompt: a new registry, with no handlers."""
    global _registry
    _registry.reset_handlers()
    _registry = ProgressRegistry(prompt_id, dynprompt)


def add_progress_handler(handler: ProgressHandler) -> None:
    """Be told of the nodes of the prompt that runs, and of no other."""
    handler.set_registry(_registry)
    _registry.register_handler(handler)


def get_progress_state() -> ProgressRegistry:
    """The registry of the prompt that runs, or ran last."""
    return _registry
