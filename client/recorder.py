"""What our own routes, below `/telemetry`, are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .limits import Kind
from .request import Request, get

PROMPTS = ("telemetry", "prompts")


def health() -> Request:
    """Whether the recorder is there, and its version."""
    return get("health", "telemetry", "health")


def prompts(query: Mapping[str, Any]) -> Request:
    """A page of records, newest first."""
    return get("record", *PROMPTS, query=query)


def prompt(prompt_id: str, run: int | None = None) -> Request:
    """A prompt's record; of its newest run, where none is named."""
    return get("record", *PROMPTS, prompt_id, query={"run": run})


def nodes(prompt_id: str, run: int | None = None) -> Request:
    """A prompt's nodes, in the order in which they ran."""
    return get("record", *PROMPTS, prompt_id, "nodes", query={"run": run})


def contract(prompt_id: str, run: int | None = None) -> Request:
    """A prompt as the run contract's telemetry object."""
    return get("contract", *PROMPTS, prompt_id, "contract", query={"run": run})


def wait(prompt_id: str, seconds: float, run: int | None = None) -> Request:
    """A prompt's record as soon as it has ended: 200; else 202 after so many seconds."""
    kind: Kind = "wait" if seconds else "record"
    query = {"timeout": f"{seconds:g}", "run": run}
    return get(kind, *PROMPTS, prompt_id, "wait", query=query, wait_seconds=seconds)


def live_figures() -> Request:
    """What is seen of the devices now."""
    return get("figures", "telemetry", "gpu")


def events(prompt_id: str | None = None) -> Request:
    """What happens, as server-sent events without an end; of one prompt, or of all."""
    return get("events", "telemetry", "events", query={"prompt_id": prompt_id})
