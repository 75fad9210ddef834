"""A prompt's record as the run contract's telemetry object."""

import jsonschema
import pytest
from run_recorder.telemetry.models.gpu import Device
from run_recorder.telemetry.models.marker import PromptMarker
from run_recorder.telemetry.models.prompt import Batch, Instance, NodeCounts, Prompt
from run_recorder.telemetry.models.run_contract import POLICY_DEFAULTS, SceneTelemetry, plain
from run_recorder.telemetry.models.run_telemetry import NO_DEVICE, telemetry_of

MB = 1024 * 1024


def prompt(**fields: object) -> Prompt:
    told = {"prompt_id": "p", "run_number": 1, "status": "success", "instance": Instance(id="i")}
    told |= {"node_counts": NodeCounts(total=1, executed=1, cached=0)}
    told |= {"queued_at": "2026-11-01T10:20:30.000Z", "ended_at": "2026-11-01T10:20:32.500Z"}
    return Prompt.model_validate(told | fields)


def test_a_success_has_its_times_memory_and_marker() -> None:
    card = Device(index=0, name="card", type="cuda", vram_total_bytes=9 * MB)
    card.vram_free_before_bytes, card.vram_free_after_bytes = 8 * MB, 5 * MB
    marker = PromptMarker(path="a/b.done", status="success", written_at="2026-11-01T10:20:32.500Z")
    told = telemetry_of(prompt(devices=[card], markers=[marker]))
    assert (told.DurationSeconds, told.HistoryExitReason) == (2.5, "success")
    assert told.ExecutionSuccessAt == "2026-11-01T10:20:32.500Z"
    assert (told.GPU.VramBeforeMB, told.GPU.VramAfterMB, told.GPU.VramDeltaMB) == (8, 5, -3)
    assert (told.DoneMarkerDetected, told.DoneMarkerPath) == (True, "a/b.done")


@pytest.mark.parametrize("status", ["queued", "running", "error", "interrupted", "cancelled", "abandoned"])
def test_everything_else_is_unknown_and_what_is_unknown_is_null(status: str) -> None:
    told = telemetry_of(prompt(status=status, ended_at=None))
    assert (told.HistoryExitReason, told.ExecutionSuccessDetected, told.ExecutionSuccessAt) == ("unknown", False, None)
    assert (told.GPU.Name, told.GPU.VramBeforeMB, told.System.FallbackNotes) == ("unknown", None, [NO_DEVICE])


def test_the_policy_is_the_runners_where_it_told_one() -> None:
    told = telemetry_of(prompt(batch=Batch(policy={"max_wait_seconds": 90.0, "history_max_attempts": 4.0})))
    assert (told.MaxWaitSeconds, told.HistoryAttemptLimit, told.pollLimit) == (90, 4, "4")
    assert told.PollIntervalSeconds == POLICY_DEFAULTS["history_poll_interval_seconds"]


@pytest.mark.parametrize("value", ["a word", 1.5, -3, None])
def test_a_policy_that_is_none_is_not_believed(value: object) -> None:
    told = telemetry_of(prompt(batch=Batch.model_validate({"policy": {"max_wait_seconds": value}})))
    assert told.MaxWaitSeconds == POLICY_DEFAULTS["max_wait_seconds"]


def test_it_is_valid_by_its_schema() -> None:
    jsonschema.validate(plain(telemetry_of(prompt())), SceneTelemetry.model_json_schema(mode="serialization"))
