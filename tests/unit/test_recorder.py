"""Events in, records out: whatever order ComfyUI tells things in, and whatever it leaves out."""

import itertools
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_recorder.telemetry.markers.requests import INPUTS_READY, WRITE_NOTHING, MarkerRequest
from run_recorder.telemetry.models.marker import PromptMarker
from run_recorder.telemetry.models.prompt import CurrentNode
from run_recorder.telemetry.models.text import MAX_ID
from run_recorder.telemetry.record.events import (
    Event,
    ExpandedNode,
    MarkerRun,
    NodeFinished,
    NodeProgress,
    NodeStarted,
    PromptCached,
    PromptMet,
    PromptUnqueued,
    WorkerDied,
)
from run_recorder.telemetry.record.node_events import described
from run_recorder.telemetry.record.prompt import OpenPrompt
from run_recorder.telemetry.record.recorder import (
    DONE_PATIENCE_SECONDS,
    QUEUE_REFUSED,
    UNSEEN,
    UNTOLD_CAUSE,
    UNTOLD_END,
    UNTOLD_NODES,
    UNTOLD_OUTPUTS,
    UNTOLD_QUEUED,
    UNTOLD_START,
    WORKER_DIED,
    Recorder,
)

from .support import at, done, marker_node, ms, node, outcome, queued, saver, started

GRAPH = {"1": node("EmptyImage", "an image"), "2": node("ImageInvert"), "3": saver("a")}


@pytest.fixture
def recorder() -> Recorder:
    return Recorder("me", lambda _prompt_id: 0)


def fed(recorder: Recorder, *events: Event) -> OpenPrompt:
    """The run that some events are about, after them; for one run only."""
    for event in events:
        recorder.apply(event)
    (run,) = recorder.runs
    run.refresh()
    return run


def begin(node_id: str, second: float = 2, prompt_id: str = "p", expanded: ExpandedNode | None = None) -> NodeStarted:
    return NodeStarted(prompt_id, node_id, at(second).mono, expanded)


def finish(node_id: str, second: float = 3, prompt_id: str = "p", expanded: ExpandedNode | None = None) -> NodeFinished:
    return NodeFinished(prompt_id, node_id, at(second).mono, expanded)


def steps(node_id: str, value: Any, most: Any, prompt_id: str = "p") -> NodeProgress:
    return NodeProgress(prompt_id, node_id, value, most)


def cached(*nodes: str, prompt_id: str = "p") -> PromptCached:
    return PromptCached(prompt_id, frozenset(nodes))


def settled(run: OpenPrompt) -> tuple[str | None, list[str]]:
    return run.final, run.record.notes


def saved(recorder: Recorder) -> None:
    """The writer has everything."""
    for run in recorder.runs:
        run.dirty = run.urgent = False


# ---------------------------------------------------------------- a prompt's life


def test_a_queued_prompt_is_known_with_everything_that_the_request_said(recorder: Recorder) -> None:
    batch = {"run_id": "r", "scene_id": "s", "attempt": 2, "policy": {"x": 1}, "secret": "no"}
    run = fed(recorder, queued("p", GRAPH, number=-3.5, client_id="c", workflow_name="w", batch=batch))
    record = run.record
    assert (record.prompt_id, record.run_number, record.instance_id) == ("p", 1, "me")
    assert (record.status, record.queued_ms, record.started_ms, record.ended_ms) == ("queued", ms(0), None, None)
    assert (record.queue_number, record.client_id, record.workflow_name) == (-3.5, "c", "w")
    assert (record.node_total, record.node_executed, record.node_cached) == (3, 0, 0)
    assert record.batch is not None
    assert record.batch.model_dump() == {"run_id": "r", "scene_id": "s", "attempt": 2, "policy": {"x": 1}}
    assert (record.queue_wait_seconds, record.duration_seconds, record.current_node) == (None, None, None)
    assert (record.markers, record.plan, record.notes, record.error) == ([], None, [], None)
    assert (run.dirty, run.urgent, run.final, run.queued, run.started) == (True, True, None, at(0), None)
    assert not run.wants_marker


def test_a_started_prompt_is_running_and_knows_how_long_it_waited(recorder: Recorder) -> None:
    recorder.apply(queued())
    saved(recorder)
    run = fed(recorder, started(when=at(1.5)))
    assert (run.record.status, run.record.started_ms) == ("running", ms(1.5))
    assert run.record.queue_wait_seconds == 1.5
    assert (run.dirty, run.urgent, run.started) == (True, True, at(1.5))


def test_a_whole_prompt_ends_as_told_and_stays_running_until_it_is_settled(recorder: Recorder) -> None:
    outputs = {"3": {"images": []}}
    events = [queued("p", GRAPH), started(), cached("1"), begin("2"), finish("2", 3), begin("3", 3), finish("3", 4)]
    for event in (*events, outcome()):
        recorder.apply(event)
    saved(recorder)
    run = fed(recorder, done(outputs=outputs))
    assert settled(run) == ("success", [])
    assert run.record.status == "running"
    assert (run.record.ended_ms, run.record.duration_seconds, run.ended) == (ms(5), 4.0, at(5))
    assert (run.record.node_total, run.record.node_executed, run.record.node_cached) == (3, 2, 1)
    assert run.reported is outputs
    assert run.record.current_node is None
    assert (run.dirty, run.urgent) == (True, True)


@pytest.mark.parametrize("status", ["success", "error", "interrupted"])
def test_the_message_is_believed_before_the_queue_s_own_status(recorder: Recorder, status: str) -> None:
    run = fed(recorder, queued(), started(), begin("1"), outcome(status=status), done(succeeded=status != "success"))
    assert settled(run) == (status, [])


@pytest.mark.parametrize(
    ("succeeded", "final", "note"),
    [(True, "success", None), (False, "error", UNTOLD_CAUSE), (None, "error", UNTOLD_END)],
)
def test_without_a_message_the_queue_s_status_is_believed_and_what_it_leaves_open_is_noted(
    recorder: Recorder, succeeded: bool | None, final: str, note: str | None
) -> None:
    run = fed(recorder, queued(), started(), begin("1"), finish("1"), done(succeeded=succeeded))
    assert settled(run) == (final, [note] if note else [])
    assert run.record.ended_ms == ms(6)
    assert run.record.error is None


