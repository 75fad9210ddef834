"""What is known of a prompt when it is queued: its first record, what its graph asks of markers, what was refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..markers.prefix import PrefixError, has_tokens, parse_prefix
from ..markers.requests import MarkerRequest, plan_of
from ..models.conditions import Conditions
from ..models.marker import PromptMarker
from ..models.naming import called_by_graph
from ..models.numbers import finite
from ..models.prompt import Batch, Refusal
from ..models.record import PromptRecord
from ..models.text import MAX_ID, clean_or_none, count_of
from ..models.times import milliseconds
from .events import PromptQueued
from .prompt import OpenPrompt
from .refusals import faulty_nodes, refusals

MAX_EXPLAINED, MAX_NAMED = 100, 5
"""Refused outputs of a prompt of which its record says why, and that its note names."""


def first_record(event: PromptQueued, run_number: int, instance_id: str) -> PromptRecord:
    """The record of a prompt that is queued."""
    record = PromptRecord(
        prompt_id=event.prompt_id,
        run_number=run_number,
        instance_id=instance_id,
        queued_ms=milliseconds(event.at.wall),
        client_id=clean_or_none(event.client_id, MAX_ID),
        queue_number=finite(event.number),
        workflow_name=clean_or_none(event.workflow_name, MAX_ID),
        node_total=len(event.graph),
        batch=_batch(event.batch),
    )
    if event.client is not None:
        record.conditions = Conditions(client=event.client)
    if event.id_note is not None:
        record.note(event.id_note)
    return record


def plan_markers(run: OpenPrompt, event: PromptQueued, redact: Callable[[str], str]) -> None:
    """Read from a queued graph what it asks of markers, what of it was refused, and what it calls itself."""
    faulty = faulty_nodes(event.node_errors or {}, event.graph)
    refused = [
        Refusal(
            node_id=one.node_id,
            class_type=one.class_type,
            reasons=[redact(why) for why in one.reasons] if number < MAX_EXPLAINED else [],
        )
        for number, one in enumerate(refusals(faulty, event.graph))
    ]
    if refused:
        run.record.refused = refused
        if event.accepted:
            run.record.note(_refused_note(refused))
    own = {one.node_id for one in faulty}
    faults = {one.node_id: one.node_id in own for one in refused}
    plan = plan_of(event.graph, event.accepted, event.restricted, faults)
    run.record.markers = [announce(request) for request in plan.requests]
    for request in plan.requests:
        if request.refused:
            run.record.note(_refusal(request))
    run.record.called = called_by_graph(event.graph, event.accepted, plan.savers)
    if plan:
        run.record.plan = plan


def announce(request: MarkerRequest) -> PromptMarker:
    """What a record says of a marker before it is written."""
    if request.refused:
        return PromptMarker(path=None, status="refused")
    path = None
    prefix = request.filename_prefix
    if prefix and not has_tokens(prefix) and "%prompt_id%" not in prefix:
        try:
            path = f"{parse_prefix(prefix)}.done"
        except PrefixError:
            path = None
    return PromptMarker(path=path, status="due")


def _refused_note(refused: list[Refusal]) -> str:
    named = [f"{one.node_id} ({one.class_type})" for one in refused[:MAX_NAMED]]
    more = f" and {len(refused) - MAX_NAMED} more" if len(refused) > MAX_NAMED else ""
    return f"ComfyUI refused {count_of(len(refused), 'output')} and ran the others: {', '.join(named)}{more}"


def _refusal(request: MarkerRequest) -> str:
    why = "ComfyUI refused its inputs"
    if request.filename_prefix:
        try:
            parse_prefix(request.filename_prefix)
        except PrefixError as error:
            why = str(error)
    return f"marker node {request.node_id} was refused: {why}"


def _batch(data: Mapping[str, Any] | None) -> Batch | None:
    if data is None:
        return None
    try:
        return Batch.model_validate(dict(data))
    except ValueError:
        return None
