"""From ComfyUI's threads to the recorder's: one append, and a bell for what can't wait."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator

from .events import Event, NodeProgress

ROUNDS = 16
"""How often `take` looks again: ends even if events come as fast as they are taken."""


class Inbox:
    """An unbounded queue of events.

    `append` is what ComfyUI's executing thread pays for a node; it wakes nobody, because waking a thread costs
    ten times an append. `urge` also rings: for a prompt queued, started, ended or cancelled.
    """

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._progress: dict[tuple[str, str], tuple[float, float]] = {}
        self._bell = threading.Event()
        self._closed = False
        self.append: Callable[[Event], None] = self._events.append
        """Add an event; any thread."""

    def urge(self, event: Event) -> None:
        """Add an event and wake the writer; any thread."""
        self.append(event)
        self._bell.set()

    def progress(self, prompt_id: str, node_id: str, value: float, most: float) -> None:
        """Note how far a node is; only the newest figure of a node is kept."""
        if not self._closed:
            self._progress[prompt_id, node_id] = (value, most)

    def close(self) -> None:
        """Take nothing any more, and let go of what is there: where there will be no recorder."""
        self._closed = True
        self.append = _ignore
        self._events.clear()
        self._progress.clear()

    def ring(self) -> None:
        """Wake the writer."""
        self._bell.set()

    def wait(self, timeout: float | None) -> None:
        """Sleep until someone rings, or for `timeout` seconds."""
        if self._bell.wait(timeout):
            self._bell.clear()

    def take(self) -> Iterator[Event]:
        """Everything that has come in, oldest first, each round followed by the newest progress of each node.

        Progress is taken before the events of its round are, so that none overtakes its node's start; and rounds go
        on while there is anything, so that none is left behind by its prompt's end.
        """
        for _ in range(ROUNDS):
            steps = []
            while self._progress:
                steps.append(self._progress.popitem())
            for _ in range(len(self._events)):
                yield self._events.popleft()
            for (prompt_id, node_id), (value, most) in steps:
                yield NodeProgress(prompt_id, node_id, value, most)
            if not self._progress and not self._events:
                return

    def __contains__(self, event: Event) -> bool:
        """Whether an event (this very one) still waits to be taken."""
        return any(waiting is event for waiting in list(self._events))

    def __len__(self) -> int:
        return len(self._events)


def _ignore(_event: Event) -> None:
    """Nobody will ever take it."""
