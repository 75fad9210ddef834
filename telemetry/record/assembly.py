"""The parts of one recorder, put together. Imported on the recorder's own thread: the store takes its time to load."""

from __future__ import annotations

import contextlib
import time

from ..files.temporaries import sweep
from ..live.feed import Feed
from ..process.problems import Problems
from .acknowledging import Acknowledging
from .host import HostProcess
from .inbox import Inbox
from .opening import Opening
from .reading import Reading
from .store_health import StoreCondition
from .upkeep import Upkeep
from .writer import Writer

STUMBLED_SECONDS = 0.05
"""How long the thread rests after a fault of ours, so that one that comes back at once does not keep it busy."""


class Assembly:
    """Made, begun, stepped and stopped by the recorder's thread."""

    def __init__(
        self,
        host: HostProcess,
        inbox: Inbox,
        problems: Problems,
        condition: StoreCondition,
        acknowledging: Acknowledging,
    ) -> None:
        self._host = host
        self._problems = problems
        self._condition = condition
        self._acknowledging = acknowledging
        self._opening = Opening(host, problems)
        self.context = self._opening.context(inbox, Feed())
        self.writer = Writer(self.context)
        self.reading = Reading(self.context, self.writer, acknowledging)
        self.upkeep = Upkeep(self.context, self.writer)

    def begin(self) -> None:
        """Have everything that the writer needs for its first step."""
        self._condition.begin(self.context, self.writer)
        self._opening.equip(self.context, self.writer)
        self._acknowledging.begin(self.context, self.writer)

    def step(self) -> None:
        """Let the writer do what there is to do; it goes on whatever happens."""
        self._acknowledging.steps(now=True)
        try:
            self.writer.step()
        except Exception as error:  # noqa: BLE001  the thread must live; the next step tries again
            hint = "the recorder stumbled; it goes on with the next event"
            self._problems.report("writer", hint, error, passing=True)
            time.sleep(STUMBLED_SECONDS)
        self._acknowledging.steps(now=False)

    def stop(self) -> None:
        """A clean stop settles what is open: nobody has to find out later that this process is gone."""
        try:
            self.writer.stop()
        except Exception as error:  # noqa: BLE001  then the next process finds it
            self._problems.report("writer", "what was open at the stop could not be ended", error)
        self._opening.close(self.context)

    def look_around(self) -> None:
        """What takes its time, on a thread of its own: the environment, what a killed process left, then upkeep."""
        try:
            self.writer.runs_on(self._host.environment())
        except Exception as error:  # noqa: BLE001
            self._problems.report("environment", "what prompts run on is not known", error)
        with contextlib.suppress(OSError):
            sweep(self._host.roots()["output"], recursive=True)
        self.upkeep.run()
