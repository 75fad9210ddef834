"""Who waits for what: long-polls are woken here by the recorder, never by a timer."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping

from ..models.prompt import Prompt

Key = tuple[str, int]
"""A prompt id and a run number."""


class Waiter:
    """One reader that waits for the end of one run. `answer` is awaited on the reader's own event loop."""

    def __init__(self, key: Key, loop: asyncio.AbstractEventLoop) -> None:
        self.key = key
        self.loop = loop
        self.answer: asyncio.Future[bytes | None] = loop.create_future()
        """Null where its time was up first."""
        self._answered: Callable[[], None] | None = None
        self._gone = False
        self._lock = threading.Lock()

    def expect(self, answered: Callable[[], None]) -> bool:
        """Say who is to be told once this reader has sent its answer, or gave up; false where it is gone already."""
        with self._lock:
            self._answered = None if self._gone else answered
            return not self._gone

    def give(self, answer: bytes) -> None:
        """Wake the reader; on its event loop."""
        if self.answer.done():
            self.done()
        else:
            self.answer.set_result(answer)

    def give_up(self) -> None:
        """Wake the reader because its time is up; on its event loop."""
        if not self.answer.done():
            self.answer.set_result(None)
        self.done()

    def done(self) -> None:
        """Say that the answer is on its way to the client, or that nobody waits any more. May be called twice."""
        with self._lock:
            self._gone = True
            answered, self._answered = self._answered, None
        if answered is not None:
            answered()


class Feed:
    """The waiters of all runs. Any thread may publish."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: dict[Key, list[Waiter]] = defaultdict(list)

    def wait_for(self, key: Key, loop: asyncio.AbstractEventLoop) -> Waiter:
        """A new waiter. Register it while the run is known to be open, or it waits for ever."""
        waiter = Waiter(key, loop)
        with self._lock:
            self._waiters[key].append(waiter)
        return waiter

    def forget(self, waiter: Waiter) -> None:
        """Take a waiter back that has been answered or whose time is up."""
        with self._lock:
            waiters = self._waiters.get(waiter.key, [])
            if waiter in waiters:
                waiters.remove(waiter)
            if not waiters:
                self._waiters.pop(waiter.key, None)

    def renumber(self, prompt_id: str, given: Mapping[int, int]) -> None:
        """Runs of an id got other numbers, old to new: who waits for one goes on waiting for that same run."""
        with self._lock:
            moved = [(new, self._waiters.pop((prompt_id, old), [])) for old, new in given.items()]
            for new, waiters in moved:
                for waiter in waiters:
                    waiter.key = prompt_id, new
                    self._waiters[waiter.key].append(waiter)

    def publish(self, prompt: Prompt, all_answered: Callable[[], None]) -> int:
        """Answer everyone who waits for this run; how many there were.

        `all_answered` is called when the last of them has sent its answer; at once where there is none.
        """
        key = prompt.prompt_id, prompt.run_number
        with self._lock:
            waiters = self._waiters.pop(key, [])
        if not waiters:
            all_answered()
            return 0
        answer = prompt.model_dump_json().encode("utf-8")
        countdown = _Countdown(len(waiters), all_answered)
        there: dict[asyncio.AbstractEventLoop, list[Waiter]] = defaultdict(list)
        for waiter in waiters:
            if waiter.expect(countdown):
                there[waiter.loop].append(waiter)
            else:
                countdown()
        for loop, some in there.items():
            try:
                loop.call_soon_threadsafe(_give_all, some, answer)
            except RuntimeError:  # it is closed: nobody is there any more
                for waiter in some:
                    waiter.done()
        return len(waiters)


def _give_all(waiters: list[Waiter], answer: bytes) -> None:
    """All readers of one event loop are woken at once: to wake the loop for each costs more than to answer one."""
    for waiter in waiters:
        waiter.give(answer)


class _Countdown:
    """Calls `then` when it has been called so many times."""

    def __init__(self, left: int, then: Callable[[], None]) -> None:
        self._left = left
        self._then = then
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last:
            self._then()
