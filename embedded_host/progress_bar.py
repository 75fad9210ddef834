"""How a node tells its progress: what custom nodes import as ``comfy.utils``."""

from __future__ import annotations

import time
from typing import Any, Protocol

# ComfyUI sends the first and the last value at once, those between at most this often and for this much.
MIN_INTERVAL_S = 0.1
MIN_PERCENT = 0.5


class ProgressHook(Protocol):
    """What a bar calls: the host's door to registry and web socket."""

    def __call__(
        self, value: float, total: float, preview_image: Any, prompt_id: str | None = None, node_id: str | None = None
    ) -> None:
        """Tell that a node is at ``value`` of ``total``; raises where an interrupt is noticed."""


_hook: ProgressHook | None = None


def set_progress_bar_global_hook(function: ProgressHook | None) -> None:
    """Say who is told by all bars made from now on."""
    global _hook
    _hook = function


class ProgressBar:
    """Counts a node's steps. Belongs to the node that runs unless ``node_id`` names another."""

    def __init__(self, total: float, node_id: str | None = None) -> None:
        self.total = total
        self.current: float = 0
        self.node_id = node_id
        self.hook = _hook
        self._sent_value: float | None = None
        self._sent_at = 0.0

    def update(self, value: float) -> None:
        """So many steps further."""
        self.update_absolute(self.current + value)

    def update_absolute(self, value: float, total: float | None = None, preview: Any = None) -> None:
        """At step ``value``."""
        self.total = self.total if total is None else total
        self.current = min(value, self.total)
        if self.hook is None or not (preview is not None or self._worth_telling()):
            return
        self.hook(self.current, self.total, preview, node_id=self.node_id)
        self._sent_value, self._sent_at = self.current, time.perf_counter()

    def _worth_telling(self) -> bool:
        if self._sent_value is None or self.current >= self.total:
            return True
        moved = 100 * (self.current - self._sent_value) / self.total if self.total > 0 else 100.0
        return time.perf_counter() - self._sent_at >= MIN_INTERVAL_S and moved >= MIN_PERCENT
