"""How the report says things: lengths, times, and pairs of a name and a thing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .report_view import Pair

MOST_TEXT = 20_000
"""Characters of a prompt that are shown; the whole is in the metadata."""


def pairs_of(facts: Mapping[str, object]) -> list[Pair]:
    """Those that are known."""
    return [(name, value) for name, value in facts.items() if value is not None]


def short(value: str) -> str:
    """A text, cut where it is too long to be shown."""
    cut = len(value) - MOST_TEXT
    return value if cut <= 0 else f"{value[:MOST_TEXT]} ... and {cut} characters more, in artifact-metadata.json"


def seconds(value: object) -> str:
    """A number of seconds, with the unit."""
    if not isinstance(value, (int, float)):
        return "unknown"
    return f"{value:.2f}\u00a0s" if value < 10 else f"{value:.1f}\u00a0s"


def kind_of_try(attempt: Mapping[str, Any]) -> str:
    """`good`, `warn` where it was tried again, or `bad`."""
    if attempt.get("Success"):
        return "good"
    return "warn" if attempt.get("RequeueReason") else "bad"
