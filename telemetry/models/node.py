"""A node of a prompt as it is served."""

from __future__ import annotations

from pydantic import Field

from .base import Model, Time
from .prompt import PromptError


class Node(Model):
    """One node of one prompt, in the order in which nodes ran."""

    node_id: str
    class_type: str | None
    title: str | None
    display_node_id: str | None
    parent_node_id: str | None = Field(description="The node that expanded into this one, else null.")
    started_at: Time | None = Field(description="Null of a cached node.")
    duration_seconds: float | None = Field(description="Null while it runs, and when cached.")
    cached: bool
    progress_max: float | None = None
    vram_used_peak_bytes: int | None = Field(
        None, description="The most that torch had allocated while it ran; null where the device has no such counter."
    )
    vram_delta_bytes: int | None = Field(None, description="What it left allocated, less what it found.")
    error: PromptError | None = None


class NodeList(Model):
    """A prompt's nodes."""

    items: list[Node]