def test_an_unknown_word_for_the_end_is_no_success(recorder: Recorder) -> None:
    assert fed(recorder, queued(), started(), begin("1"), outcome(status="odd"), done()).final == "abandoned"


def test_only_the_first_message_counts(recorder: Recorder) -> None:
    events = [outcome(status="error", message="first"), outcome(status="interrupted", when=at(5.5))]
    run = fed(recorder, queued(), started(), begin("1"), *events, done())
    assert run.final == "error"
    assert run.record.error is not None
    assert run.record.error.message == "first"
    assert run.record.ended_ms == ms(5)


def test_a_message_alone_does_not_end_a_prompt(recorder: Recorder) -> None:
    for event in (queued(), started()):
        recorder.apply(event)
    saved(recorder)
    run = fed(recorder, outcome())
    assert (run.final, run.outcome, run.dirty, run.urgent) == (None, outcome(), True, False)
    assert run.record.ended_ms is None


def test_clocks_that_disagree_never_give_a_negative_duration(recorder: Recorder) -> None:
    run = fed(
        recorder, queued(when=at(5)), started(when=at(3)), begin("1", 4), finish("1", 3), outcome(when=at(2)), done()
    )
    assert run.record.queue_wait_seconds == 0.0
    assert run.record.duration_seconds == 0.0
    assert run.nodes["1"].duration_seconds == 0.0


def test_durations_are_told_to_the_microsecond(recorder: Recorder) -> None:
    run = fed(recorder, queued(when=at(0)), started(when=at(0.12345678)))
    assert run.record.queue_wait_seconds == 0.123457


# ---------------------------------------------------------------- the queue


def test_a_prompt_taken_from_the_queue_is_cancelled(recorder: Recorder) -> None:
    graph = {"1": node("A")}
    recorder.apply(queued("p", graph))
    saved(recorder)
    run = fed(recorder, PromptUnqueued("p", at(3), graph))
    assert settled(run) == ("cancelled", [])
    assert (run.record.ended_ms, run.record.duration_seconds, run.record.started_ms) == (ms(3), None, None)
    assert (run.dirty, run.urgent) == (True, True)


def test_a_prompt_that_the_queue_refused_says_so(recorder: Recorder) -> None:
    graph = {"1": node("A")}
    run = fed(recorder, queued("p", graph), PromptUnqueued("p", at(3), graph, "refused"))
    assert settled(run) == ("cancelled", [QUEUE_REFUSED])


def test_being_taken_from_the_queue_twice_is_one_cancellation(recorder: Recorder) -> None:
    graph = {"1": node("A")}
    run = fed(recorder, queued("p", graph), PromptUnqueued("p", at(3), graph), PromptUnqueued("p", at(9), graph, True))
    assert settled(run) == ("cancelled", [])
    assert run.record.ended_ms == ms(3)


@pytest.mark.parametrize("other", [{"1": node("A")}, {}])
def test_another_graph_or_another_id_is_not_cancelled(recorder: Recorder, other: dict[str, Any]) -> None:
    graph = {"1": node("A")}
    assert fed(recorder, queued("p", graph), PromptUnqueued("p", at(3), other)).final is None
    assert fed(recorder, PromptUnqueued("q", at(3), graph)).final is None


def test_a_running_prompt_is_not_cancelled(recorder: Recorder) -> None:
    graph = {"1": node("A")}
    assert fed(recorder, queued("p", graph), started(), PromptUnqueued("p", at(3), graph)).final is None


def test_the_right_one_of_two_runs_of_an_id_is_cancelled(recorder: Recorder) -> None:
    graphs = [{"1": node("A")}, {"1": node("A")}]
    for graph in graphs:
        recorder.apply(queued("p", graph))
    recorder.apply(PromptUnqueued("p", at(3), graphs[1]))
    assert [run.final for run in recorder.runs] == [None, "cancelled"]


@pytest.mark.parametrize(("number", "kept"), [(None, None), (7, 7.0), (-1.5, -1.5), (float("nan"), None), ("x", None)])
def test_a_queue_number_may_be_anything(recorder: Recorder, number: Any, kept: float | None) -> None:
    assert fed(recorder, queued(number=number)).record.queue_number == kept


def test_a_queue_number_too_large_for_a_float_is_unknown(recorder: Recorder) -> None:
    assert fed(recorder, queued(number=10**400)).record.queue_number is None


@pytest.mark.parametrize("batch", [None, {"attempt": "not a number"}, {"run_id": 3}])
def test_a_batch_that_is_none_is_null(recorder: Recorder, batch: Any) -> None:
    assert fed(recorder, queued(batch=batch)).record.batch is None


def test_names_are_cut_and_cleaned(recorder: Recorder) -> None:
    run = fed(recorder, queued(client_id="\ud800" + "c" * 999, workflow_name=7))
    assert run.record.client_id == "\\ud800" + "c" * (MAX_ID - 1)
    assert run.record.workflow_name is None


# ---------------------------------------------------------------- runs of one id


def test_a_prompt_id_posted_again_is_a_new_run(recorder: Recorder) -> None:
    for event in (queued(), queued(), queued("q"), queued()):
        recorder.apply(event)
    assert [(run.record.prompt_id, run.record.run_number) for run in recorder.runs] == [
        ("p", 1),
        ("p", 2),
        ("q", 1),
        ("p", 3),
    ]


def test_run_numbers_go_on_from_the_store() -> None:
    recorder = Recorder("me", {"p": 4}.get)  # type: ignore[arg-type]
    recorder._last_run_number = lambda prompt_id: {"p": 4}.get(prompt_id, 0)
    for event in (queued(), queued(), queued("q")):
        recorder.apply(event)
    assert [run.record.run_number for run in recorder.runs] == [5, 6, 1]


