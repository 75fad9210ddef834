"""What is certain, because it is synced in the spool, and not in the store yet."""

from __future__ import annotations

import contextlib
from itertools import islice

from ..models.record import PromptRecord
from ..process.problems import Problems
from .ending import Ending
from .spool import Kept, Spool

BATCH = 100
"""So many ends are handed in by one transaction."""
MAX_IN_MEMORY = 2000
"""So many ends wait in memory as well; what is beyond is in the spool alone, and read from there."""
PROBLEM = "spool"


class KeptEnds:
    """Ended runs that wait for the store, oldest first; told to everybody. Guarded by the context's lock."""

    def __init__(self, problems: Problems) -> None:
        self.spool: Spool | None = None
        """Null where none can be kept: then only what is in the store is certain."""
        self._problems = problems
        self.ends: dict[tuple[str, int], Ending] = {}
        """By id and run number."""
        self._beyond = False

    def keep(self, entries: list[Kept]) -> bool:
        """Make some runs certain; false where the spool can't take them."""
        if self.spool is None:
            return False
        try:
            self.spool.keep(entries)
        except (OSError, ValueError, TypeError, RecursionError) as error:
            self._problems.report(PROBLEM, "what the store can't take now can't be kept in the spool either", error)
            return False
        self._problems.solved(PROBLEM)
        return True

    def keep_open(self, record: PromptRecord) -> bool:
        """Make an open run certain, as it is now; false where the spool can't take it."""
        return self.keep([Kept(record)])

    def add(self, ending: Ending) -> None:
        """An end that is kept, and is to be handed in."""
        self.ends[ending.record.prompt_id, ending.record.run_number] = ending
        if len(self.ends) > MAX_IN_MEMORY:
            self.ends.pop(next(iter(self.ends)))
            self._beyond = True

    def find(self, prompt_id: str, run_number: int | None = None) -> Ending | None:
        """The newest end of an id, or that of one run; null where it is not one of these."""
        if run_number is not None:
            return self.ends.get((prompt_id, run_number))
        return next((end for key, end in reversed(self.ends.items()) if key[0] == prompt_id), None)

    def last_run_number(self, prompt_id: str) -> int:
        """The highest run number among these of an id; 0 for none."""
        return max((number for known, number in self.ends if known == prompt_id), default=0)

    @property
    def is_waiting(self) -> bool:
        """Whether there is anything to hand in."""
        return bool(self.ends) or self._beyond

    def next_ends(self, now: float) -> list[Ending]:
        """The oldest ends that may be tried at a moment of `Clock.mono`, as many as one transaction takes."""
        return list(islice((end for end in self.ends.values() if end.not_before <= now), BATCH))

    def done(self, endings: list[Ending]) -> None:
        """These are in the store."""
        done = {id(ending) for ending in endings}
        self.ends = {key: ending for key, ending in self.ends.items() if id(ending) not in done}

    def ends_beyond(self) -> list[Kept]:
        """The ends that memory had to let go, read from the spool; none where memory has all."""
        if not self._beyond or self.spool is None:
            return []
        return [kept for kept in self.spool.read() if kept.ended]

    def beyond_done(self) -> None:
        """Those are in the store, too."""
        self._beyond = False

    def clear_if(self, all_saved: bool) -> None:
        """Empty the spool once everything in it is in the store."""
        if self.spool is not None and all_saved and not self.is_waiting:
            with contextlib.suppress(OSError):
                self.spool.clear()
