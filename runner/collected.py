"""What was collected of one attempt of a prompt."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Collected:
    """What was collected, below the destination with forward slashes, and what was seen of markers."""

    files: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Names that lead out of the destination, or are no names of files."""
    trouble: str | None = None
    """What a server last did instead of sending a file; null where each was there or not."""
    post_execution_reached: bool = False
    marker_detected: bool = False
    marker_wait_seconds: float = 0.0
    marker_path: str | None = None
    forced: bool = False
    debug_path: str | None = None
    notes: list[str] = field(default_factory=list)
