"""What ComfyUI refused of a graph, as its answer tells it: in a stable order, and of each output what it hangs on."""

import random
from typing import Any

import pytest
from run_recorder.telemetry.models.prompt import Refusal
from run_recorder.telemetry.models.text import natural_key
from run_recorder.telemetry.record import refusals as module
from run_recorder.telemetry.record.refusals import MAX_NODES, MAX_REASON, MAX_REASONS, faulty_nodes, upstream


def error(details: str, input_name: str | None = None, message: str = "Value not in list") -> dict[str, Any]:
    return {"message": message, "details": details, "extra_info": {"input_name": input_name} if input_name else {}}


def faulty(class_type: str, outputs: list[str], *errors: dict[str, Any]) -> dict[str, Any]:
    return {"class_type": class_type, "dependent_outputs": outputs, "errors": list(errors)}


def refusals(errors: dict[Any, Any], graph: dict[str, Any]) -> list[Refusal]:
    return module.refusals(faulty_nodes(errors, graph), graph)


GRAPH: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
    "3": {"class_type": "ImageScaleBy", "inputs": {"image": ["1", 0]}},
    "10": {"class_type": "SaveImage", "inputs": {"images": ["3", 0]}},
    "9": {"class_type": "ImageBlur", "inputs": {"image": ["3", 0]}},
    "11": {"class_type": "PreviewImage", "inputs": {"images": ["9", 0]}},
    "12": {"class_type": "SaveImage", "inputs": {"images": ["4", 0]}},
}


def test_an_output_is_refused_for_what_it_hangs_on() -> None:
    errors = {
        "9": faulty("ImageBlur", ["11", "12"], error("sigma", "sigma", "Value bigger than max")),
        "3": faulty("ImageScaleBy", ["11", "12", "10"], error("'no' not in list", "upscale_method")),
        "12": faulty("SaveImage", ["12"], error("images", "images", "Bad link")),
    }
    why = "node 3 (ImageScaleBy), input upscale_method: Value not in list 'no' not in list"
    told = refusals(errors, GRAPH)
    assert [(one.node_id, one.class_type) for one in told] == [
        ("10", "SaveImage"),
        ("11", "PreviewImage"),
        ("12", "SaveImage"),
    ]
    assert [one.reasons for one in told] == [
        [why],
        [why, "node 9 (ImageBlur), input sigma: Value bigger than max sigma"],
        ["node 12 (SaveImage), input images: Bad link images"],
    ]
    assert [(node.node_id, node.outputs) for node in faulty_nodes(errors, GRAPH)] == [
        ("3", ["10", "11"]),
        ("9", ["11"]),
        ("12", ["12"]),
    ]


def test_the_order_is_that_of_the_ids_whatever_the_answers_is() -> None:
    numbers = [str(number) for number in (2, 10, 9, 100, 30)] + ["5:2", "5:10"]
    for seed in range(20):
        random.Random(seed).shuffle(numbers)
        errors = {number: faulty("A", [number], error(number)) for number in numbers}
        graph = {number: {"class_type": "A", "inputs": {}} for number in numbers}
        ordered = ["2", "5:2", "5:10", "9", "10", "30", "100"]
        assert [one.node_id for one in refusals(errors, graph)] == ordered
        assert [one.node_id for one in faulty_nodes(errors, graph)] == ordered


def test_what_hangs_together_in_no_way_that_the_graph_shows_is_believed() -> None:
    errors = {"3": faulty("ImageScaleBy", ["2"], error("x"))}
    (told,) = refusals(errors, GRAPH)
    assert (told.node_id, told.reasons) == ("2", ["node 3 (ImageScaleBy): Value not in list x"])


@pytest.mark.parametrize(
    "errors",
    [
        {},
        {"3": None},
        {"3": []},
        {"3": {}},
        {3: {"dependent_outputs": "10"}},
        {"3": {"errors": {"message": "x"}, "dependent_outputs": None}},
        {"3": {"errors": [None, 1, "x"], "dependent_outputs": []}},
        {"3": {"errors": [{"extra_info": 3}], "dependent_outputs": {"10": 1}}},
    ],
)
def test_what_has_another_form_names_no_output(errors: dict[Any, Any]) -> None:
    assert refusals(errors, GRAPH) == []


@pytest.mark.parametrize(
    ("entry", "reasons"),
    [
        ({}, []),
        ({"errors": None}, []),
        ({"errors": [None, {"message": 3}]}, ["node 3 (?): 3"]),
        ({"errors": [{"message": "a\ud800\0b", "details": None}], "class_type": 7}, ["node 3 (7): a\\ud800b"]),
        ({"errors": [{"message": "x" * 5000}]}, [f"node 3 (?): {'x' * 5000}"[:MAX_REASON]]),
        ({"errors": [{"message": "x"}] * 50}, ["node 3 (?): x"] * MAX_REASONS),
    ],
)
def test_reasons_are_kept_as_far_as_they_are_any(entry: dict[str, Any], reasons: list[str]) -> None:
    (told,) = refusals({"3": {**entry, "dependent_outputs": ["10", None, ["x"], "10"]}}, GRAPH)
    assert (told.node_id, told.reasons) == ("10", reasons)


def test_there_is_an_end_to_what_is_looked_at() -> None:
    errors = {str(number): faulty("A", [str(number)], error("x")) for number in range(3 * MAX_NODES)}
    assert len(refusals(errors, {})) == MAX_NODES


@pytest.mark.parametrize(
    "node", [None, 3, {}, {"inputs": None}, {"inputs": {"a": ["9", 0], "b": ["x"], "c": [1, 0], "d": ["missing", 0]}}]
)
def test_upstream_ends_with_circles_and_what_is_no_node(node: Any) -> None:
    graph = {"9": {"inputs": {"a": ["8", 0]}}, "8": node}
    assert upstream(graph, "9") == {"9", "8"}


@pytest.mark.parametrize(
    "ordered",
    [
        ["", "0", "00", "01", "1", "2", "10", "a", "a1", "a02", "a2", "a10", "a10b", "b"],
        ["9" * 5000, "1" + "0" * 5000],
    ],
)
def test_numbers_are_counted_as_numbers(ordered: list[str]) -> None:
    assert sorted(random.Random(1).sample(ordered, len(ordered)), key=natural_key) == ordered
