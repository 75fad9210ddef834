"""What is counted of a prompt that has ended, and what is read when it is asked for."""

from typing import Any

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as families
from run_recorder.telemetry.live.metrics import MAX_CLASSES, MAX_PROBLEMS, NODE_SECONDS, OTHER, PROMPT_SECONDS, Metrics
from run_recorder.telemetry.models.marker import PromptMarker
from run_recorder.telemetry.models.record import NodeRecord, PromptRecord
from run_recorder.telemetry.process.cost import RecordCost
from run_recorder.telemetry.process.problems import Problems
from run_recorder.telemetry.record.recorder import Recorder

from .support import at, done, queued, started


class World:
    """Metrics over an empty recorder."""

    def __init__(self) -> None:
        self.recorder = Recorder("i", lambda prompt_id: 0)
        self.problems = Problems()
        self.cost = RecordCost()
        self.metrics = Metrics(self.recorder.runs.depth, self.problems, self.cost)

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    def series(self, name: str) -> list[Any]:
        return [
            sample for family in self.metrics.registry.collect() for sample in family.samples if sample.name == name
        ]

    def end(self, *nodes: NodeRecord, status: Any = "success", **fields: Any) -> None:
        self.metrics.ended(PromptRecord("p", 1, "i", status=status, **fields), nodes)


@pytest.fixture
def world() -> World:
    return World()


def ran(class_type: str | None, seconds: float | None = 1.0) -> NodeRecord:
    return NodeRecord(0, "1", class_type=class_type, duration_seconds=seconds)


def cached(class_type: str) -> NodeRecord:
    return NodeRecord(0, "1", class_type=class_type, cached=True)


def marker(status: str) -> PromptMarker:
    return PromptMarker(path=None, status=status)


def test_every_status_is_there_from_the_start(world: World) -> None:
    for status in ("success", "error", "interrupted", "cancelled", "abandoned"):
        assert world.value("comfyui_prompts_total", status=status) == 0
    for status in ("success", "running", "error", "interrupted", "abandoned", "refused", "not written"):
        assert world.value("comfyui_done_markers_total", status=status) == 0
    assert world.value("comfyui_prompts_total", status="queued") is None
    for state in ("queued", "running"):
        assert world.value("comfyui_queue_depth", state=state) == 0
    assert world.value("comfyui_prompt_duration_seconds_count") == 0
    assert world.value("comfyui_prompt_queue_wait_seconds_count") == 0
    assert world.value("run_recorder_record_seconds_count") == 0


def test_a_prompt_is_counted_with_its_times(world: World) -> None:
    world.end(duration_seconds=3.0, queue_wait_seconds=0.05)
    world.end(status="error", duration_seconds=40.0, queue_wait_seconds=7000.0)
    assert world.value("comfyui_prompts_total", status="success") == 1
    assert world.value("comfyui_prompts_total", status="error") == 1
    assert world.value("comfyui_prompt_duration_seconds_sum") == 43
    assert world.value("comfyui_prompt_duration_seconds_bucket", le="2.5") == 0
    assert world.value("comfyui_prompt_duration_seconds_bucket", le="5.0") == 1
    assert world.value("comfyui_prompt_queue_wait_seconds_bucket", le="0.1") == 1
    assert world.value("comfyui_prompt_queue_wait_seconds_bucket", le="7200.0") == 2


def test_a_prompt_that_never_started_has_no_times(world: World) -> None:
    world.end(status="cancelled")
    assert world.value("comfyui_prompts_total", status="cancelled") == 1
    assert world.value("comfyui_prompt_duration_seconds_count") == 0
    assert world.value("comfyui_prompt_queue_wait_seconds_count") == 0


def test_nodes_are_counted_by_class_and_by_whether_they_were_cached(world: World) -> None:
    world.end(ran("KSampler", 2.0), cached("CheckpointLoaderSimple"), cached("KSampler"), ran("SaveImage", None))
    assert world.value("comfyui_nodes_total", class_type="KSampler", cached="false") == 1
    assert world.value("comfyui_nodes_total", class_type="KSampler", cached="true") == 1
    assert world.value("comfyui_nodes_total", class_type="CheckpointLoaderSimple", cached="true") == 1
    assert world.value("comfyui_nodes_total", class_type="SaveImage", cached="false") == 1
    assert world.value("comfyui_node_duration_seconds_sum", class_type="KSampler") == 2
    assert world.value("comfyui_node_duration_seconds_count", class_type="KSampler") == 1
    assert world.value("comfyui_node_duration_seconds_count", class_type="CheckpointLoaderSimple") is None
    assert world.value("comfyui_node_duration_seconds_count", class_type="SaveImage") is None


def test_markers_are_counted_by_what_became_of_them(world: World) -> None:
    world.end(markers=[marker("success"), marker("success"), marker("refused"), marker("due"), marker("not written")])
    assert world.value("comfyui_done_markers_total", status="success") == 2
    assert world.value("comfyui_done_markers_total", status="refused") == 1
    assert world.value("comfyui_done_markers_total", status="not written") == 2, "a marker that is due never came"
    assert world.value("comfyui_done_markers_total", status="due") is None


