"""What recording costs ComfyUI, counted where it is paid."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class RecordCost:
    """What recording nodes has cost ComfyUI's executing thread since this process began.

    That thread alone adds to it, without a lock; a reader may see a node's seconds a moment before its count.
    """

    nodes: int = 0
    """Nodes whose finish was recorded, cached ones among them."""
    seconds: float = 0.0
    """Seconds spent in our handlers of starts and finishes, by `time.perf_counter`."""
