"""The records themselves, as they lie in memory and go into the store; `view.py` makes what is served of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from ..markers.outputs import ReportedFile
from ..markers.requests import MarkerPlan
from .base import PromptStatus
from .conditions import Conditions
from .gpu import Figures
from .kept import Kept
from .marker import PromptMarker
from .prompt import Batch, CurrentNode, PromptError, Refusal
from .settings import NodeSettings
from .text import clean


@dataclass(slots=True)
class NodeRecord:
    """One node of one run."""

    seq: int
    """Its place in the order in which nodes ran, from 0."""
    node_id: str
    class_type: str | None = None
    title: str | None = None
    display_node_id: str | None = None
    parent_node_id: str | None = None
    started_ms: int | None = None
    duration_seconds: float | None = None
    cached: bool = False
    value: float | None = None
    progress_max: float | None = None
    error: PromptError | None = None
    vram_used_peak_bytes: int | None = None
    vram_delta_bytes: int | None = None


@dataclass(slots=True)
class PromptRecord:
    """One run of one prompt. Times in milliseconds since 1970, durations in seconds.

    The column of each field is said here, and nowhere else: table and rows are made of it.
    """

    prompt_id: Annotated[str, Kept("text", 200, required=True)]
    run_number: Annotated[int, Field(ge=1), Kept("integer", required=True)]
    instance_id: Annotated[str, Kept("text", 36, required=True)]
    status: Annotated[PromptStatus, Kept("text", 16, required=True)] = "queued"
    pk: int | None = None
    """The store's key; null until it is there."""
    queued_ms: Annotated[int | None, Kept("big integer")] = None
    started_ms: Annotated[int | None, Kept("big integer")] = None
    ended_ms: Annotated[int | None, Kept("big integer")] = None
    queue_wait_seconds: Annotated[float | None, Kept("number")] = None
    duration_seconds: Annotated[float | None, Kept("number")] = None
    client_id: Annotated[str | None, Kept("text")] = None
    queue_number: Annotated[float | None, Kept("number")] = None
    workflow_name: Annotated[str | None, Kept("text")] = None
    workflow_fingerprint: Annotated[str | None, Kept("text", 80)] = None
    settings_fingerprint: Annotated[str | None, Kept("text", 80)] = None
    settings_id: Annotated[str | None, Kept("text", 64)] = None
    """Which settings its graph has, of those that are kept; null where they are not."""
    graph_digest: Annotated[str | None, Kept("text", 64)] = None
    """Keyed, stored, never served."""
    environment_id: Annotated[str | None, Kept("text", 64)] = None
    node_total: Annotated[int, Kept("integer", required=True)] = 0
    node_executed: Annotated[int, Kept("integer", required=True)] = 0
    node_cached: Annotated[int, Kept("integer", required=True)] = 0
    current_node: Annotated[CurrentNode | None, Kept("json")] = None
    error: Annotated[PromptError | None, Kept("json")] = None
    markers: Annotated[list[PromptMarker], Kept("json")] = field(default_factory=list)
    notes: Annotated[list[str], Kept("json")] = field(default_factory=list)
    batch: Annotated[Batch | None, Kept("json")] = None
    plan: Annotated[MarkerPlan | None, Kept("json")] = None
    """Null once the markers are settled, and where none was asked for."""
    pending: Annotated[list[tuple[str, str, str]], Kept("json")] = field(default_factory=list)
    """Markers that are committed and may not yet be in place: prefix, status, the temporary's name."""
    outputs: list[ReportedFile] = field(default_factory=list)
    refused: Annotated[list[Refusal], Kept("json")] = field(default_factory=list)
    """Outputs that ComfyUI refused."""
    seen_ms: Annotated[int | None, Kept("big integer")] = None
    """When its process last said that it runs it; null until it has started."""
    conditions: Annotated[Conditions | None, Kept("json")] = None
    """What it was like when it ran; null where that was not recorded."""
    output_root: Annotated[str | None, Kept("text", 64)] = None
    """Which output folder its files are in, as `identity.root_of`; null where that was not recorded. Never served."""
    called: str | None = None
    """What the queued graph says of itself (see naming.py); kept beside the figures."""
    figures: Figures | None = None
    """What was sampled; null until there is something, and where nothing was."""
    damaged: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """Fields that could not be read from where it was kept. They are as if nothing had been known; a note says so."""
    settings: dict[str, NodeSettings] | None = None
    """What `settings_id` stands for, by node; null once it is in the store."""
    samples: bytes | None = None
    """The curve, encoded; null once it is in the store."""

    def note(self, text: str) -> None:
        """Add a note, once."""
        text = clean(text)
        if text not in self.notes:
            self.notes.append(text)
