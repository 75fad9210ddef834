"""The end of one run on its way into the store: its final record, its markers' temporaries, and what is to be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..live.stream import StreamEvent
from ..markers.decision import Decision
from ..markers.marking import Prepared
from ..models.record import PromptRecord
from ..store.changes import Change
from .prompt import OpenPrompt
from .spool import Kept

_TIMES = ("queued_ms", "started_ms", "ended_ms")
LAST_MS = 253_402_300_799_999
"""The end of the year 9999."""


@dataclass(slots=True)
class Ending:
    """Everything of an ended run that is committed, and done, together."""

    run: OpenPrompt
    record: PromptRecord
    """Final; the run's own record stays what readers see until this one is committed."""
    change: Change
    prepared: list[Prepared]
    decisions: Sequence[Decision] = ()
    notes: Sequence[str] = ()
    news: list[StreamEvent] = field(default_factory=list)
    tries: int = 0
    """How often the store has not taken it, while it took others."""
    not_before: float = 0.0
    """When it is to be tried again, on `time.monotonic`."""

    @property
    def whole(self) -> Change:
        """What the store is to take: the record, its outputs, and the nodes that it doesn't have."""
        return replace(self.change, record=self.record, outputs=True)

    @property
    def bare(self) -> Change:
        """How it ended, and nothing else: for a store that takes no more of it."""
        bare = replace(
            self.record, outputs=[], figures=None, samples=None, batch=None, workflow_name=None, client_id=None
        )
        for name in _TIMES:
            if abs(getattr(bare, name) or 0) > LAST_MS:
                setattr(bare, name, None)
        if bare.error is not None:
            bare.error = bare.error.model_copy(update={"message": bare.error.exception_type or ""})
        return Change(bare)

    @property
    def kept(self) -> Kept:
        """The same for the spool: with all nodes, since the next process knows nothing of this one's memory."""
        return Kept(self.record, list(self.run.nodes.values()), ended=True)
