"""The open groups of one watched folder, and when each is to be looked at next."""

from __future__ import annotations

import heapq

from .evidence import Key
from .group import Group

NEVER = float("inf")
"""When a group is due that a prompt holds, until there is news of prompts."""


class OpenGroups:
    """Only open groups are remembered. Times are those of one monotonic clock, in seconds."""

    def __init__(self, window: float) -> None:
        self.window = window
        self.open: dict[Key, Group] = {}
        self.opened = 0
        """How many have ever been opened."""
        self._heap: list[tuple[float, Key]] = []

    def opened_at(self, key: Key, at: float) -> Group:
        """The group, which is opened now unless it is open."""
        group = self.open.get(key)
        if group is None:
            group = self.open[key] = Group(opened=at, active=at)
            self.opened += 1
        return group

    def happened(self, key: Key, group: Group, at: float) -> None:
        """Something happened to a group."""
        group.active = max(group.active, at)
        group.failures = 0
        if not group.due or group.saved is not None:
            self.plan(key, group, at if group.saved is not None else at + self.window)

    def plan(self, key: Key, group: Group, at: float) -> None:
        """Look at a group then. One entry of the heap is in use for each group; others are passed over."""
        if group.due != at:
            group.due = at
            if at != NEVER:
                heapq.heappush(self._heap, (at, key))

    def next_due(self) -> float | None:
        """When a group is next to be looked at; null while there is none."""
        while self._heap:
            at, key = self._heap[0]
            group = self.open.get(key)
            if group is not None and group.due == at:
                return at
            heapq.heappop(self._heap)
        return None

    def clear(self) -> None:
        """Forget every group: the folder is gone."""
        self.open.clear()
        self._heap.clear()

    def pop_due(self, at: float) -> tuple[Key, Group] | None:
        """The next group that is to be looked at now; null where none is."""
        then = self.next_due()
        if then is None or then > at:
            return None
        key = heapq.heappop(self._heap)[1]
        group = self.open[key]
        group.due = 0.0
        return key, group
