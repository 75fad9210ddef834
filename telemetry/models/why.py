"""One prompt against its like: what is usual, how this one compares, and the reasons that its record shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from .base import Figure, Model
from .settings import Setting

Verdict = Literal["usual", "slower", "faster", "hungrier", "leaner", "failed", "too few runs"]
ReasonKind = Literal[
    "environment",
    "cold",
    "reload",
    "spill",
    "others",
    "throttled",
    "drift",
    "more_work",
    "cache",
    "queue",
    "node",
    "out_of_memory",
    "host_out_of_memory",
    "killed",
    "driver",
    "missing_file",
    "missing_node",
    "disk_full",
    "node_error",
    "interrupted",
]
Evidence = Setting | list[str] | None


class Usual(Model):
    """What is usual for a prompt's like: the earlier successes that are comparable with it."""

    median: Figure
    interval: tuple[Figure, Figure] = Field(description="Where all but a few of them lie: the 5th and 95th percentile.")
    runs: int = Field(ge=1)


class Reason(Model):
    """One thing in which the record shows why."""

    kind: ReasonKind
    text: str = Field(description="In a sentence.")
    share_seconds: Figure | None = Field(default=None, description="How much of the time it explains; null if unknown.")
    share_bytes: Figure | None = Field(default=None, description="How much of the memory it explains.")
    evidence: Mapping[str, tuple[Evidence, Evidence]] = Field(
        description="What it was before (null where there was no before), and what it is now."
    )
    confidence: Figure = Field(
        ge=0, le=1, description="1: the record says so itself; 0.5: it fits, and is not the only thing that changed."
    )


class NodeShare(Model):
    """A node that carries the change."""

    node_id: str
    class_type: str | None
    title: str | None
    usual_seconds: Figure | None = Field(description="The median of its like; null where none of them ran it.")
    seconds: Figure | None = Field(description="Null where it was cached or did not finish.")
    share_seconds: Figure = Field(description="Of this prompt's difference from the usual.")


class Why(Model):
    """One prompt against its like."""

    prompt_id: str
    run_number: int
    usual: Usual | None = Field(description="Of its duration in seconds; null with fewer than 5 comparable runs.")
    usual_vram_bytes: Usual | None = Field(description="Of its peak; null with fewer than 5 of which it is known.")
    ratio: Figure | None = Field(description="Its duration by the usual median; null where either is not known.")
    verdict: Verdict | None = Field(description="Null while it waits or runs, and where it never ran.")
    reasons: list[Reason] = Field(description="The most important first.")
    nodes: list[NodeShare] = Field(description="Those that carry the change of duration, the largest share first.")
    notes: list[str] = Field(description="What can't be told, and why.")
