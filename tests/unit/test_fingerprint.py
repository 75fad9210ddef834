"""Fingerprints tell workflows, settings and graphs apart by what matters to each, and by nothing else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_recorder.telemetry.models.settings import settings_id
from run_recorder.telemetry.record.fingerprint import LARGEST, MAX_CHOICE, fingerprints, graph_digest, settings_of

from .support import node

Graph = dict[str, Any]


def is_choice(class_type: str, name: str, value: str) -> bool:
    return (class_type, name) in {("Sampler", "sampler_name"), ("Load", "ckpt_name")} and "private" not in value


def settings(graph: Graph) -> str:
    return fingerprints(graph, is_choice)[1]


def workflow_fingerprint(graph: Graph) -> str:
    return fingerprints(graph, is_choice)[0]


def example(**changes: Any) -> Graph:
    sampler = {"seed": 1, "noise_seed": 2, "steps": 20, "cfg": 7.5, "tiled": True, "sampler_name": "euler", **changes}
    return {
        "1": node("Load", ckpt_name="a.safetensors"),
        "2": node("Text", text="a cat", clip=["1", 1]),
        "3": node("Sampler", model=["1", 0], positive=["2", 0], **sampler),
        "4": node("SaveImage", images=["3", 0], filename_prefix="a"),
    }


def changed(node_id: str, name: str, value: Any) -> Graph:
    graph = example()
    graph[node_id]["inputs"][name] = value
    return graph


@pytest.mark.parametrize(
    ("graph", "same_workflow", "same_settings"),
    [
        (example(), True, True),
        (changed("3", "seed", 99), True, True),
        (changed("3", "noise_seed", 99), True, True),
        (changed("2", "text", "a dog"), True, True),
        (changed("4", "filename_prefix", "b"), True, True),
        (changed("3", "cfg", 7.5), True, True),
        (changed("3", "steps", 20.0), True, True),
        (changed("3", "steps", float("nan")), True, False),
        (changed("3", "steps", 21), True, False),
        (changed("3", "cfg", 8.0), True, False),
        (changed("3", "tiled", False), True, False),
        (changed("3", "sampler_name", "dpm"), True, False),
        (changed("1", "ckpt_name", "b.safetensors"), True, False),
        (changed("3", "positive", ["1", 0]), False, False),
        (changed("3", "model", ["1", 1]), False, False),
        (changed("3", "extra", ["2", 0]), False, False),
        ({**example(), "5": node("PreviewImage", images=["3", 0])}, False, False),
        ({**example(), "4": node("PreviewImage", images=["3", 0], filename_prefix="a")}, False, False),
        ({key: example()[key] for key in ("1", "2", "3")}, False, False),
        (dict(reversed(example().items())), True, True),
    ],
)
def test_fingerprints_follow_what_matters(graph: Graph, same_workflow: bool, same_settings: bool) -> None:
    assert (workflow_fingerprint(graph) == workflow_fingerprint(example())) is same_workflow
    assert (settings(graph) == settings(example())) is same_settings


def test_the_ids_of_nodes_do_not_count() -> None:
    renamed = {
        "10": node("Load", ckpt_name="a.safetensors"),
        "x": node("Text", text="a cat", clip=["10", 1]),
    }
    original = {key: example()[key] for key in ("1", "2")}
    assert workflow_fingerprint(renamed) == workflow_fingerprint(original)
    assert settings(renamed) == settings(original)
    assert graph_digest(renamed, b"k") != graph_digest(original, b"k")


def test_two_nodes_alike_are_not_one() -> None:
    one = {"1": node("A")}
    assert workflow_fingerprint(one) != workflow_fingerprint({**one, "2": node("A")})


def test_fingerprints_begin_with_the_number_of_their_algorithm() -> None:
    assert workflow_fingerprint(example()).startswith("1:")
    assert settings(example()).startswith("2:")
    assert len(workflow_fingerprint(example())) <= 80


def test_a_chain_of_ten_thousand_nodes_is_no_recursion() -> None:
    graph = {str(number): node("N", source=[str(number - 1), 0]) for number in range(10_000)}
    assert workflow_fingerprint(graph) != workflow_fingerprint(dict(list(graph.items())[1:]))
    assert workflow_fingerprint(dict(reversed(graph.items()))) == workflow_fingerprint(graph)


@pytest.mark.parametrize(
    "graph",
    [
        {},
        {"1": None},
        {"1": {"class_type": None, "inputs": None}},
        {"1": {"inputs": [1]}},
        {"1": node("A", source=["1", 0])},
        {"1": node("A", source=["2", 0]), "2": node("B", source=["1", 0])},
        {"1": node("A", source=["missing", 0])},
        {"1": node("A", source=[1, 0], other=["1"], third=["1", 0, 0])},
        {"1": node("A", odd=object, deep={"x": [1]}, big=10**400, text="\ud800")},
        {"1": {"class_type": "A\ud800", "inputs": {"x": float("inf")}}},
    ],
)
def test_any_graph_has_fingerprints_and_a_digest(graph: Graph) -> None:
    assert workflow_fingerprint(graph) == workflow_fingerprint(graph)
    assert settings(graph)
    assert len(graph_digest(graph, b"k")) == 32


def test_a_diamond_is_told_from_a_copy() -> None:
    shared = {"1": node("A"), "2": node("B", x=["1", 0], y=["1", 0])}
    copied = {"1": node("A"), "3": node("A"), "2": node("B", x=["1", 0], y=["3", 0])}
    assert workflow_fingerprint(shared) != workflow_fingerprint(copied)


def test_a_graph_s_digest_follows_everything_and_needs_the_key() -> None:
    assert graph_digest(example(), b"k") == graph_digest(dict(reversed(example().items())), b"k")
    assert graph_digest(example(), b"k") != graph_digest(example(), b"l")
    assert graph_digest(example(), b"k") != graph_digest(changed("3", "seed", 99), b"k")
    assert graph_digest(example(), b"k") != graph_digest(changed("2", "text", "a dog"), b"k")
    titled = example()
    titled["1"]["_meta"] = {"title": "x"}
    assert graph_digest(titled, b"k") == graph_digest(example(), b"k")


@given(st.randoms(use_true_random=False), st.data())
def test_the_order_of_nodes_never_counts(random: Any, data: st.DataObject) -> None:
    graph: Graph = {}
    values = st.integers() | st.floats() | st.text(max_size=3)
    for number in range(data.draw(st.integers(0, 5))):
        links = st.tuples(st.sampled_from(["missing", *graph]), st.just(0)).map(list)
        graph[str(number)] = node(data.draw(st.sampled_from("AB")), x=data.draw(values | links), y=data.draw(links))
    order = list(graph.items())
    random.shuffle(order)
    assert workflow_fingerprint(dict(order)) == workflow_fingerprint(graph)
    assert settings(dict(order)) == settings(graph)


def test_settings_are_numbers_switches_and_choices_by_node_and_never_text_or_seeds() -> None:
    assert settings_of(example(), is_choice) == {
        "1": ("Load", {"ckpt_name": "a.safetensors"}),
        "3": ("Sampler", {"steps": 20, "cfg": 7.5, "tiled": True, "sampler_name": "euler"}),
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf"), LARGEST + 1, -LARGEST - 1, None, [1], {"a": 1}, "text"])
def test_what_is_no_setting_is_not_kept(value: Any) -> None:
    assert "steps" not in settings_of(changed("3", "steps", value), is_choice)["3"][1]


def test_what_is_no_value_of_the_list_is_text() -> None:
    private = changed("3", "sampler_name", "private words")
    assert "private" not in str(settings_of(private, is_choice))
    assert settings(private) == settings(changed("3", "sampler_name", "other private words"))


def test_a_graph_of_another_form_has_the_settings_that_can_be_read() -> None:
    graph: Graph = {"1": None, "2": {"inputs": 5}, "3": {"class_type": "A", "inputs": {7: 1, "b": 2}}, "4": node("B")}
    assert settings_of(graph, is_choice) == {"3": ("A", {"7": 1, "b": 2})}
    long = {"1": node("Load", ckpt_name="x" * 10_000)}
    assert len(str(settings_of(long, is_choice)["1"][1]["ckpt_name"])) <= MAX_CHOICE


def test_two_prompts_have_one_id_where_they_have_the_same_settings_node_by_node() -> None:
    def told(graph: Graph) -> str:
        return settings_id(settings_of(graph, is_choice))

    assert told(example()) == told(changed("3", "seed", 5)) == told(changed("2", "text", "a dog"))
    assert told(example()) == told(dict(reversed(example().items())))
    moved = {("8" if name == "3" else name): value for name, value in example().items()}
    assert len({told(one) for one in (example(), changed("3", "steps", 21), moved)}) == 3
