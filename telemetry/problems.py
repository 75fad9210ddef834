"""What went wrong: counted, told once in the log, and shown in health until the process ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .contract import Problem
from .printable import logger
from .redact import redact
from .times import iso, milliseconds


class Problems:
    """Everything that health has to say. Any thread may report."""

    def __init__(self) -> None:
        self.hide: Callable[[str], str] = str
        """Takes secrets that only this process knows out of what is told."""
        self._lock = threading.Lock()
        self._known: dict[str, Problem] = {}
        self._counts: dict[str, int] = {}

    def report(self, what: str, hint: str, error: BaseException | None = None) -> None:
        """Count a problem. Its first time goes to the log; `hint` says what it costs or what to do."""
        with self._lock:
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