def test_a_run_is_found_by_number_else_the_running_one_else_the_newest(recorder: Recorder) -> None:
    assert recorder.find("p") is None
    for event in (queued(number=1), queued("q"), queued(number=2), queued(number=3)):
        recorder.apply(event)
    one, _, two, three = recorder.runs
    assert recorder.find("p") is three
    assert recorder.find("p", 2) is two
    assert recorder.find("p", 9) is None
    assert recorder.find("q", 2) is None
    recorder.apply(started(number=1))
    assert recorder.find("p") is one
    assert recorder.running() is recorder.running("p") is one
    assert recorder.running("q") is None
    recorder.apply(done())
    assert recorder.find("p") is one
    recorder.drop(one)
    assert recorder.find("p") is three
    assert recorder.running() is None


def test_the_run_with_the_queue_s_number_starts_else_the_oldest(recorder: Recorder) -> None:
    for number in (1, 2, 3):
        recorder.apply(queued(number=number))
    recorder.apply(started(number=2))
    assert [run.record.status for run in recorder.runs] == ["queued", "running", "queued"]
    recorder.apply(done())
    recorder.apply(started(number=99))
    assert [run.record.status for run in recorder.runs] == ["running", "running", "queued"]
    recorder.apply(done())
    recorder.apply(started())
    assert recorder.running() is recorder.runs[2]


def test_a_run_with_a_higher_number_is_not_taken_for_the_one_that_is_asked_for(recorder: Recorder) -> None:
    for number in (3, 1, 2):
        recorder.apply(queued(number=number))
    recorder.apply(started(number=1))
    assert [run.started is not None for run in recorder.runs] == [False, True, False]
    recorder.drop(recorder.runs[0])
    assert recorder.find("p", 1) is None


ORDERS = list(itertools.permutations(("met", "met again", "started")))


@pytest.mark.parametrize("told", [True, False], ids=["told", "untold"])
@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
def test_a_prompt_that_is_met_in_the_queue_is_one_run_however_late_or_often(
    recorder: Recorder, order: tuple[str, ...], told: bool
) -> None:
    """`put` is told before the prompt can be met or starts; where it isn't, the start finds it in the queue."""
    one = queued("p", GRAPH, number=7)
    events: dict[str, Event] = {"met": PromptMet(one), "met again": PromptMet(one)}
    events["started"] = started("p", number=7, found=one)
    run = fed(recorder, *[one][: int(told)], *(events[name] for name in order))
    assert (run.record.status, run.record.run_number, run.record.queue_number) == ("running", 1, 7.0)
    assert run.record.notes == ([] if told else [UNTOLD_QUEUED])
    assert (run.record.queued_ms is None) is not told


def test_another_prompt_of_the_same_id_is_met_beside_the_first(recorder: Recorder) -> None:
    recorder.apply(queued("p", GRAPH, number=1))
    recorder.apply(PromptMet(queued("p", dict(GRAPH), number=2)))
    assert [run.record.run_number for run in recorder.runs] == [1, 2]


def test_a_cancelled_run_never_starts(recorder: Recorder) -> None:
    graph = {"1": node("A")}
    for event in (queued("p", graph), PromptUnqueued("p", at(1), graph), queued("p"), started()):
        recorder.apply(event)
    assert [run.started is not None for run in recorder.runs] == [False, True]


def fresh(text: str) -> str:
    """An equal text that is another object, as one that came by another way is."""
    return "".join(list(text))


def test_texts_and_numbers_are_compared_by_what_they_say(recorder: Recorder) -> None:
    graph = {"node-1": node("A"), "node-9": marker_node()}
    recorder.apply(queued(fresh("prompt"), graph, number=float("1e9")))
    recorder.apply(queued(fresh("prompt"), graph, number=float("2e9")))
    assert [run.record.run_number for run in recorder.runs] == [1, 2]
    recorder.apply(started(fresh("prompt"), number=float("2e9")))
    first, second = recorder.runs
    assert recorder.find(fresh("prompt")) is second
    recorder.apply(begin(fresh("node-1"), prompt_id=fresh("prompt")))
    recorder.apply(steps(fresh("node-1"), 1, 2, fresh("prompt")))
    recorder.apply(ran(fresh("node-9"), when=fresh(INPUTS_READY), prompt_id=fresh("prompt")))
    recorder.apply(outcome(fresh("prompt"), fresh("error"), node_id=fresh("node-1")))
    assert second.record.plan is not None
    assert len(second.record.plan.requests) == 1
    assert len(second.markers.ready) == 1
    assert second.nodes["node-1"].value == 1
    assert second.nodes["node-1"].error is second.record.error is not None
    recorder.apply(done(fresh("prompt")))
    recorder.apply(PromptUnqueued(fresh("prompt"), at(9), graph))
    assert [run.final for run in recorder.runs] == ["cancelled", "error"]
    assert recorder.find("prompt", 2) is second
    third = [queued("prompt", number=number) for number in range(300)]
    for event in third:
        recorder.apply(event)
    assert recorder.find("prompt", int("299")) is recorder.runs[298]
    assert first is recorder.runs[0]


@pytest.mark.parametrize("other", ["a", "z"])
def test_prompts_of_other_ids_are_left_alone_however_they_sort(recorder: Recorder, other: str) -> None:
    graph = {"1": node("A")}
    for event in (queued(other, graph), queued("p", graph), started("p"), begin("1"), steps("1", 1, 2)):
        recorder.apply(event)
    left, run = recorder.runs
    assert [one.record.run_number for one in recorder.runs] == [1, 1]
    assert recorder.find("p") is run
    assert (left.started, left.nodes, run.nodes["1"].value) == (None, {}, 1)
    recorder.apply(done("p"))
    recorder.apply(started(other))
    recorder.apply(begin("1", prompt_id=other))
    recorder.apply(steps("1", 5, 6))
    assert (left.nodes["1"].value, run.nodes["1"].value) == (None, 5)
    recorder.apply(queued("p", graph))
    assert recorder.runs[-1].record.run_number == 2
    assert recorder.find(other) is left


