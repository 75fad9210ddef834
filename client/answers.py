"""ComfyUI's own answers as models: what they lack, or have in another form, is null or left out, and nothing raises.

ComfyUI has no schema of its answers, and its versions and node packs differ; so what is no sentence, number or list
where one is expected counts as not said. What can't be done without is asked for by who needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ..telemetry.models.text import as_text, clean
from ..telemetry.record.refusals import FaultyNode, fault_sentences, faulty_nodes
from . import limits

End = Literal["success", "error", "interrupted"]
ENDS: dict[str, End] = {
    "execution_success": "success",
    "execution_error": "error",
    "execution_interrupted": "interrupted",
}
"""What a message of ComfyUI's says of its prompt, in the history and on the web socket."""
MOST_ID = 200
"""Characters of an id."""
MOST_DETAILS = 20
"""Mistakes of a refused graph that are told."""


def text_of(value: object, most: int | None = None) -> str | None:
    """A text as it may be kept, numbers as text; null for what is none."""
    return as_text(value, limits.MOST_TEXT if most is None else most)


def _object(value: object) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _time(value: object) -> int | None:
    """Milliseconds since 1970 that a calendar has."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 253_402_300_800_000
    return int(value) if good and isinstance(value, (int, float)) else None


def _messages(value: object) -> dict[str, Any]:
    """The newest data of each kind of message."""
    pairs = [one for one in _list(value) if isinstance(one, list) and len(one) == 2 and isinstance(one[0], str)]
    return {kind: data for kind, data in pairs if isinstance(data, dict)}


Text = Annotated[str | None, BeforeValidator(text_of)]
Object = Annotated[dict[Any, Any], BeforeValidator(_object)]
Objects = Annotated[list[Any], BeforeValidator(_list)]
Time = Annotated[int | None, BeforeValidator(_time)]
Messages = Annotated[dict[str, Any], BeforeValidator(_messages)]


class Loose(BaseModel):
    """Base of these models."""

    model_config = ConfigDict(extra="ignore", strict=True)


class EndData(Loose):
    """What ComfyUI says with an end."""

    timestamp: Time = None
    node_id: Text = None
    node_type: Text = None
    exception_message: Text = None
    exception_type: Text = None

    def sentence(self, end: End) -> str | None:
        """What went wrong; null for a success."""
        if end == "success":
            return None
        if end == "interrupted":
            return "the prompt was interrupted"
        return f"node {self.node_id} ({self.node_type}): {(self.exception_message or '').strip()}"


class Status(Loose):
    """The status of a prompt in the history."""

    status_str: Text = None
    messages: Messages = {}

    @property
    def end(self) -> tuple[End, EndData | None]:
        """The end, and what was said with it; null where only the word is there."""
        for kind in ("execution_error", "execution_interrupted"):
            if kind in self.messages:
                return ENDS[kind], EndData.model_validate(self.messages[kind])
        if self.status_str == "error":
            return "error", None
        return "success", EndData.model_validate(self.messages.get("execution_success", {}))


def _status(value: object) -> Status:
    return Status.model_validate(value if isinstance(value, dict) else {})


class History(Loose):
    """One prompt of `/history`."""

    status: Annotated[Status, BeforeValidator(_status)] = Status()
    outputs: Object = {}


class Queue(Loose):
    """`/queue`: items of a number, an id, a graph and more."""

    queue_running: Objects = []
    queue_pending: Objects = []

    def places(self) -> dict[str, int]:
        """The ids with their positions: 0 runs, then 1 and so on."""
        running = {item[1]: 0 for item in _items(self.queue_running)}
        waiting = sorted(_items(self.queue_pending), key=lambda item: item[0])
        return {item[1]: place for place, item in enumerate(waiting, 1)} | running

    def running_graphs(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """What runs, with its graph."""
        for item in self.queue_running:
            if isinstance(item, list) and len(item) > 2 and isinstance(item[1], str) and isinstance(item[2], dict):
                yield item[1], item[2]


def _items(items: list[Any]) -> Iterator[tuple[float, str]]:
    for item in items:
        if isinstance(item, list) and len(item) > 1 and isinstance(item[1], str):
            number = item[0] if isinstance(item[0], (int, float)) and not isinstance(item[0], bool) else 0
            yield number, item[1]


class Posted(Loose):
    """What POST `/prompt` says."""

    prompt_id: Annotated[str | None, BeforeValidator(lambda value: text_of(value, MOST_ID))] = None
    error: Any = None
    node_errors: Object = {}

    def refusal(self) -> str:
        """Why the graph was refused, node by node."""
        error = self.error if isinstance(self.error, dict) else {"message": self.error}
        head = text_of(error.get("message")) or "the graph was refused"
        details = list(fault_sentences(self.node_errors))
        more = len(details) - MOST_DETAILS
        told = [head, *details[:MOST_DETAILS], *([f"and {more} more"] if more > 0 else [])]
        return clean("; ".join(told), limits.MOST_TEXT)

    def refused(self, graph: Mapping[str, Any]) -> list[FaultyNode]:
        """The nodes that ComfyUI finds fault with while it runs the rest of a graph; nothing where it runs all."""
        return faulty_nodes(self.node_errors, graph)


class Uploaded(Loose):
    """What POST `/upload/image` says."""

    name: Text = None
    subfolder: Text = None


class SystemStats(Loose):
    """`/system_stats`: without `devices` it is no ComfyUI's."""

    system: Object = {}
    devices: list[Any] = Field()
