"""Whether every prompt that has ended is settled, and everybody who waited for it has his answer."""

from __future__ import annotations

import threading


class Outstanding:
    """Sets `settled` once the writer is idle and everyone whom it has answered has his answer. Any thread."""

    def __init__(self) -> None:
        self.settled = threading.Event()
        """Clear from the end of a prompt until its marker is written and those who wait for it are answered."""
        self.settled.set()
        self._lock = threading.Lock()
        self._count = 0
        self._idle = True
        self._expected = 0

    def expect_end(self) -> None:
        """An end is about to come: the writer, idle as it may be, is not done."""
        with self._lock:
            self._expected += 1
            self.settled.clear()

    def end_came(self) -> None:
        """The end has come: what the writer said before it doesn't count any more."""
        with self._lock:
            self._expected = max(0, self._expected - 1)
            self._idle = False

    def add(self) -> None:
        """One more publication whose readers are to be answered."""
        with self._lock:
            self._count += 1

    def done(self) -> None:
        """The readers of one publication have their answers."""
        with self._lock:
            self._count -= 1
            self._set_if_done()

    def writer_is(self, *, idle: bool) -> None:
        """Whether the writer has nothing more to settle."""
        with self._lock:
            self._idle = idle
            self._set_if_done()

    def _set_if_done(self) -> None:
        if self._idle and self._count == 0 and self._expected == 0:
            self.settled.set()