# ---------------------------------------------------------------- silent seams


def test_a_prompt_that_starts_unseen_is_recorded_and_says_what_is_not_known(recorder: Recorder) -> None:
    run = fed(recorder, started())
    assert settled(run) == (None, [UNSEEN])
    assert (run.record.status, run.record.started_ms, run.record.queued_ms) == ("running", ms(1), None)
    assert (run.record.queue_wait_seconds, run.record.queue_number, run.queued) == (None, None, None)
    assert (run.record.node_total, run.record.markers) == (0, [])
    fed(recorder, begin("1"), finish("1"), outcome(), done())
    assert run.final == "success"
    assert run.record.node_total == 1


def test_a_prompt_that_is_found_in_the_queue_at_its_start_has_its_graph_but_no_time(recorder: Recorder) -> None:
    found = queued("p", {"3": saver("a"), "9": marker_node(filename_prefix="a")}, number=4, when=at(0))
    run = fed(recorder, started(found=found))
    assert settled(run) == (None, [UNTOLD_QUEUED])
    assert (run.record.queued_ms, run.queued, run.record.queue_wait_seconds) == (None, None, None)
    assert (run.record.queue_number, run.record.node_total) == (4, 2)
    assert run.wants_marker


def test_a_prompt_that_was_seen_is_not_taken_from_the_queue_again(recorder: Recorder) -> None:
    run = fed(recorder, queued(), started(found=queued()))
    assert settled(run) == (None, [])
    assert run.record.queued_ms == ms(0)


@pytest.mark.parametrize("event", [outcome(), done(), begin("1"), finish("1")])
def test_where_the_start_was_not_told_whatever_comes_next_starts_the_prompt(recorder: Recorder, event: Event) -> None:
    run = fed(recorder, queued(), event)
    assert UNTOLD_START in run.record.notes
    assert (run.record.status, run.record.started_ms, run.record.queue_wait_seconds) == ("running", None, None)
    assert run.started is not None


def test_a_start_that_was_not_told_is_taken_at_the_end_where_that_is_all_there_is(recorder: Recorder) -> None:
    run = fed(recorder, queued(), done())
    assert run.final == "success"
    assert run.started == at(6)
    assert set(run.record.notes) == {UNTOLD_START, UNTOLD_NODES}
    assert run.record.ended_ms == ms(6)


def test_a_node_of_a_prompt_that_nothing_is_known_of_is_passed_over(recorder: Recorder) -> None:
    for event in (begin("1"), finish("1"), steps("1", 1, 2), cached("1"), outcome(), done()):
        recorder.apply(event)
    assert not recorder.runs


def test_a_run_without_any_moment_cannot_be_started_by_a_node(recorder: Recorder) -> None:
    run = fed(recorder, queued())
    run.queued = None
    assert fed(recorder, begin("1")).started is None
    assert run.nodes == {}


def test_outputs_and_nodes_that_were_not_told_are_noted(recorder: Recorder) -> None:
    run = fed(recorder, queued(), started(), outcome(), done(outputs=None))
    assert settled(run) == ("success", [UNTOLD_OUTPUTS, UNTOLD_NODES])
    assert run.reported is None


def test_the_next_start_ends_a_prompt_whose_end_was_not_told(recorder: Recorder) -> None:
    for event in (queued("p"), queued("q"), started("p"), begin("1"), started("q", at(8))):
        recorder.apply(event)
    first, second = recorder.runs
    assert settled(first) == ("abandoned", [UNTOLD_END])
    assert (first.record.ended_ms, first.record.duration_seconds) == (ms(8), 7.0)
    assert settled(second) == (None, [])


def test_the_next_start_ends_a_prompt_whose_files_were_not_told(recorder: Recorder) -> None:
    for event in (queued("p"), queued("q"), started("p"), begin("1"), outcome("p"), started("q", at(8))):
        recorder.apply(event)
    assert settled(recorder.runs[0]) == ("success", [UNTOLD_OUTPUTS])
    assert recorder.runs[0].record.ended_ms == ms(5)


@pytest.mark.parametrize(
    ("waited", "final"), [(DONE_PATIENCE_SECONDS - 0.01, None), (DONE_PATIENCE_SECONDS, "success")]
)
def test_files_that_are_never_told_are_waited_for_five_seconds(
    recorder: Recorder, waited: float, final: str | None
) -> None:
    run = fed(recorder, queued(), started(), begin("1"), outcome())
    recorder.give_up_waiting(at(5 + waited).mono)
    assert settled(run) == (final, [UNTOLD_OUTPUTS] if final else [])
    assert run.record.ended_ms == (ms(5) if final else None)


def test_files_are_given_up_however_late_that_is_noticed(recorder: Recorder) -> None:
    run = fed(recorder, queued(), started(), begin("1"), outcome())
    recorder.give_up_waiting(at(5 + 10 * DONE_PATIENCE_SECONDS).mono)
    assert run.final == "success"
    assert DONE_PATIENCE_SECONDS == 5.0


def test_nothing_else_is_given_up(recorder: Recorder) -> None:
    for event in (queued("p"), queued("q"), started("p"), begin("1")):
        recorder.apply(event)
    recorder.give_up_waiting(1e9)
    assert [run.final for run in recorder.runs] == [None, None]
    for event in (outcome("p"), done("p")):
        recorder.apply(event)
    recorder.give_up_waiting(1e9)
    assert settled(recorder.runs[0]) == ("success", [])


def test_what_is_told_of_an_ended_run_changes_nothing(recorder: Recorder) -> None:
    run = fed(recorder, queued("p", GRAPH), started(), begin("1"), finish("1"), outcome(), done())
    before = (run.final, run.ended, dict(run.nodes), list(run.record.notes), run.reported)
    run = fed(recorder, begin("2"), finish("2"), cached("2"), outcome(status="error"), done(outputs=None))
    assert (run.final, run.ended, dict(run.nodes), run.record.notes, run.reported) == before
    assert run.record.error is None


# ---------------------------------------------------------------- nodes


