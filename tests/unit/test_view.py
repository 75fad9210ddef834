"""What is served of a record: the contract's names, nothing that must not leave, unknown as null."""

from typing import Any

import pytest
from run_recorder.telemetry.markers.folder import FileStamp
from run_recorder.telemetry.markers.outputs import ReportedFile
from run_recorder.telemetry.markers.requests import MarkerPlan
from run_recorder.telemetry.models.marker import PromptMarker
from run_recorder.telemetry.models.prompt import CurrentNode, Instance, PromptError
from run_recorder.telemetry.models.record import NodeRecord, PromptRecord
from run_recorder.telemetry.models.times import iso
from run_recorder.telemetry.models.view import NO_FIGURES, node_of, output_of, prompt_of

CURRENT = CurrentNode(node_id="1", class_type="A", title=None)


def test_a_record_is_served_with_everything_but_what_is_private() -> None:
    record = PromptRecord("p", 2, "me", "success", 7, 1000, 2000, 5000, 1.0, 3.0, "c", 4.5, "w", "1:a", "1:b", "SECRET")
    record.markers = [PromptMarker(path="a.done", status="success", written_at=iso(5000))]
    record.notes, record.plan, record.pending = ["n"], MarkerPlan(), [("a", "success", ".rr")]
    record.node_total, record.node_executed, record.node_cached, record.environment_id = 3, 2, 1, "env"
    record.error = PromptError(node_id="1", class_type="A", exception_type="E", message="m")
    record.outputs = [ReportedFile("1", "a.png", "", "output")]
    served = prompt_of(record, {"me": Instance(id="me", hostname="here", port=1)}).model_dump()
    assert "SECRET" not in str(served)
    assert served["queued_at"] == iso(1000)
    assert served["started_at"] == iso(2000)
    assert served["ended_at"] == iso(5000)
    assert (served["queue_wait_seconds"], served["duration_seconds"], served["queue_number"]) == (1.0, 3.0, 4.5)
    assert (served["client_id"], served["workflow_name"], served["environment_id"]) == ("c", "w", "env")
    assert (served["workflow_fingerprint"], served["settings_fingerprint"]) == ("1:a", "1:b")
    assert served["node_counts"] == {"total": 3, "executed": 2, "cached": 1}
    assert served["markers"] == [{"path": "a.done", "status": "success", "written_at": iso(5000)}]
    assert served["instance"] == {"id": "me", "hostname": "here", "port": 1}
    assert (served["run_number"], served["notes"], served["fallback_notes"]) == (2, ["n"], [NO_FIGURES])
    assert (served["system"], served["devices"], served["telemetry_source"]) == (None, [], None)
    assert served["error"]["message"] == "m"
    assert len(served["outputs"]) == 1
    assert not {"plan", "pending", "graph_digest", "pk"} & set(served)


def test_what_is_not_known_is_null_and_a_prompt_that_never_ran_has_no_figures_to_miss() -> None:
    served = prompt_of(PromptRecord("p", 1, "gone"), {})
    assert (served.queued_at, served.started_at, served.ended_at, served.duration_seconds) == (None,) * 4
    assert served.instance == Instance(id="gone")
    assert served.fallback_notes == []


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("queued", False),
        ("running", True),
        ("abandoned", True),
        ("success", False),
        ("error", False),
        ("interrupted", False),
    ],
)
def test_a_current_node_is_told_of_running_and_abandoned_prompts_only(status: Any, told: bool) -> None:
    record = PromptRecord("p", 1, "me", status, current_node=CURRENT)
    assert (prompt_of(record, {}).current_node == CURRENT) is told


@pytest.mark.parametrize(
    ("subfolder", "filename", "served"),
    [
        ("", "a.png", ("", "a.png")),
        ("shot/x", "a.png", ("shot/x", "a.png")),
        ("/home/me", "a.png", ("<path>", "a.png")),
        ("C:/me", "a.png", ("<path>", "a.png")),
        ("//host/share", "a.png", ("<path>", "a.png")),
        ("../up", "a.png", ("<path>", "a.png")),
        ("x..y", "a.png", ("x..y", "a.png")),
        ("", "/home/me/a.png", ("", "a.png")),
        ("", "C:\\home\\me\\a.png", ("", "a.png")),
        ("", "a\\b.png", ("", "a\\b.png")),
    ],
)
def test_no_folder_of_the_server_is_told(subfolder: str, filename: str, served: tuple[str, str]) -> None:
    output = output_of(ReportedFile("1", filename, subfolder, "output"))
    assert (output.subfolder, output.filename) == served


def test_size_and_time_are_those_of_the_disk_or_null() -> None:
    known = output_of(ReportedFile("1", "a", "", "output", True, FileStamp(5, 1_500_999_999, "i")))
    assert (known.bytes, known.modified, known.cached, known.type, known.node_id) == (5, iso(1500), True, "output", "1")
    unknown = output_of(ReportedFile(None, "a", "", None))
    assert (unknown.bytes, unknown.modified, unknown.cached, unknown.type, unknown.node_id) == (
        None,
        None,
        False,
        None,
        None,
    )


def test_a_node_is_served_as_it_is() -> None:
    error = PromptError(node_id="1", class_type="A", exception_type="E", message="m")
    record = NodeRecord(0, "1.0.0.1", "A", "t", "1", "1", 1500, 2.5, False, 3, 20, error)
    assert node_of(record).model_dump() == {
        "node_id": "1.0.0.1",
        "class_type": "A",
        "title": "t",
        "display_node_id": "1",
        "parent_node_id": "1",
        "started_at": iso(1500),
        "duration_seconds": 2.5,
        "cached": False,
        "progress_max": 20,
        "vram_used_peak_bytes": None,
        "vram_delta_bytes": None,
        "error": error.model_dump(),
    }
    assert node_of(NodeRecord(0, "1", cached=True)).started_at is None
