"""What a graph asks of markers is read from the graph alone."""

from typing import Any

import pytest
from pydantic import TypeAdapter
from run_recorder.telemetry.markers.requests import INPUTS_READY, WRITE_NOTHING, MarkerPlan, MarkerRequest, plan_of
from run_recorder.telemetry.record.events import MarkerRun

from .support import marker_node, node, saver

ALL = frozenset("123456789")
STORED = TypeAdapter(MarkerPlan)


def only(inputs: dict[str, Any], accepted: frozenset[str] = ALL, restricted: bool | None = False) -> MarkerRequest:
    (request,) = plan_of({"9": marker_node(**inputs)}, accepted, restricted).requests
    return request


def test_a_marker_without_any_input_has_the_schema_s_defaults() -> None:
    assert only({}) == MarkerRequest("9", "", "prompt completes", "write .failed", False, False, [])


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"filename_prefix": "shot/a"}, MarkerRequest("9", "shot/a")),
        ({"filename_prefix": ["4", 0]}, MarkerRequest("9", None)),
        ({"when": INPUTS_READY}, MarkerRequest("9", when=INPUTS_READY)),
        ({"when": "whenever"}, MarkerRequest("9")),
        ({"on_failure": WRITE_NOTHING}, MarkerRequest("9", on_failure=WRITE_NOTHING)),
        ({"on_failure": ["4", 0]}, MarkerRequest("9")),
        ({"hash_files": True}, MarkerRequest("9", hash_files=True)),
        ({"hash_files": "yes"}, MarkerRequest("9")),
        ({"hash_files": 1}, MarkerRequest("9")),
        ({"after": ["4", 0]}, MarkerRequest("9")),
    ],
)
def test_what_a_marker_node_is_given_is_what_it_asks_for(inputs: dict[str, Any], expected: MarkerRequest) -> None:
    assert only(inputs) == expected


@pytest.mark.parametrize(
    ("accepted", "restricted", "requests"),
    [
        ({"9"}, False, [False]),
        ({"9"}, True, [False]),
        ({"9"}, None, [False]),
        ({"1"}, False, [True]),
        ({"1"}, True, []),
        ({"1"}, None, []),
    ],
)
def test_a_marker_that_was_not_accepted_was_refused_unless_targets_were_named(
    accepted: set[str], restricted: bool | None, requests: list[bool]
) -> None:
    plan = plan_of({"1": saver("a"), "9": marker_node()}, frozenset(accepted), restricted)
    assert [request.refused for request in plan.requests] == requests
    assert bool(plan) is (requests == [False])


def test_savers_are_the_nodes_with_a_literal_prefix() -> None:
    graph = {
        "1": saver("shot/a"),
        "2": node("SaveLatent", filename_prefix=""),
        "3": node("SaveImage", filename_prefix=["4", 0]),
        "4": node("PrimitiveString", value="x"),
        "9": marker_node(filename_prefix="m"),
    }
    assert plan_of(graph, ALL, False).savers == {"1": "shot/a", "2": ""}


@pytest.mark.parametrize("broken", [None, 3, "x", [], {}, {"inputs": None}, {"class_type": "SaveImage", "inputs": [1]}])
def test_a_broken_node_is_passed_over(broken: Any) -> None:
    plan = plan_of({"1": broken, "9": marker_node()}, ALL, False)
    assert (len(plan.requests), plan.savers) == (1, {})
    assert plan_of({"9": {"class_type": "WriteDoneMarker", "inputs": None}}, ALL, False).requests == [
        MarkerRequest("9")
    ]


def test_a_plan_survives_the_store() -> None:
    plan = MarkerPlan([MarkerRequest("9", None, INPUTS_READY, WRITE_NOTHING, True, True, ["x.done"])], {"1": "a"})
    assert STORED.validate_python(plan.dump()) == plan
    assert not plan
    assert not MarkerPlan()
    assert MarkerPlan([MarkerRequest("9"), MarkerRequest("8", refused=True)])


def test_a_request_learns_what_the_node_was_given() -> None:
    request = MarkerRequest("9", None)
    request.learn(MarkerRun("p", "9", "wired", INPUTS_READY, WRITE_NOTHING, True))
    assert request == MarkerRequest("9", "wired", INPUTS_READY, WRITE_NOTHING, True, ran=True)


def test_what_a_graphs_texts_say_is_known_to_this_process_alone() -> None:
    plan = plan_of({"3": node("PathSave", path="ps", filename="a red fox"), "9": marker_node()}, ALL, False)
    assert "ps/a red fox" in plan.others["3"]
    assert "fox" not in str(plan.dump())
    assert STORED.validate_python(plan.dump()).others == {}