def test_a_node_has_its_place_times_class_and_title(recorder: Recorder) -> None:
    for event in (queued("p", GRAPH), started()):
        recorder.apply(event)
    saved(recorder)
    run = fed(recorder, begin("1", 2))
    assert (run.dirty, run.urgent) == (True, False)
    assert run.record.current_node == CurrentNode(node_id="1", class_type="EmptyImage", title="an image")
    run = fed(recorder, finish("1", 2.5), begin("2", 3), finish("2", 4))
    one, two = run.nodes.values()
    assert (one.seq, one.node_id, one.class_type, one.title, one.cached) == (0, "1", "EmptyImage", "an image", False)
    assert (one.started_ms, one.duration_seconds) == (ms(2), 0.5)
    assert (one.display_node_id, one.parent_node_id, one.error) == ("1", None, None)
    assert (two.seq, two.title, two.class_type, two.duration_seconds) == (1, None, "ImageInvert", 1.0)
    assert run.record.current_node is None
    assert run.first_node_mono == at(2).mono


def test_the_finish_of_a_node_is_news(recorder: Recorder) -> None:
    for event in (queued("p", GRAPH), started(), begin("1", 2)):
        recorder.apply(event)
    saved(recorder)
    assert fed(recorder, finish("1")).dirty


def test_a_list_mapped_node_is_one_node(recorder: Recorder) -> None:
    updates = [steps("1", value, 4) for value in (1, 2, 3, 4, 1, 2, 3, 4)]
    run = fed(recorder, queued("p", GRAPH), started(), begin("1", 2), *updates, finish("1", 6))
    assert len(run.nodes) == 1
    assert (run.nodes["1"].duration_seconds, run.nodes["1"].value, run.nodes["1"].progress_max) == (4.0, 4.0, 4.0)
    assert run.record.node_executed == 1


def test_a_lazy_node_is_one_node_from_its_first_start(recorder: Recorder) -> None:
    for event in (queued("p", GRAPH), started(), begin("2", 2), begin("1", 3), finish("1", 4)):
        recorder.apply(event)
    saved(recorder)
    run = fed(recorder, begin("2", 5))
    assert not run.dirty
    run = fed(recorder, finish("2", 6))
    assert [node.node_id for node in run.nodes.values()] == ["2", "1"]
    assert (run.nodes["2"].started_ms, run.nodes["2"].duration_seconds) == (ms(2), 4.0)
    assert run.record.node_executed == 2
    assert run.first_node_mono == at(2).mono


def test_async_nodes_overlap_and_the_last_started_is_the_current_one(recorder: Recorder) -> None:
    run = fed(recorder, queued("p", GRAPH), started(), begin("1", 2), begin("2", 3), steps("1", 5, 9))
    assert run.record.current_node is not None
    assert run.record.current_node.node_id == "2"
    assert run.record.current_node.value is None
    run = fed(recorder, finish("2", 4))
    assert run.record.current_node == CurrentNode(
        node_id="1", class_type="EmptyImage", title="an image", value=5, max=9
    )
    run = fed(recorder, finish("1", 7))
    assert [node.duration_seconds for node in run.nodes.values()] == [5.0, 1.0]


def test_a_cached_output_node_finishes_without_a_start(recorder: Recorder) -> None:
    run = fed(recorder, queued("p", GRAPH), started(), finish("3"))
    assert run.nodes["3"].cached
    assert (run.nodes["3"].started_ms, run.nodes["3"].duration_seconds) == (None, None)
    assert (run.record.node_cached, run.record.node_executed) == (1, 0)
    assert run.is_cached("3")
    assert run.first_node_mono is None


def test_cached_nodes_are_told_in_the_graph_s_order_and_count(recorder: Recorder) -> None:
    for event in (queued("p", GRAPH), started()):
        recorder.apply(event)
    saved(recorder)
    run = fed(recorder, cached("2", "1", "1.0.0.4"))
    assert [(node.node_id, node.cached, node.class_type) for node in run.nodes.values()] == [
        ("1", True, "EmptyImage"),
        ("2", True, "ImageInvert"),
    ]
    assert run.dirty
    assert (run.record.node_total, run.record.node_cached) == (3, 2)
    assert [run.is_cached(node_id) for node_id in ("1", "2", "3", "1.0.0.4", "x")] == [True, True, False, True, False]


def test_a_node_that_was_called_cached_and_runs_all_the_same_is_not(recorder: Recorder) -> None:
    run = fed(recorder, queued("p", GRAPH), started(), cached("1"), begin("1", 2), finish("1", 3))
    assert not run.nodes["1"].cached
    assert not run.is_cached("1")
    assert (run.record.node_cached, run.record.node_executed) == (0, 1)


def test_a_second_finish_changes_nothing(recorder: Recorder) -> None:
    run = fed(recorder, queued("p", GRAPH), started(), begin("1", 2), finish("1", 3), finish("1", 9))
    assert (run.nodes["1"].duration_seconds, run.nodes["1"].cached) == (1.0, False)


def test_an_expanded_graph_keeps_parent_and_display_node(recorder: Recorder) -> None:
    inner = ExpandedNode("ImageInvert", "inner", "1", "1")
    deeper = ExpandedNode("ImageBlur", None, "1", "1.0.0.1")
    run = fed(
        recorder,
        *(queued("p", GRAPH), started(), begin("1", 2)),
        *(begin("1.0.0.1", 3, expanded=inner), finish("1.0.0.1", 4, expanded=inner)),
        *(begin("1.0.0.1.0.0.2", 4, expanded=deeper), finish("1.0.0.1.0.0.2", 5, expanded=deeper)),
        finish("1", 6),
    )
    first, second = list(run.nodes.values())[1:]
    assert (first.class_type, first.title, first.display_node_id, first.parent_node_id) == (
        "ImageInvert",
        "inner",
        "1",
        "1",
    )
    assert (second.class_type, second.title, second.parent_node_id) == ("ImageBlur", None, "1.0.0.1")
    assert (run.record.node_total, run.record.node_executed) == (5, 3)


