"""The full garbage collection that ComfyUI makes on its worker's thread right after a long prompt.

It holds the GIL for up to a second, and nobody would hear of that prompt's end before it is over. So it waits, for a
few milliseconds, until the prompt is settled.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Mapping
from typing import Any

from .seams import Seams

SETTLE_SECONDS = 0.05
"""How long a garbage collection on the executing thread waits, at most."""


class GarbageSeam:
    """A callback of Python's garbage collector."""

    HOOKS = ("on_garbage",)
    """A test makes each of them raise."""

    def __init__(
        self, seams: Seams, worker: Callable[[], threading.Thread | None], wait_settled: Callable[[float], object]
    ) -> None:
        self._seams = seams
        self._worker = worker
        self._wait_settled = wait_settled

    def install(self) -> None:
        """Be called whenever garbage is collected."""
        self._seams.install("gc", lambda: gc.callbacks.append(self._on_gc))

    def _on_gc(self, phase: str, info: dict[str, int]) -> None:
        try:
            if phase == "start":
                self.on_garbage(phase, info)
        except Exception as error:  # noqa: BLE001  a fault of ours never reaches ComfyUI
            self._seams.hook_failed("gc", error)

    def on_garbage(self, phase: str, info: Mapping[str, Any]) -> None:
        """Python collects garbage: where it is a full collection on the worker's thread, wait for the ended prompt."""
        if phase != "start" or info.get("generation") != 2 or threading.current_thread() is not self._worker():
            return
        self._wait_settled(SETTLE_SECONDS)
