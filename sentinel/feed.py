"""What a watch's thread is told by others: news of files from watchdog's threads, news of prompts from the source's."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Literal, NamedTuple

from .evidence import EndedPrompt, KnownAsOf, RunningPrompt

What = Literal["appeared", "closed", "gone", "folder appeared", "folder gone"]


class FileNews(NamedTuple):
    """Something happened to a file or folder."""

    what: What
    path: str
    """Absolute, as watchdog gives it."""
    at: float
    """On `time.monotonic`."""


News = FileNews | RunningPrompt | EndedPrompt | KnownAsOf


class Feed:
    """A queue whose writers pay for an append, and wake the reader only where it sleeps."""

    def __init__(self) -> None:
        self._news: deque[News] = deque()
        self._ring = threading.Event()

    def put(self, news: News) -> None:
        """Add news; from any thread."""
        self._news.append(news)
        if not self._ring.is_set():
            self._ring.set()

    def ring(self) -> None:
        """Wake the reader without news."""
        self._ring.set()

    def take(self, timeout: float | None) -> list[News]:
        """Everything that has come; waits for the first of it, at most `timeout` seconds (null: for ever)."""
        if not self._news:
            self._ring.wait(timeout)
        self._ring.clear()
        taken = []
        while self._news:
            taken.append(self._news.popleft())
        return taken


def now() -> float:
    """The monotonic clock of all news."""
    return time.monotonic()
