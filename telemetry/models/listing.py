"""What is asked of a list of prompts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Filter:
    """Which prompts are asked for; null and empty ask for all."""

    statuses: tuple[str, ...] = ()
    since_ms: int | None = None
    until_ms: int | None = None
    q: str | None = None
    class_type: str | None = None
    output: str | None = None
    workflow: str | None = None
    """A workflow's fingerprint."""
    settings: str | None = None
    """A fingerprint of a workflow with its settings."""
    environment: str | None = None
    """An environment's id."""
    instance: str | None = None
    """The id of the process that recorded it."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page begins: after this prompt, going back in time."""

    sort_ms: int
    pk: int