def test_an_expanded_node_found_cached_is_known_by_its_finish(recorder: Recorder) -> None:
    inner = ExpandedNode("SaveImage", None, "1", "1")
    run = fed(recorder, queued("p", GRAPH), started(), finish("1.0.0.1", expanded=inner))
    assert (run.nodes["1.0.0.1"].cached, run.nodes["1.0.0.1"].class_type) == (True, "SaveImage")


@pytest.mark.parametrize(
    ("value", "most", "kept"),
    [
        (3, 20, (3.0, 20.0)),
        (0.5, 1, (0.5, 1.0)),
        (None, 20, (None, 20.0)),
        (float("nan"), float("inf"), (None, None)),
        ("x", [], (None, None)),
        (10**400, 1, (None, 1.0)),
    ],
)
def test_progress_is_kept_as_far_as_it_is_a_number(recorder: Recorder, value: Any, most: Any, kept: Any) -> None:
    for event in (queued("p", GRAPH), started(), begin("1")):
        recorder.apply(event)
    saved(recorder)
    run = fed(recorder, steps("1", value, most))
    assert (run.nodes["1"].value, run.nodes["1"].progress_max) == kept
    assert run.dirty


def test_progress_of_what_is_not_known_or_not_running_is_passed_over(recorder: Recorder) -> None:
    recorder.apply(queued("p", GRAPH))
    recorder.apply(steps("1", 1, 2))
    recorder.apply(started())
    saved(recorder)
    run = fed(recorder, steps("1", 1, 2), steps("1", 1, 2, "q"))
    assert (run.nodes, run.dirty) == ({}, False)


def test_the_last_progress_of_a_node_may_come_after_its_prompt_s_end(recorder: Recorder) -> None:
    run = fed(recorder, queued("p", GRAPH), started(), begin("1"), finish("1"), outcome(), done(), steps("1", 4, 4))
    assert run.nodes["1"].progress_max == 4.0


def test_progress_goes_to_the_run_that_has_started(recorder: Recorder) -> None:
    for event in (queued(number=1), queued(number=2), started(number=2), begin("1"), steps("1", 3, 4)):
        recorder.apply(event)
    assert [run.nodes["1"].value if run.nodes else None for run in recorder.runs] == [None, 3.0]


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({}, (None, None)),
        ({"1": None}, (None, None)),
        ({"1": {"class_type": "A"}}, ("A", None)),
        ({"1": {"class_type": 3, "_meta": {"title": 4}}}, (None, None)),
        ({"1": {"class_type": "A", "_meta": "x"}}, ("A", None)),
        ({"1": {"class_type": "A" * 300, "_meta": {"title": "T" * 300}}}, ("A" * 200, "T" * 200)),
    ],
)
def test_class_and_title_are_read_from_any_graph(
    graph: dict[str, Any], expected: tuple[str | None, str | None]
) -> None:
    assert described(graph, "1") == expected


def test_odd_ids_are_cleaned_for_the_store_and_nodes_are_found_by_what_the_host_calls_them(recorder: Recorder) -> None:
    inner = ExpandedNode("B", None, "a\ud800", "a\ud800")
    for event in (queued("p", {"a\ud800": node("A")}), started(), begin("a\ud800", 2)):
        recorder.apply(event)
    run = fed(recorder, begin("a\ud800.0.0.1", 3, expanded=inner), finish("a\ud800", 4))
    outer, part = run.nodes.values()
    assert (outer.node_id, outer.display_node_id, outer.class_type) == ("a\\ud800", "a\\ud800", "A")
    assert (part.node_id, part.display_node_id, part.parent_node_id) == ("a\\ud800.0.0.1", "a\\ud800", "a\\ud800")
    assert outer.duration_seconds == 2.0
    assert run.record.current_node is not None
    assert run.record.current_node.node_id == "a\\ud800.0.0.1"
    run = fed(recorder, failed(node_id="a\ud800"))
    assert part.error is run.record.error
    assert run.record.error is not None
    assert run.record.error.node_id == "a\\ud800"


def test_between_nodes_there_is_no_current_one(recorder: Recorder) -> None:
    run = fed(recorder, queued("p", GRAPH), started())
    assert run.current_node() is None
    assert fed(recorder, begin("1"), finish("1")).record.current_node is None


# ---------------------------------------------------------------- errors


def failed(**more: Any) -> Event:
    given = {"node_id": "1", "class_type": "EmptyImage", "exception_type": "ValueError", "message": "no"}
    return outcome(status="error", **{**given, **more})


def test_an_error_is_told_of_the_prompt_and_of_its_node(recorder: Recorder) -> None:
    run = fed(
        recorder, queued("p", GRAPH), started(), begin("1", 2), failed(message="no /home/me/x"), done(succeeded=False)
    )
    error = run.record.error
    assert error is not None
    assert error.model_dump() == {
        "node_id": "1",
        "class_type": "EmptyImage",
        "exception_type": "ValueError",
        "message": "no <path>",
    }
    assert run.nodes["1"].error == error
    assert run.nodes["1"].duration_seconds == 3.0
    assert settled(run) == ("error", [])
    assert run.record.node_executed == 0


def test_an_error_message_is_redacted_as_the_recorder_was_told(recorder: Recorder) -> None:
    shouting = Recorder("me", lambda _prompt_id: 0, str.upper)
    assert fed(shouting, queued(), started(), failed(message="quiet")).record.error.message == "QUIET"  # type: ignore[union-attr]
    assert fed(recorder, queued(), started(), failed(message=None)).record.error.message == ""  # type: ignore[union-attr]


def test_nodes_that_ran_beside_the_failed_one_have_a_duration_and_no_error(recorder: Recorder) -> None:
    run = fed(recorder, queued("p", GRAPH), started(), begin("1", 2), begin("2", 3), failed(node_id="2"))
    assert run.nodes["1"].error is None
    assert run.nodes["1"].duration_seconds == 3.0
    assert run.nodes["2"].error is run.record.error


