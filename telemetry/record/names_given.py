"""Names that a client gives to prompts which it has queued.

ComfyUI's own page knows the file of the workflow, the graph doesn't. Any thread may ask; the writer's thread, which
alone writes records, does it. The first name counts.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from ..live.stream import StreamEvent
from ..models.base import OPEN_STATUSES
from ..models.record import PromptRecord
from ..store.changes import Change
from ..store.errors import StoreClosedError
from .context import Context
from .errors import AnothersPromptError
from .saving import Saving

SECONDS = 5.0
"""How long a client waits, at most, until its name is committed."""
UNWRITTEN = "the name can't be written now"


@dataclass(frozen=True, slots=True, eq=False)
class Naming:
    """One name for one run; null for the newest."""

    prompt_id: str
    run_number: int | None
    name: str
    known: Future[bool] = field(default_factory=Future)
    """False where the prompt was never seen."""


class NamesGiven:
    """Names on their way into the records."""

    def __init__(self, context: Context, saving: Saving) -> None:
        self._context = context
        self._saving = saving
        self._waiting: deque[Naming] = deque()

    def add(self, naming: Naming) -> None:
        """Any thread; the writer is to be woken after it."""
        self._waiting.append(naming)

    def give(self) -> None:
        """Give all that wait, on the writer's thread."""
        while self._waiting:
            naming = self._waiting.popleft()
            if not naming.known.set_running_or_notify_cancel():
                continue
            try:
                naming.known.set_result(self._give(naming))
            except Exception as error:  # noqa: BLE001  whoever asked is told, and the others get their names
                naming.known.set_exception(error)

    def _give(self, naming: Naming) -> bool:
        """Raises StoreClosedError where nothing can keep it now, AnothersPromptError, and what the database raises."""
        context = self._context
        with context.lock:
            run = context.recorder.find(naming.prompt_id, naming.run_number)
            kept = context.kept.find(naming.prompt_id, naming.run_number) if run is None else None
        held = run or kept
        record = held.record if held is not None else context.store.prompts.record(naming.prompt_id, naming.run_number)
        if record is None:
            return False
        if held is None and record.status in OPEN_STATUSES:
            raise AnothersPromptError("this prompt is open on another server; that one names it")
        if record.workflow_name:
            return True
        with context.lock:
            record.workflow_name = naming.name
            if run is not None:
                context.recorder.runs.touch(run)
        if record.pk is not None and kept is None:
            if not self._saving.commit_name(Change(record), _news(record, context.clock.now_ms())):
                raise StoreClosedError(UNWRITTEN)
        elif not (context.kept.keep([kept.kept]) if kept is not None else context.kept.keep_open(record)):
            raise StoreClosedError(UNWRITTEN)
        return True


def _news(record: PromptRecord, at_ms: int) -> StreamEvent:
    told = {"workflow_name": record.workflow_name}
    return StreamEvent("prompt.named", record.prompt_id, at_ms, told)
