"""What went wrong: counted, told in the log, and shown in health until it is over.

A problem is named by what it keeps from working (`store`, `route GET /telemetry/prompts`); behind one there may be
several faults, each told once in the log with an id and where it was raised.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from ..models.health import Problem, ProblemFault
from ..models.times import iso, milliseconds
from .faults import Fault, fault_of
from .printable import logger
from .redact import redact
from .settings import WrongSetting

PASSING_SECONDS = 60.0
"""How long a stumble over one prompt is shown at least: somebody may look."""
MOST_FAULTS = 1000
"""Distinct faults that are told in a process' life; there are as many as places in the code that fail."""
MOST_SHOWN = 20
"""Distinct faults that health lists of one problem."""


class Problems:
    """Everything that health has to say. Any thread may report."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.hide: Callable[[str], str] = str
        """Takes secrets that only this process knows out of what is told."""
        self._lock = threading.Lock()
        self._known: dict[str, Problem] = {}
        self._counts: dict[str, int] = {}
        self._told: set[str] = set()
        """Ids of the faults that the log has."""
        self._passing: dict[str, float] = {}
        """Problems that a prompt without them takes back, and when each came last."""

    def report(
        self, what: str, hint: str, error: BaseException | None = None, *, passing: bool = False
    ) -> Fault | None:
        """Count a problem; the fault that its error shows. `hint` says what it costs or what to do.

        The log has it when it begins, and each fault once, with its id and its trace. Whoever reports a state
        (`store`) takes it back by `solved` when it is over. A stumble over one prompt has no such end: with `passing`
        it is shown for at least a minute, and taken back when a prompt ends without it. What is neither is a fact, and
        stays until the process ends.
        """
        fault = fault_of(what, error) if error is not None else None
        said = hint
        if error is not None:
            said = f"{hint} ({type(error).__name__}: {_first_line(self.hide(str(error)))})"
        with self._lock:
            if passing:
                self._passing[what] = self._clock()
            self._counts[what] = self._counts.get(what, 0) + 1
            known = self._known.get(what)
            begins = known is None
            if known is None:
                known = Problem(what=what, since=iso(milliseconds(time.time())), count=0, hint=said, faults=[])
                self._known[what] = known
            known.count += 1
            is_new = fault is not None and self._count(known, fault)
        if fault is not None and is_new:
            logger.warning("Run Recorder: %s: %s [fault %s: %s]", what, said, fault.id, self.hide(fault.trace))
        elif begins:
            logger.warning("Run Recorder: %s: %s", what, said)
        return fault

    def _count(self, problem: Problem, fault: Fault) -> bool:
        """Count a fault behind a problem; true where it has never been told."""
        same = next((one for one in problem.faults if one.id == fault.id), None)
        if same is not None:
            same.count += 1
        elif len(problem.faults) < MOST_SHOWN:
            problem.faults.append(ProblemFault(id=fault.id, error=fault.error, count=1))
        if fault.id in self._told or len(self._told) >= MOST_FAULTS:
            return False
        self._told.add(fault.id)
        return True

    def wrong_settings(self, wrong: Iterable[WrongSetting]) -> None:
        """Report settings of the environment that can't be used, each by its name."""
        for name, why in wrong:
            self.report(f"setting {name}", why)

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
            return [problem.model_copy(deep=True) for problem in self._known.values()]


def _first_line(said: str) -> str:
    """What an error says, without the statement and its values that a database's error goes on with."""
    return next(iter(redact(said).splitlines()), "")
