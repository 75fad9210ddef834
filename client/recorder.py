"""What our own routes, below `/telemetry`, are asked for, and the record that they answer with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ..telemetry.models.prompt import Prompt
from .errors import ServerError
from .limits import Kind
from .reading import Answer
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


def why(prompt_id: str, run: int | None = None) -> Request:
    """One prompt against its like."""
    return get("record", *PROMPTS, prompt_id, "why", query={"run": run})


def report(prompt_id: str, run: int | None = None, model_names: bool = False) -> Request:
    """A prompt's report, as Markdown."""
    query = {"run": run, "model_names": "true" if model_names else None}
    return get("record", *PROMPTS, prompt_id, "report", query=query)


def compare(one: str, other: str, one_run: int | None = None, other_run: int | None = None) -> Request:
    """Two prompts beside each other, the older one first."""
    return get("record", "telemetry", "compare", query={"a": one, "b": other, "a_run": one_run, "b_run": other_run})


def wait(prompt_id: str, seconds: float, run: int | None = None) -> Request:
    """A prompt's record as soon as it has ended: 200; else 202 after so many seconds."""
    kind: Kind = "wait" if seconds else "record"
    query = {"timeout": f"{seconds:g}", "run": run}
    return get(kind, *PROMPTS, prompt_id, "wait", query=query, wait_seconds=seconds)


def record_of(url: str, prompt_id: str, answer: Answer) -> Prompt:
    """The record of a prompt that is asked for. Raises ServerError for what is none, and for another prompt's."""
    try:
        record = Prompt.model_validate(answer.value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        why = answer.why or f"is no record: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise ServerError("bad_answer", f"{url}: its answer to /telemetry/prompts {why}") from None
    if record.prompt_id != prompt_id:
        raise ServerError("bad_answer", f"{url}: its record is of another prompt, {record.prompt_id}")
    return record


def live_figures() -> Request:
    """What is seen of the devices now."""
    return get("figures", "telemetry", "gpu")


def events(prompt_id: str | None = None) -> Request:
    """What happens, as server-sent events without an end; of one prompt, or of all."""
    return get("events", "telemetry", "events", query={"prompt_id": prompt_id})
