"""What each node did to the memory of ComfyUI's device, from torch's own counters at the boundaries of nodes.

At each boundary the executing thread reads the highest that was allocated since the one before, and resets it. Nodes
overlap: one that expands ends after those that it expanded into. So a node's peak is the highest of all stretches
between its start and its end.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class NodeBoundary(NamedTuple):
    """A moment at which a node, or the prompt (`node_id` null), began or ended. Bytes."""

    node_id: str | None
    begins: bool
    allocated: int
    """What torch had allocated at that moment."""
    allocated_peak: int
    """The highest since the boundary before."""
    reserved_peak: int


class NodeFigures(NamedTuple):
    """A node's own, in bytes."""

    peak: int
    """The highest that torch had allocated while it ran."""
    delta: int
    """How much more it left allocated than it found; negative where it freed."""


class NodeMemory:
    """Takes boundaries as they come, and knows the figures of every node so far. One thread at a time may ask."""

    def __init__(self) -> None:
        self.boundaries: deque[NodeBoundary] = deque()
        """Filled by the executing thread: one append a boundary."""
        self._found: dict[str, int] = {}
        """What each node that runs found allocated."""
        self._peaks: dict[str, int] = {}
        self._ended: dict[str, NodeFigures] = {}
        self._last = 0
        self.allocated_peak: int | None = None
        """The prompt's: the highest of all stretches since its start; null until there is one."""
        self.reserved_peak: int | None = None

    def take_in(self) -> None:
        """Take what has come."""
        while self.boundaries:
            self._take(self.boundaries.popleft())

    def _take(self, boundary: NodeBoundary) -> None:
        self._last = boundary.allocated
        if boundary.node_id is None and boundary.begins:
            return
        self.allocated_peak = max(self.allocated_peak or 0, boundary.allocated_peak)
        self.reserved_peak = max(self.reserved_peak or 0, boundary.reserved_peak)
        for node_id in self._found:
            self._peaks[node_id] = max(self._peaks[node_id], boundary.allocated_peak)
        if boundary.node_id is None:
            return
        if boundary.begins:
            self._found.setdefault(boundary.node_id, boundary.allocated)
            self._peaks.setdefault(boundary.node_id, boundary.allocated)
        elif boundary.node_id in self._found:
            self._ended[boundary.node_id] = self._figures(boundary.node_id)
            del self._found[boundary.node_id], self._peaks[boundary.node_id]

    def _figures(self, node_id: str) -> NodeFigures:
        return NodeFigures(self._peaks[node_id], self._last - self._found[node_id])

    def of(self, node_id: str) -> NodeFigures | None:
        """A node's figures; of one that has not ended, up to the last boundary. Null where its start was not seen."""
        return self._figures(node_id) if node_id in self._found else self._ended.get(node_id)