def test_an_error_inside_an_expanded_node_belongs_to_all_of_its_open_parts(recorder: Recorder) -> None:
    inner = ExpandedNode("A", None, "1", "1")
    deep = ExpandedNode("B", None, "1", "1.0.0.1")
    other = ExpandedNode("C", None, "2", "2")
    run = fed(
        recorder,
        *(queued("p", GRAPH), started(), begin("1", 2), begin("1.0.0.1", 3, expanded=inner)),
        *(begin("1.0.0.1.0.0.1", 3, expanded=deep), begin("2.0.0.1", 3, expanded=other), failed(node_id="1")),
    )
    assert {node_id for node_id, node in run.nodes.items() if node.error is not None} == {
        "1",
        "1.0.0.1",
        "1.0.0.1.0.0.1",
    }


def test_an_error_belongs_to_open_parts_whose_root_has_not_been_seen(recorder: Recorder) -> None:
    run = fed(
        recorder,
        *(queued("p", GRAPH), started(), begin("x", expanded=ExpandedNode(None, None, None, "y"))),
        *(begin("y", expanded=ExpandedNode(None, None, None, "1")), failed(node_id="1")),
    )
    assert all(node.error is run.record.error for node in run.nodes.values())


@pytest.mark.parametrize("root", ["0", "2"])
def test_an_error_of_another_node_is_not_a_node_s_own(recorder: Recorder, root: str) -> None:
    run = fed(recorder, queued("p", GRAPH), started(), begin("1"), failed(node_id=root))
    assert run.nodes["1"].error is None


def test_parents_in_a_circle_do_not_hold_anyone_up(recorder: Recorder) -> None:
    run = fed(
        recorder,
        *(queued("p", GRAPH), started(), begin("x", expanded=ExpandedNode(None, None, None, "y"))),
        *(begin("y", expanded=ExpandedNode(None, None, None, "x")), failed(node_id="1")),
    )
    assert all(node.error is None for node in run.nodes.values())


@pytest.mark.parametrize("node_id", [None, "unknown"])
def test_an_error_of_no_known_node_is_the_prompt_s_alone(recorder: Recorder, node_id: str | None) -> None:
    run = fed(recorder, queued("p", GRAPH), started(), begin("1", 2), failed(node_id=node_id))
    assert run.record.error is not None
    assert run.nodes["1"].error is None
    assert run.nodes["1"].duration_seconds == 3.0


def test_an_interrupted_node_has_a_duration_and_no_error(recorder: Recorder) -> None:
    run = fed(recorder, queued("p", GRAPH), started(), begin("1", 2), outcome(status="interrupted"), done())
    assert run.final == "interrupted"
    assert (run.record.error, run.nodes["1"].error, run.nodes["1"].duration_seconds) == (None, None, 3.0)


def test_an_open_node_of_a_success_keeps_no_duration(recorder: Recorder) -> None:
    run = fed(recorder, queued("p", GRAPH), started(), begin("1", 2), outcome(), done())
    assert run.nodes["1"].duration_seconds is None


# ---------------------------------------------------------------- the worker


def test_a_worker_that_dies_in_a_node_makes_an_error_of_that_node(recorder: Recorder) -> None:
    run = fed(recorder, queued("p", GRAPH), started(), begin("1", 2), WorkerDied(at(4), "p"))
    assert settled(run) == ("error", [UNTOLD_OUTPUTS])
    assert run.record.error is not None
    assert (run.record.error.node_id, run.record.error.class_type) == ("1", "EmptyImage")
    assert run.record.error.exception_type is None
    assert run.record.error.message == WORKER_DIED
    assert run.nodes["1"].error is run.record.error
    assert run.record.ended_ms == ms(4)
    assert run.record.duration_seconds == 3.0


def test_a_worker_that_dies_between_nodes_makes_an_error_of_the_prompt(recorder: Recorder) -> None:
    run = fed(recorder, queued(), started(), WorkerDied(at(4), None))
    assert run.final == "error"
    assert run.record.error is not None
    assert run.record.error.node_id is None
    assert run.record.error.message == WORKER_DIED.replace("this node", "this prompt") != WORKER_DIED


def test_a_worker_that_dies_after_the_message_leaves_the_message_s_word(recorder: Recorder) -> None:
    run = fed(recorder, queued(), started(), begin("1"), outcome(), WorkerDied(at(7), "p"))
    assert settled(run) == ("success", [UNTOLD_OUTPUTS])
    assert run.record.error is None
    assert run.record.ended_ms == ms(5)


def test_a_worker_that_dies_idle_hurts_nobody(recorder: Recorder) -> None:
    run = fed(recorder, queued(), WorkerDied(at(4), None), WorkerDied(at(4), "q"))
    assert settled(run) == (None, [])


# ---------------------------------------------------------------- markers


def announced(**inputs: Any) -> PromptMarker:
    recorder = Recorder("me", lambda _prompt_id: 0)
    (marker,) = fed(recorder, queued("p", {"9": marker_node(**inputs)})).record.markers
    return marker


@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        ("a", "a.done"),
        ("shot//a", "shot/a.done"),
        ("", None),
        (["4", 0], None),
        ("%year%", None),
        ("a%width%", None),
        ("%prompt_id%", None),
        ("../a", None),
    ],
)
def test_a_marker_is_announced_with_its_path_as_far_as_that_is_known(prefix: Any, path: str | None) -> None:
    assert announced(filename_prefix=prefix) == PromptMarker(path=path, status="due")


@pytest.mark.parametrize(
    ("prefix", "why"),
    [
        ("a", "ComfyUI refused its inputs"),
        ("", "ComfyUI refused its inputs"),
        ("../a", "filename_prefix '../a' leads upwards by '..'; markers stay inside the output folder"),
    ],
)
def test_a_refused_marker_is_noted_with_its_reason(recorder: Recorder, prefix: str, why: str) -> None:
    graph = {"3": saver("a"), "9": marker_node(filename_prefix=prefix)}
    run = fed(recorder, queued("p", graph, accepted={"3"}))
    assert run.record.markers == [PromptMarker(path=None, status="refused")]
    assert run.record.notes == [f"marker node 9 was refused: {why}"]
    assert run.record.plan is None


