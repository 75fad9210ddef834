"""Calls that may never return: made on a thread that can be left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

Result = TypeVar("Result")


class HungError(TimeoutError):
    """A call did not return in time, or an earlier one still hasn't."""


class _Job(Generic[Result]):
    """One call, and what became of it."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self._work = work
        self.done = threading.Event()
        self._result: Result | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:  # noqa: BLE001  it is raised again, on the thread that asked
            self._error = error
        self.done.set()

    def result(self) -> Result:
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]


class TimedCalls:
    """Runs calls on one thread of its own, and gives each so many seconds. Asleep, without a timer, in between.

    A call that hangs keeps that thread; until it returns every further call fails at once, so that at most one thread
    is ever stuck. Used by one thread at a time.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[_Job[object] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stuck: _Job[object] | None = None

    def call(self, work: Callable[[], Result], seconds: float) -> Result:
        """What `work` returns or raises. Raises HungError where that takes longer, or an earlier call still runs."""
        if self._stuck is not None and not self._stuck.done.is_set():
            raise HungError("an earlier call has not returned")
        self._stuck = None
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        job: _Job[Result] = _Job(work)
        self._jobs.put(job)  # type: ignore[arg-type]
        if not job.done.wait(seconds):
            self._stuck = job  # type: ignore[assignment]
            raise HungError(f"no answer in {seconds:g} s")
        return job.result()

    def end(self) -> None:
        """Let the thread end, once it is free. A later call starts another."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread, self._jobs = None, SimpleQueue()

    def _run(self) -> None:
        jobs = self._jobs
        while (job := jobs.get()) is not None:
            job.run()
