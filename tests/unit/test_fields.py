"""A field of a prompt is described once: what is kept, and what is served, is made of it and can't drift from it."""

from dataclasses import fields, replace

import pytest
from run_recorder.telemetry.markers.requests import MarkerPlan
from run_recorder.telemetry.models.conditions import Conditions, LoadedModel
from run_recorder.telemetry.models.kept import kept_fields
from run_recorder.telemetry.models.marker import PromptMarker
from run_recorder.telemetry.models.prompt import Batch, CurrentNode, Prompt, PromptError, Refusal
from run_recorder.telemetry.models.record import PromptRecord
from run_recorder.telemetry.models.view import prompt_of
from run_recorder.telemetry.store import tables
from run_recorder.telemetry.store.rows import prompt_record, prompt_row

ELSEWHERE = {"pk", "outputs", "called", "figures", "damaged", "samples", "settings"}
"""Fields of a record that have no column of their own: the key, rows of other tables, and what lies beside figures."""
OF_THE_TABLE = {"pk", "sort_ms", "search", "figures"}
WHOLE = PromptRecord(
    prompt_id="p",
    run_number=2,
    instance_id="i",
    status="error",
    queued_ms=1,
    started_ms=2,
    ended_ms=3,
    queue_wait_seconds=0.5,
    duration_seconds=0.25,
    client_id="c",
    queue_number=1.5,
    workflow_name="w",
    workflow_fingerprint="wf",
    settings_fingerprint="sf",
    settings_id="si",
    graph_digest="g",
    environment_id="e",
    node_total=3,
    node_executed=2,
    node_cached=1,
    current_node=CurrentNode(node_id="1", class_type="A", title=None),
    error=PromptError(node_id="1", class_type="A", exception_type="E", message="m"),
    markers=[PromptMarker(path="a.done", status="due")],
    notes=["n"],
    batch=Batch(),
    plan=MarkerPlan(savers={"3": "shot/a"}),
    pending=[("shot/a", "success", "t")],
    refused=[Refusal(node_id="9", class_type="B", reasons=["r"])],
    seen_ms=4,
    conditions=Conditions(client="api", run_since_start=3, models=[LoadedModel(name="Flux", patches=2)], warm=True),
    output_root="o",
    called="x",
)


def test_every_field_has_a_column_or_is_known_to_be_elsewhere() -> None:
    names = {one.name for one in fields(PromptRecord)}
    assert names == set(kept_fields(PromptRecord)) | ELSEWHERE
    assert {column.name for column in tables.prompts.columns} == set(kept_fields(PromptRecord)) | OF_THE_TABLE


def test_every_field_comes_back_as_it_was_kept() -> None:
    row = {**prompt_row(WHOLE, 0), "pk": 7}
    assert set(row) == {column.name for column in tables.prompts.columns}
    assert prompt_record(row) == replace(WHOLE, pk=7)


@pytest.mark.parametrize(
    "name", sorted(set(kept_fields(PromptRecord)) - {"prompt_id", "run_number", "instance_id", "status"})
)
def test_a_row_of_an_older_version_is_read_without_what_it_lacks(name: str) -> None:
    row = {column: value for column, value in {**prompt_row(WHOLE, 0), "pk": 7}.items() if column != name}
    blank = getattr(PromptRecord("p", 1, "i"), name)
    assert prompt_record(row) == replace(WHOLE, pk=7, **{name: blank})


def test_a_field_of_both_names_is_served_as_it_is_recorded() -> None:
    both = {one.name for one in fields(PromptRecord)} & set(Prompt.model_fields) - {"outputs", "current_node"}
    served = prompt_of(WHOLE, {})
    assert {name: getattr(served, name) for name in both} == {name: getattr(WHOLE, name) for name in both}
