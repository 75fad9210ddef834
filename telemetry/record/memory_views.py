"""What is in memory, as readers see it: open prompts, and ends that are certain and not in the store yet."""

from __future__ import annotations

from dataclasses import replace

from ..models.base import OPEN_STATUSES
from ..models.listing import Filter
from ..models.prompt import Prompt
from ..models.record import PromptRecord
from ..store.rows import search_text
from .context import Context
from .figures import figures_of
from .prompt import OpenPrompt
from .writer import Writer

UNCOMMITTED = "the store can't be written now, so this end is not committed and its markers are not written"


class MemoryViews:
    """Makes what is served of what is in memory. Any thread."""

    def __init__(self, context: Context, writer: Writer) -> None:
        self._context = context
        self._writer = writer

    def view(self, run: OpenPrompt) -> Prompt:
        """An open prompt as it is now. With the context's lock held."""
        run.refresh()
        record = replace(run.record, figures=figures_of(run))
        if run.final is not None and self._writer.is_failing:
            record = replace(record, status=run.final, notes=[*record.notes, UNCOMMITTED])
        return self._context.served(record)

    def current(self, prompt: Prompt) -> Prompt:
        """A prompt of the store as it is now: of one that is open, memory knows more."""
        if prompt.status not in OPEN_STATUSES:
            return prompt
        context = self._context
        with context.lock:
            kept = context.kept.find(prompt.prompt_id, prompt.run_number)
            if kept is not None:
                return context.served(kept.record)
            run = context.recorder.find(prompt.prompt_id, prompt.run_number)
            return self.view(run) if run is not None else prompt

    def page(self, wanted: Filter, limit: int, *, unsaved: bool = False) -> list[Prompt]:
        """Newest first: all there is, for while the store is closed; or, `unsaved`, what the store doesn't have."""
        context = self._context
        context.take_in()
        with context.lock:
            open_runs = reversed(context.recorder.runs)
            runs = [run for run in open_runs if not (unsaved and run.record.pk is not None)]
            views = [self.view(run) for run in runs if matches(wanted, run)][:limit]
            ends = [end for end in reversed(context.kept.ends.values()) if end.record.pk is None or not unsaved]
            views += [context.served(end.record) for end in ends if matches(wanted, end.run, end.record)]
            views.sort(key=lambda prompt: prompt.queued_at or prompt.started_at or "", reverse=True)
            return views[:limit]


def matches(wanted: Filter, run: OpenPrompt, record: PromptRecord | None = None) -> bool:
    """Whether a run in memory is asked for; the same question as the store's, asked of one, or of its final record."""
    record = record or run.record
    queued = record.queued_ms if record.queued_ms is not None else record.started_ms or 0
    classes = {node.class_type or "" for node in run.nodes.values()}
    return (
        (not wanted.statuses or record.status in wanted.statuses)
        and (wanted.since_ms is None or queued >= wanted.since_ms)
        and (wanted.until_ms is None or queued < wanted.until_ms)
        and (
            wanted.q is None
            or any(wanted.q.lower() in text for text in (search_text(record), *map(str.lower, classes)))
        )
        and (wanted.workflow is None or wanted.workflow == record.workflow_fingerprint)
        and (wanted.settings is None or wanted.settings == record.settings_fingerprint)
        and (wanted.environment is None or wanted.environment == record.environment_id)
        and (wanted.instance is None or wanted.instance == record.instance_id)
        and (wanted.class_type is None or wanted.class_type in classes)
        and (wanted.output is None or any(file.filename == wanted.output for file in record.outputs))
    )