def test_a_marker_is_planned_with_the_savers_of_its_graph(recorder: Recorder) -> None:
    graph = {"3": saver("a"), "8": marker_node(filename_prefix="b"), "9": marker_node()}
    run = fed(recorder, queued("p", graph, accepted={"3", "9"}))
    assert run.wants_marker
    assert run.record.plan is not None
    assert run.record.plan.savers == {"3": "a"}
    assert [(request.node_id, request.refused) for request in run.record.plan.requests] == [("8", True), ("9", False)]
    assert [marker.status for marker in run.record.markers] == ["refused", "due"]


def ran(
    node_id: str = "9", prefix: str = "wired", when: str = "prompt completes", prompt_id: str = "p", **more: Any
) -> MarkerRun:
    return MarkerRun(prompt_id, node_id, prefix, when, WRITE_NOTHING, True, **more)


def test_a_marker_that_ran_teaches_the_plan_what_was_wired(recorder: Recorder) -> None:
    graph = {"8": marker_node(), "9": marker_node(filename_prefix=["4", 0])}
    for event in (queued("p", graph), started()):
        recorder.apply(event)
    saved(recorder)
    run = fed(recorder, ran())
    assert run.record.plan is not None
    assert run.record.plan.requests == [
        MarkerRequest("8"),
        MarkerRequest("9", "wired", on_failure=WRITE_NOTHING, hash_files=True, ran=True),
    ]
    assert len(run.record.markers) == 2
    assert (run.dirty, run.markers.ready) == (True, [])


def test_a_marker_inside_an_expanded_graph_joins_the_plan(recorder: Recorder) -> None:
    run = fed(recorder, queued("p", {"3": saver("a"), "5": node("Expander")}), started(), ran("5.0.0.1"))
    assert run.record.plan is not None
    assert run.record.plan.savers == {"3": "a"}
    assert run.record.plan.requests == [
        MarkerRequest("5.0.0.1", "wired", on_failure=WRITE_NOTHING, hash_files=True, ran=True)
    ]
    assert [marker.status for marker in run.record.markers] == ["due"]
    assert run.wants_marker


def test_a_second_marker_inside_an_expanded_graph_joins_too(recorder: Recorder) -> None:
    run = fed(recorder, queued("p", {"9": marker_node()}), started(), ran("5.0.0.1"), ran("5.0.0.2"), ran("5.0.0.1"))
    assert run.record.plan is not None
    assert [request.node_id for request in run.record.plan.requests] == ["9", "5.0.0.1", "5.0.0.2"]
    assert len(run.record.markers) == 3


def test_a_marker_whose_inputs_are_ready_is_left_for_the_writer(recorder: Recorder) -> None:
    answer: Future[str] = Future()
    event = ran(when=INPUTS_READY, settled=answer)
    run = fed(recorder, queued("p", {"9": marker_node()}), started(), event)
    assert run.markers.ready == [event]
    assert not answer.done()


def test_a_marker_that_ran_in_no_running_prompt_is_answered_at_once(recorder: Recorder) -> None:
    answer: Future[str] = Future()
    run = fed(recorder, queued("p", {"9": marker_node()}), ran(when=INPUTS_READY, settled=answer), ran())
    assert answer.result(0) == ""
    assert run.markers.ready == []
    other: Future[str] = Future()
    fed(recorder, started(), ran(prompt_id="q", when=INPUTS_READY, settled=other))
    assert other.result(0) == ""


# ---------------------------------------------------------------- any order

NODES = st.sampled_from(["1", "2", "3", "1.0.0.1"])
IDS = st.sampled_from(["p", "q"])
MOMENTS = st.floats(0, 100, allow_nan=False).map(at)
A_GRAPH = {**GRAPH, "9": marker_node()}
EVENTS = st.one_of(
    st.builds(lambda i, w: queued(i, A_GRAPH, when=w), IDS, MOMENTS),
    st.builds(started, IDS, MOMENTS),
    st.builds(PromptUnqueued, IDS, MOMENTS, st.just(A_GRAPH), st.booleans()),
    st.builds(PromptCached, IDS, st.frozensets(NODES)),
    st.builds(lambda i, n, w: NodeStarted(i, n, w.mono), IDS, NODES, MOMENTS),
    st.builds(lambda i, n, w: NodeFinished(i, n, w.mono), IDS, NODES, MOMENTS),
    st.builds(NodeProgress, IDS, NODES, st.floats() | st.integers(), st.floats()),
    st.builds(outcome, IDS, st.sampled_from(["success", "error", "interrupted"]), MOMENTS, node_id=st.none() | NODES),
    st.builds(done, IDS, st.none() | st.just({}), MOMENTS, st.none() | st.booleans()),
    st.builds(lambda i, n: ran(n, prompt_id=i), IDS, NODES),
    st.builds(WorkerDied, MOMENTS, st.none() | IDS),
)


@given(st.lists(EVENTS, max_size=40))
def test_events_in_any_order_make_records_that_make_sense(events: list[Event]) -> None:
    recorder = Recorder("me", lambda _prompt_id: 0)
    for event in events:
        recorder.apply(event)
        recorder.give_up_waiting(150.0)
    for run in recorder.runs:
        run.refresh()
        record = run.record
        assert record.node_executed + record.node_cached <= record.node_total or not run.graph
        assert min(record.node_executed, record.node_cached) >= 0
        assert (record.duration_seconds or 0.0) >= 0
        assert (record.queue_wait_seconds or 0.0) >= 0
        assert (run.final is None) is (record.ended_ms is None)
        assert record.status == ("queued" if run.started is None else "running")
        assert [node.seq for node in run.nodes.values()] == list(range(len(run.nodes)))
    assert sum(run.started is not None and run.final is None for run in recorder.runs) <= 2
    numbers = [(run.record.prompt_id, run.record.run_number) for run in recorder.runs]
    assert len(set(numbers)) == len(numbers)
