"""Gives the store what was certain only in the spool: of this process, and what dead ones left in theirs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..models.base import OPEN_STATUSES
from ..models.record import PromptRecord
from ..process.identity import UNKNOWN, Identity
from ..store.changes import Change
from .committing import RecordFaultError
from .context import Context
from .ending import Ending
from .finishing import DELAYED, Finishing
from .kept_ends import PROBLEM
from .news import news_of_inherited
from .prompt import OpenPrompt
from .recovery import Recovery
from .spool import Kept, owner_of, read_spool
from .store_access import StoreAccess

MAX_TRIES = 6
"""So often a record is tried that the store does not take while it takes others; then it is set aside."""
Adopt = Callable[[PromptRecord], object]


@dataclass(slots=True)
class Inherited:
    """What a dead process left in its spool."""

    file: Path
    entries: list[Kept]


class HandingIn:
    """The way from the spool into the store. The writer's thread alone."""

    def __init__(self, context: Context, access: StoreAccess, finishing: Finishing, recovery: Recovery) -> None:
        self._context = context
        self._access = access
        self._finishing = finishing
        self._recovery = recovery
        self._inherited: list[Inherited] = []

    @property
    def is_waiting(self) -> bool:
        """Whether there is anything to hand in."""
        return bool(self._inherited) or self._context.kept.is_waiting

    def inherit(self, file: Path) -> None:
        """Take over a dead process' spool; one that can't be read is named, and stays."""
        try:
            entries = read_spool(file)
        except OSError as error:
            hint = f"the spool {file.name} of an earlier process can't be read"
            self._context.problems.report(PROBLEM, hint, error)
            return
        self._inherited.append(Inherited(file, entries))

    def hand_in(self) -> None:
        """Give the store what was kept while it could not be written, and what dead processes left so."""
        context = self._context
        while True:
            with context.lock:
                endings = context.kept.next_ends(context.clock.mono())
            if not endings:
                break
            if not self._hand_in_some(endings):
                return
        if not any(end.tries for end in context.kept.ends.values()):
            context.problems.solved(DELAYED)
        try:
            self._hand_in_the_rest()
        except Exception as error:  # noqa: BLE001  whatever the database does, ComfyUI goes on
            self._access.failed(error)

    def _hand_in_some(self, endings: list[Ending]) -> bool:
        finishing = self._finishing
        try:
            if not finishing.commit(endings):
                return False
        except RecordFaultError as error:
            if len(endings) > 1:
                return finishing.each(endings, lambda end: self._hand_in_some([end]))
            if not error.is_final and endings[0].tries < MAX_TRIES:
                finishing.try_later(endings[0], error)
                return True
            finishing.set_aside(endings[0], error)
        else:
            for ending in endings:
                finishing.told(ending)
        with self._context.lock:
            self._context.kept.done(endings)
        return True

    def _hand_in_the_rest(self) -> None:
        """What memory let go, then what dead processes left, a run at a time. Raises what the store raises.

        A spool is removed when all of it is in the store; what was open in it is settled from there.
        """
        beyond = self._context.kept.ends_beyond()
        if not self._take_all(beyond, partial(self._recovery.adopt, identity=UNKNOWN)):
            return
        self._context.kept.beyond_done()
        while self._inherited:
            left = self._inherited[0]
            identity = self._owner(left.file)
            if not self._take_all(left.entries, partial(self._recovery.adopt, identity=identity)):
                return
            with contextlib.suppress(OSError):
                left.file.unlink()
            self._inherited.pop(0)

    def _owner(self, file: Path) -> Identity:
        owner = owner_of(file)
        if owner is None:
            return UNKNOWN
        self._context.store.servers.add_instance(*owner)
        return owner[1]

    def _take_all(self, entries: list[Kept], adopt: Adopt) -> bool:
        """Hand in some runs, and forget each that is done; false where the store can't take one now."""
        while entries:
            if not self._take(entries[0], adopt):
                return False
            entries.pop(0)
        return True

    def _take(self, kept: Kept, adopt: Adopt) -> bool:
        record, store = kept.record, self._context.store
        known = store.history.find_run(*kept.key)
        if known is not None and (known.status not in OPEN_STATUSES or not kept.ended):
            return True  # it was handed in before its process died; recovery finds what is open of it
        record.pk = known.pk if known is not None else None
        change = Change(record)
        if kept.ended:
            seen = {node.seq for node in store.prompts.nodes(record.pk)} if record.pk is not None else set()
            change.new_nodes = [node for node in kept.nodes if node.seq not in seen]
            change.changed_nodes = [node for node in kept.nodes if node.seq in seen]
        run = OpenPrompt(record, {}, final=record.status if kept.ended else None)
        run.nodes = {node.node_id: node for node in kept.nodes}
        if not self._commit_inherited(Ending(run, record, change, [])):
            return False
        adopt(record)
        return True

    def _commit_inherited(self, ending: Ending) -> bool:
        ending.news = news_of_inherited(ending.record)
        try:
            if not self._finishing.commit([ending]):
                return False
        except RecordFaultError as error:
            self._finishing.set_aside(ending, error)
            return True
        self._finishing.tell(ending.news)
        is_anothers = ending.record.instance_id != self._context.instance.id  # our own were counted when they ended
        if is_anothers and ending.record.status not in OPEN_STATUSES:
            self._context.tell_ended(ending.record, list(ending.run.nodes.values()))
        return True
