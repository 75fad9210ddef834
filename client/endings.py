"""How a prompt ended, by our record, by ComfyUI's history or by its web socket: one form for all three."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..telemetry.models.prompt import Prompt
from ..telemetry.models.text import clean
from ..telemetry.models.times import iso, parse
from . import limits
from .answers import End, EndData, History

How = Literal["success", "error", "interrupted", "cancelled", "lost"]
"""Cancelled: it never began. Lost: its server died under it, so that nobody saw its end."""
NO_MORE = "ComfyUI says error, and no more"
_BY_STATUS: dict[str, How] = {
    "success": "success",
    "error": "error",
    "interrupted": "interrupted",
    "cancelled": "cancelled",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """An end, and what was said with it."""

    how: How
    at: str | None = None
    """When it succeeded, UTC, ISO 8601; null for any other end, and where no time of the calendar is told."""
    error: str | None = None
    """What went wrong, in a sentence; null for a success."""
    error_type: str | None = None
    """The exception's class; null where it was no node's."""
    error_node: str | None = None
    """The node that failed, or was interrupted; null where none is told."""


def told_with(end: End, data: EndData) -> Ending:
    """What ComfyUI says at an end: the same in the history and on the socket."""
    if end == "success":
        return Ending("success", None if data.timestamp is None else iso(data.timestamp))
    return Ending(end, None, data.sentence(end), data.exception_type, data.node_id)


def of_history(history: History) -> Ending:
    """By an entry of the history; one that says little is a success, as ComfyUI keeps no other."""
    end, data = history.status.end
    return Ending(end, error=NO_MORE) if data is None else told_with(end, data)


def of_record(record: Prompt) -> Ending:
    """By the record of a prompt that has ended."""
    how = _BY_STATUS.get(record.status, "lost")
    if how == "success":
        return Ending(how, _time(record.ended_at))
    why = record.error
    if why is None:
        return Ending(how, error=f"the prompt was {record.status}")
    said = clean(f"node {why.node_id} ({why.class_type}): {why.message}", limits.MOST_TEXT)
    return Ending(how, None, said, why.exception_type, why.node_id)


def _time(said: str | None) -> str | None:
    try:
        return iso(parse(said or ""))
    except (ValueError, OverflowError):
        return None
