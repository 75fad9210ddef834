"""What went wrong: counted, told once in the log, and shown in health until it is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .contract import Problem
from .printable import logger
from .redact import redact
from .times import iso, milliseconds

PASSING_SECONDS = 60.0
"""How long a stumble over one prompt is shown at least: somebody may look."""


class Problems:
    """Everything that health has to say. Any thread may report."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.hide: Callable[[str], str] = str
        """Takes secrets that only this process knows out of what is told."""
        self._lock = threading.Lock()
        self._known: dict[str, Problem] = {}
        self._counts: dict[str, int] = {}
        self._passing: dict[str, float] = {}
        """Problems that a prompt without them takes back, and when each came last."""

    def report(self, what: str, hint: str, error: BaseException | None = None, *, passing: bool = False) -> None:
        """Count a problem. Its first time goes to the log; `hint` says what it costs or what to do.

        Whoever reports a state (`store`) takes it back by `solved` when it is over. A stumble over one prompt has no
        such end: with `passing` it is shown for at least a minute, and taken back when a prompt ends without it. What
        is neither is a fact, and stays until the process ends.
        """
        with self._lock:
            if passing:
                self._passing[what] = self._clock()
            self._counts[what] = self._counts.get(what, 0) + 1
            known = self._known.get(what)
            if known is not None:
                known.count += 1
                return
            cause = self.hide(str(error)) if error is not None else ""
            said = f"{hint} ({type(error).__name__}: {_first_line(cause)})" if error is not None else hint
            self._known[what] = Problem(what=what, since=iso(milliseconds(time.time())), count=1, hint=said)
        logger.warning("Run Recorder: %s: %s", what, said)

    def solved(self, what: str) -> None:
        """Take a problem back that is over."""
        with self._lock:
            self._known.pop(what, None)

    def prompt_passed(self) -> None:
        """A prompt has ended: what has not come for a while, and not with it, is taken back."""
        if not self._passing:
            return
        with self._lock:
            for what, came in list(self._passing.items()):
                if self._clock() - came >= PASSING_SECONDS:
                    del self._passing[what]
                    self._known.pop(what, None)

    def counts(self) -> dict[str, int]:
        """How often each problem has been reported since the process began; those that are solved, too."""
        with self._lock:
            return dict(self._counts)

    def all(self) -> list[Problem]:
        """The problems so far, in the order in which they first came."""
        with self._lock:
            return [problem.model_copy() for problem in self._known.values()]


def _first_line(said: str) -> str:
    """What an error says, without the statement and its values that a database's error goes on with."""
    return next(iter(redact(said).splitlines()), "")
