"""Files that are read for their hashes, on a thread of their own: no other record or marker waits for them."""

from __future__ import annotations

from pathlib import Path

from ..markers.decided import Decided
from ..markers.decision import Decision
from ..markers.hashing import Hashing
from ..markers.marking import files_to_hash
from ..models.base import PromptStatus
from .clock import NEVER
from .context import Context

HASH_PATIENCE_SECONDS = 2.0
"""How long the end of this process waits for files that are read for their hashes."""


class HashWaits:
    """Begins to read, and says when it is done. The writer's thread alone."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._hashing = Hashing(context.inbox.ring)
        self._until = NEVER

    def begin(
        self, output: Path, decisions: list[Decision], notes: list[str], status: PromptStatus = "success"
    ) -> Decided:
        """Begin to read the files of which markers are to say the hash, at a prompt's end of this status."""
        wanted = [decision for decision in decisions if decision.wanted(status)]
        files = files_to_hash(wanted, output)
        return Decided(decisions, notes, self._hashing.begin(files) if files else None)

    def are_in(self, decided: Decided) -> bool:
        """Whether decisions have the hashes that they are to have; once this process ends, those that there are."""
        job = decided.job
        if decided.is_read and not self._context.stopping:
            return False
        if job is not None:
            job.wait(max(0.0, self._until - self._context.clock.mono()) if decided.is_read else 0.0)
            hashes = job.give_up()
            for decision in decided.decisions:
                decision.hashes = hashes
        return True

    def hurry(self) -> None:
        """This process ends: from now on they are waited for no longer than `HASH_PATIENCE_SECONDS`."""
        self._until = self._context.clock.mono() + HASH_PATIENCE_SECONDS

    def stop(self) -> None:
        """Read no more."""
        self._hashing.stop()
