"""The records themselves, as they lie in memory and go into the store; `view.py` makes what is served of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from ..markers.outputs import ReportedFile
from ..markers.requests import MarkerPlan
from .base import PromptStatus
from .gpu import Figures
from .marker import PromptMarker
from .prompt import Batch, CurrentNode, PromptError, Refusal
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
    """One run of one prompt. Times in milliseconds since 1970, durations in seconds."""

    prompt_id: str
    run_number: Annotated[int, Field(ge=1)]
    instance_id: str
    status: PromptStatus = "queued"
    pk: int | None = None
    """The store's key; null until it is there."""
    queued_ms: int | None = None
    started_ms: int | None = None
    ended_ms: int | None = None
    queue_wait_seconds: float | None = None
    duration_seconds: float | None = None
    client_id: str | None = None
    queue_number: float | None = None
    workflow_name: str | None = None
    workflow_fingerprint: str | None = None
    settings_fingerprint: str | None = None
    graph_digest: str | None = None
    """Keyed, stored, never served."""
    environment_id: str | None = None
    node_total: int = 0
    node_executed: int = 0
    node_cached: int = 0
    current_node: CurrentNode | None = None
    error: PromptError | None = None
    markers: list[PromptMarker] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    batch: Batch | None = None
    plan: MarkerPlan | None = None
    """Null once the markers are settled, and where none was asked for."""
    pending: list[tuple[str, str, str]] = field(default_factory=list)
    """Markers that are committed and may not yet be in place: prefix, status, the temporary's name."""
    outputs: list[ReportedFile] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    """Outputs that ComfyUI refused."""
    seen_ms: int | None = None
    """When its process last said that it runs it; null until it has started."""
    output_root: str | None = None
    """Which output folder its files are in, as `identity.root_of`; null where that was not recorded. Never served."""
    called: str | None = None
    """What the queued graph says of itself (see naming.py); kept beside the figures."""
    figures: Figures | None = None
    """What was sampled; null until there is something, and where nothing was."""
    damaged: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """Fields that could not be read from where it was kept. They are as if nothing had been known; a note says so."""
    samples: bytes | None = None
    """The curve, encoded; null once it is in the store."""

    def note(self, text: str) -> None:
        """Add a note, once."""
        text = clean(text)
        if text not in self.notes:
            self.notes.append(text)
