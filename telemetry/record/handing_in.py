"""Between the spool and the store: what was kept while the store could not take it, and what dead processes left so."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Protocol

from ..models.base import OPEN_STATUSES
from ..models.record import PromptRecord
from ..process.identity import UNKNOWN, Identity
from ..process.problems import Problems
from ..store.store import Change, Store
from .ending import Ending
from .recorder import Run
from .spool import Kept, Spool, owner_of, read_spool

BATCH = 100
"""So many ends are handed in by one transaction."""
MAX_IN_MEMORY = 2000
"""So many ends wait in memory as well; what is beyond is in the spool alone, and read from there."""
PROBLEM = "spool"


class Adopt(Protocol):
    """Takes over what a process has left, and what tells whether that lives; empty where it was not kept."""

    def __call__(self, record: PromptRecord, identity: Identity) -> object:
        """Take it over; it is in the store now."""


@dataclass(slots=True)
class Inherited:
    """What a dead process left in its spool."""

    file: Path
    entries: list[Kept]


class HandingIn:
    """What is certain, because it is synced in the spool, and not in the store yet. Guarded by the writer's lock."""

    def __init__(self, store: Store, problems: Problems) -> None:
        self.spool: Spool | None = None
        """Null where none can be kept: then only what is in the store is certain."""
        self._store = store
        self._problems = problems
        self.ends: dict[tuple[str, int], Ending] = {}
        """Ended runs by id and number, oldest first; told to everybody, and to be handed in."""
        self.inherited: list[Inherited] = []
        self._beyond = False
        """True where there are ends in the spool that are not in memory any more."""

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
        return bool(self.ends or self.inherited or self._beyond)

    def next_ends(self, now: float) -> list[Ending]:
        """The oldest ends that may be tried now, as many as one transaction takes."""
        return list(islice((end for end in self.ends.values() if end.not_before <= now), BATCH))

    def done(self, endings: list[Ending]) -> None:
        """These are in the store."""
        done = {id(ending) for ending in endings}
        self.ends = {key: ending for key, ending in self.ends.items() if id(ending) not in done}

    def clear_if(self, all_saved: bool) -> None:
        """Empty the spool once everything in it is in the store."""
        if self.spool is not None and all_saved and not self.ends and not self._beyond:
            with contextlib.suppress(OSError):
                self.spool.clear()

    # ------------------------------------------------------------ what a dead process left

    def inherit(self, file: Path) -> None:
        """Take over a dead process' spool; one that can't be read is named, and stays."""
        try:
            entries = read_spool(file)
        except OSError as error:
            self._problems.report(PROBLEM, f"the spool {file.name} of an earlier process can't be read", error)
            return
        self.inherited.append(Inherited(file, entries))

    def take_inherited(self, save: Callable[[list[Ending]], bool], adopt: Adopt) -> None:
        """Hand in what dead processes left, a run at a time; a spool is removed when all of it is in the store.

        `save` commits ended runs, false where the store can't now; `adopt` gets each record that is in the store now,
        so that open ones are settled and markers finished. Raises what the store raises.
        """
        if self._beyond and self.spool is not None:
            ended = [kept for kept in self.spool.read() if kept.ended]
            if not self._take_all(ended, save, partial(adopt, identity=UNKNOWN)):
                return
            self._beyond = False
        while self.inherited:
            left = self.inherited[0]
            owner = owner_of(left.file)
            if owner is not None:
                self._store.add_instance(*owner)
            identity = owner[1] if owner is not None else UNKNOWN
            if not self._take_all(left.entries, save, partial(adopt, identity=identity)):
                return
            with contextlib.suppress(OSError):
                left.file.unlink()
            self.inherited.pop(0)

    def _take_all(
        self,
        entries: list[Kept],
        save: Callable[[list[Ending]], bool],
        adopt: Callable[[PromptRecord], object],
    ) -> bool:
        """Hand in some runs, and forget each that is done; false where the store can't take one now."""
        while entries:
            if not self._take(entries[0], save, adopt):
                return False
            entries.pop(0)
        return True

    def _take(self, kept: Kept, save: Callable[[list[Ending]], bool], adopt: Callable[[PromptRecord], object]) -> bool:
        record = kept.record
        known = self._store.find_run(*kept.key)
        if known is not None and (known.status not in OPEN_STATUSES or not kept.ended):
            return True  # it was handed in before its process died; recovery finds what is open of it
        record.pk = known.pk if known is not None else None
        change = Change(record)
        if kept.ended:
            seen = {node.seq for node in self._store.nodes(record.pk)} if record.pk is not None else set()
            change.new_nodes = [node for node in kept.nodes if node.seq not in seen]
            change.changed_nodes = [node for node in kept.nodes if node.seq in seen]
        run = Run(record, {}, final=record.status if kept.ended else None)
        run.nodes = {node.node_id: node for node in kept.nodes}
        if not save([Ending(run, record, change, [])]):
            return False
        adopt(record)
        return True