def test_there_are_at_most_200_classes_and_then_other(world: World) -> None:
    for number in range(MAX_CLASSES + 50):
        world.end(ran(f"Class{number}"), cached(f"Class{number}"))
    world.end(ran("Class0"), ran(None))
    classes = {sample.labels["class_type"] for sample in world.series("comfyui_nodes_total")}
    assert len(classes) == MAX_CLASSES + 1
    assert OTHER in classes
    assert classes == {sample.labels["class_type"] for sample in world.series("comfyui_node_duration_seconds_count")}
    assert world.value("comfyui_nodes_total", class_type="Class0", cached="false") == 2
    assert world.value("comfyui_nodes_total", class_type=OTHER, cached="true") == 50
    assert world.value("comfyui_nodes_total", class_type=OTHER, cached="false") == 51
    assert world.value("comfyui_node_duration_seconds_count", class_type=OTHER) == 51


def test_a_class_with_any_name_can_be_read_by_a_strict_parser(world: World) -> None:
    names = ['a "quoted" one', "two\nlines", "back\\slash", "Größe 大", "{brace}", "x" * 200, " "]
    world.end(*[ran(name) for name in names])
    text = generate_latest(world.metrics.registry).decode("utf-8")
    told = {
        sample.labels["class_type"]
        for family in families(text)
        for sample in family.samples
        if sample.name == "comfyui_nodes_total"
    }
    assert told == set(names)


def test_the_queue_is_what_is_open_now(world: World) -> None:
    recorder = world.recorder
    for prompt_id in ("a", "b", "c"):
        recorder.apply(queued(prompt_id))
    assert world.value("comfyui_queue_depth", state="queued") == 3
    recorder.apply(started("a"))
    assert world.value("comfyui_queue_depth", state="queued") == 2
    assert world.value("comfyui_queue_depth", state="running") == 1
    recorder.apply(done("a", when=at(5)))
    assert world.value("comfyui_queue_depth", state="running") == 0, "it has ended, though the store doesn't know it"


def test_a_problem_of_one_row_is_counted_by_what_it_is_and_not_by_which(world: World) -> None:
    for what in ("record 7", "record 12", "event 3", "process 0c9e6f3a-0000-4000-8000-000000000000", "more records"):
        world.problems.report(what, "damaged", passing=True)
    told = {sample.labels["what"]: sample.value for sample in world.series("run_recorder_problems_total")}
    assert told == {"record": 2, "event": 1, "process": 1, "more records": 1}


def test_problems_are_counted_also_when_they_are_solved(world: World) -> None:
    assert world.series("run_recorder_problems_total") == []
    for _ in range(3):
        world.problems.report("store", "it is full")
    world.problems.solved("store")
    world.problems.report("store", "it is full again")
    assert world.value("run_recorder_problems_total", what="store") == 4
    assert world.problems.counts() == {"store": 4}


def test_problems_are_bounded(world: World) -> None:
    for number in range(MAX_PROBLEMS + 20):
        world.problems.report(f"problem {number}", "one of many")
    assert len(world.series("run_recorder_problems_total")) == MAX_PROBLEMS + 1
    assert world.value("run_recorder_problems_total", what=OTHER) == 20


def test_what_recording_costs_is_read_from_where_it_is_counted(world: World) -> None:
    world.cost.nodes, world.cost.seconds = 3, 1.5e-5
    assert world.value("run_recorder_record_seconds_count") == 3
    assert world.value("run_recorder_record_seconds_sum") == 1.5e-5


def test_what_cannot_be_counted_is_a_problem_and_raises_nothing(world: World) -> None:
    world.end(duration_seconds="no number")
    assert [problem.what for problem in world.problems.all()] == ["metrics"]
    world.end(duration_seconds=1.0)
    assert world.value("comfyui_prompts_total", status="success") == 2


def test_buckets_only_grow_and_reach_from_a_preview_to_a_long_render() -> None:
    for buckets in (PROMPT_SECONDS, NODE_SECONDS):
        assert list(buckets) == sorted(set(buckets))
    assert PROMPT_SECONDS[0] == 0.1
    assert PROMPT_SECONDS[-1] >= 3600


def test_openmetrics_takes_it_too(world: World) -> None:
    from prometheus_client.openmetrics.exposition import generate_latest as openmetrics

    world.end(ran("KSampler"), duration_seconds=1.0)
    world.problems.report("store", "it is full")
    found = {family.name: family.type for family in open_families(openmetrics(world.metrics.registry).decode())}
    assert found["comfyui_prompts"] == "counter"
    assert found["run_recorder_record_seconds"] == "summary"


def test_two_of_them_share_nothing(world: World) -> None:
    world.end(ran("KSampler"))
    assert World().value("comfyui_prompts_total", status="success") == 0
