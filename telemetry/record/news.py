"""The events of a prompt: made up of what its record says, told once that is committed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..live.stream import KEPT_IN_MEMORY, Stream, StreamEvent
from ..models.base import OPEN_STATUSES
from ..models.record import PromptRecord
from .prompt import OpenPrompt
from .refusals import end_of

PROGRESS_SECONDS = 0.2
"""At most five progress events a second a node."""


class UntoldEvents:
    """Events that are made up and not committed yet. The writer's thread alone."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._waiting: list[StreamEvent] = []

    def add(self, events: Iterable[StreamEvent]) -> None:
        """Some more, newer than all that wait."""
        self._waiting += events

    def of(self, prompt_ids: set[str]) -> list[StreamEvent]:
        """Those of some prompts, oldest first."""
        return [event for event in self._waiting if event.prompt_id in prompt_ids]

    def tell(self, committed: Sequence[StreamEvent]) -> None:
        """Tell what is committed."""
        self.forget(committed)
        self._stream.publish(list(committed))

    def forget(self, events: Iterable[StreamEvent]) -> None:
        """Wait with these no more: somebody else tells them, or nobody does."""
        gone = {id(event) for event in events}
        self._waiting = [event for event in self._waiting if id(event) not in gone]

    def keep_newest(self) -> None:
        """Let go of what readers could not be told any more: the store takes nothing."""
        del self._waiting[:-KEPT_IN_MEMORY]


def news_of(run: OpenPrompt, mono: float) -> list[StreamEvent]:
    """What a run's record says that has not been told of it, in the order in which it happened.

    The end is not among it: that is told when its markers are settled.
    """
    record, told = run.record, run.told
    found: list[StreamEvent] = []
    if told.status is None:
        found.append(StreamEvent("prompt.queued", record.prompt_id, record.queued_ms or record.started_ms or 0))
        told.status = "queued"
    if told.status == "queued" and run.started is not None:
        found.append(StreamEvent("prompt.started", record.prompt_id, record.started_ms or 0, {"status": "running"}))
        told.status = "running"
    executed = len(told.finished)
    for event in sorted(_node_news(run, mono), key=lambda event: event.at_ms):
        if event.kind == "node.finished":
            executed += 1
            event.data = {**event.data, "executed": executed}
        found.append(event)
    return found


def _node_news(run: OpenPrompt, mono: float) -> Iterable[StreamEvent]:
    prompt_id, told = run.record.prompt_id, run.told
    for key, node in run.nodes.items():
        if node.started_ms is None or node.seq in told.finished:
            continue
        about: dict[str, Any] = {"node_id": node.node_id, "class_type": node.class_type}
        if node.seq not in told.started:
            told.started.add(node.seq)
            yield StreamEvent("node.started", prompt_id, node.started_ms, about)
        ended = key not in run.unfinished or run.final is not None
        last, at = told.progress.get(node.seq, (None, 0.0))
        if node.value is not None and node.value != last and (ended or mono - at >= PROGRESS_SECONDS):
            told.progress[node.seq] = (node.value, mono)
            when = node.started_ms + round((node.duration_seconds or mono - run.began[key]) * 1000)
            yield StreamEvent(
                "node.progress", prompt_id, when, {**about, "value": node.value, "max": node.progress_max}
            )
        if ended:
            told.finished.add(node.seq)
            when = node.started_ms + round((node.duration_seconds or 0) * 1000)
            yield StreamEvent("node.finished", prompt_id, when, {**about, "status": _ending(run, key)})


def _ending(run: OpenPrompt, key: str) -> str:
    """How a node ended: a prompt that ends takes along what still runs."""
    if key not in run.unfinished or run.final == "success":
        return "success"
    if run.nodes[key].error is not None:
        return "error"
    return "abandoned" if run.final == "abandoned" else "interrupted"


def news_of_end(record: PromptRecord, earlier: list[StreamEvent], now_ms: int) -> list[StreamEvent]:
    """What is still to be told of a run, then its markers, then its end. `record` is final, `earlier` waits yet."""
    at = record.ended_ms or now_ms
    written = {entry.path: entry for entry in record.markers if entry.path is not None}
    told = {event.data.get("path") for event in earlier if event.kind == "marker.written"}
    markers = [
        StreamEvent("marker.written", record.prompt_id, at, {"path": path, "status": entry.status})
        for path, entry in written.items()
        if path not in told and entry.status != "running"
    ]
    return [*earlier, *markers, StreamEvent("prompt.finished", record.prompt_id, at, end_of(record))]


def news_of_inherited(record: PromptRecord) -> list[StreamEvent]:
    """What is told of a run that a dead process could not tell itself: all that the store keeps of one."""
    first = record.queued_ms or record.started_ms or 0
    news = [] if record.pk is not None else [StreamEvent("prompt.queued", record.prompt_id, first)]
    if record.status in OPEN_STATUSES:
        return news
    if record.pk is None and record.started_ms is not None:
        news.append(StreamEvent("prompt.started", record.prompt_id, record.started_ms, {"status": "running"}))
    at = record.ended_ms or first
    for entry in record.markers:
        if entry.written_at is not None:
            told = {"path": entry.path, "status": entry.status}
            news.append(StreamEvent("marker.written", record.prompt_id, at, told))
    return [*news, StreamEvent("prompt.finished", record.prompt_id, at, end_of(record))]
