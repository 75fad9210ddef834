"""Workflow patcher; workflow and mapping validation: a scene put into a template, and what is wrong with one."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from run_recorder.runner.patching import Mapped, Patched, PatchError, patch, read_mapping, under_another_prefix
from run_recorder.runner.scene_graph import needs_keyframe
from run_recorder.runner.story import Scene

TEMPLATE: dict[str, Any] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "__KEYFRAME_IMAGE__"}},
    "2": {
        "class_type": "CLIPTextEncode",
        "inputs": {"text": "film still, __SCENE_PROMPT__, 35mm"},
        "_meta": {"title": "Positive"},
    },
    "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "__NEGATIVE_PROMPT__"}},
    "4": {
        "class_type": "KSampler",
        "inputs": {"seed": "__SEED__", "steps": 20, "model": ["1", 0], "more": [{"deep": "__FRAMES__"}]},
    },
    "5": {"class_type": "SaveImage", "inputs": {"filename_prefix": "__SCENE_PREFIX__", "images": ["4", 0]}},
}


def scene(**more: Any) -> Scene:
    return Scene.model_validate(
        {"id": "scene-001", "prompt": "a house", "negative_prompt": "people", "expected_frames": 25, **more}
    )


def patched(template: dict[str, Any], one: Scene | None = None, **more: Any) -> Patched:
    given = {"prefix": "run/scene-001", "seed": 7, "keyframe": "key.png", **more}
    return patch(template, one or scene(), **given)


def test_placeholders_are_filled_and_the_template_is_not_changed() -> None:
    before = copy.deepcopy(TEMPLATE)
    graph = patched(TEMPLATE).graph
    assert before == TEMPLATE
    assert graph["1"]["inputs"]["image"] == "key.png"
    assert graph["2"]["inputs"]["text"] == "film still, a house, 35mm"
    assert graph["3"]["inputs"]["text"] == "people"
    assert graph["5"]["inputs"]["filename_prefix"] == "run/scene-001"


def test_a_number_stays_a_number() -> None:
    inputs = patched(TEMPLATE).graph["4"]["inputs"]
    assert inputs["seed"] == 7 and type(inputs["seed"]) is int
    assert inputs["more"] == [{"deep": 25}]
    assert inputs["model"] == ["1", 0]


def test_text_that_looks_like_a_placeholder_is_not_filled_again() -> None:
    assert "__SEED__" in patched(TEMPLATE, scene(prompt="a __SEED__ of doubt")).graph["2"]["inputs"]["text"]


def test_a_text_empty_in_the_story_stays_empty() -> None:
    assert patched(TEMPLATE, scene(negative_prompt="")).graph["3"]["inputs"]["text"] == ""


def test_an_unknown_placeholder_is_named_with_its_node() -> None:
    bad = {"9": {"class_type": "X", "inputs": {"a": "__SCENE_PROMT__", "b": "x __SEEDS__ y"}}}
    with pytest.raises(PatchError) as caught:
        patched(bad)
    assert len(caught.value.mistakes) == 2
    assert "node 9 (X).a" in str(caught.value) and "__SCENE_PROMT__" in str(caught.value)
    assert "is __SCENE_PROMPT__ meant?" in str(caught.value)


@pytest.mark.parametrize("name", ["__FLOWER__", "__HAIR_COLOR__", "__SEASON__", "__ANIMALS2__", "__PERSON_POSE__"])
def test_a_wildcard_of_another_tool_passes_with_one_warning(name: str) -> None:
    wild = {
        "9": {"class_type": "X", "inputs": {"a": f"a {name} of __SCENE_PROMPT__ {name}", "b": name}},
        "10": {"class_type": "X", "inputs": {"filename_prefix": "__SCENE_PREFIX__", "c": name}},
    }
    done = patched(wild, keyframe=None)
    assert done.graph["9"]["inputs"]["b"] == name and done.graph["9"]["inputs"]["a"].count(name) == 2
    assert len(done.foreign) == 1 and name in done.foreign[0] and "node 9 (X)" in done.foreign[0]
    assert not any(name in warning for warning in done.warnings), "it is said once, not by every scene"


@pytest.mark.parametrize("name", ["__SEED__", "__SCENE_PROMPT__", "__SEEDS__", "__FLOWER__", "__KEYFRAME_IMAGE__"])
def test_a_backslash_before_it_lets_it_stand_for_itself(name: str) -> None:
    wild = {"9": {"class_type": "X", "inputs": {"a": f"\\{name}", "b": f"x \\{name} __SCENE_PROMPT__"}}}
    done = patched(wild, keyframe=None)
    assert done.graph["9"]["inputs"]["a"] == name
    assert done.graph["9"]["inputs"]["b"].startswith(f"x {name} ") and done.foreign == []
    assert not needs_keyframe(wild, None)


@pytest.mark.parametrize("text", ["__flower__", "__colors/warm__", "__1GIRL__", "____", "__A__B", "snake_CASE_x"])
def test_what_does_not_look_like_one_is_left_alone(text: str) -> None:
    done = patched({"9": {"class_type": "X", "inputs": {"a": text}}}, keyframe=None)
    assert done.graph["9"]["inputs"]["a"] == text


@pytest.mark.parametrize(
    "more, words", [({"keyframe": None}, "no keyframe"), ({"one": scene(expected_frames=None)}, "expected_frames")]
)
def test_a_placeholder_without_a_value_is_an_error(more: dict[str, Any], words: str) -> None:
    with pytest.raises(PatchError, match=words):
        patched(TEMPLATE, **more)


def test_a_template_without_placeholders_works_and_warns() -> None:
    plain = {"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": "mine"}}}
    done = patched(plain, keyframe=None)
    assert done.graph == plain
    assert any("prompt reaches no text input" in warning for warning in done.warnings)
    assert any("file name" in warning for warning in done.warnings)
    assert not done.prefixes_ours


def test_a_seed_of_the_story_that_reaches_nothing_is_a_warning() -> None:
    plain = {"1": {"class_type": "X", "inputs": {"text": "__SCENE_PROMPT__", "filename_prefix": "__SCENE_PREFIX__"}}}
    assert not patched(plain, keyframe=None).warnings
    assert "seed" in patched(plain, scene(seed=3), keyframe=None).warnings[0]
    assert "keyframe" in patched(plain).warnings[0]


def test_an_older_marker_node_is_replaced_and_it_is_said() -> None:
    graph = {
        **TEMPLATE,
        "8": {
            "class_type": "WriteDoneMarker|pysssss",
            "inputs": {"input": ["5", 0], "scene_prefix": "__SCENE_PREFIX__", "output_dir": "video"},
        },
    }
    done = patched(graph, add_marker=True)
    assert done.graph["8"] == {"class_type": "WriteDoneMarker", "inputs": {"filename_prefix": "run/scene-001"}}
    assert "node 8" in done.changes[0] and "video" in done.changes[0]
    assert len(done.changes) == 1, "no second marker"


def test_a_marker_is_added_only_where_it_is_wanted_and_missing() -> None:
    assert "WriteDoneMarker" not in json.dumps(patched(TEMPLATE).graph)
    done = patched(TEMPLATE, add_marker=True)
    assert done.graph["6"]["class_type"] == "WriteDoneMarker"
    assert patch(done.graph, scene(), prefix="p", seed=1, add_marker=True).changes == []


def test_another_try_saves_under_another_prefix() -> None:
    done = patched(TEMPLATE)
    assert done.prefixes_ours
    again = under_another_prefix(done.graph, "run/scene-001", "run/scene-001-attempt-2")
    assert again["5"]["inputs"]["filename_prefix"] == "run/scene-001-attempt-2"
    assert done.graph["5"]["inputs"]["filename_prefix"] == "run/scene-001"
    assert again["2"] == done.graph["2"]


def test_one_saver_of_its_own_makes_prefixes_not_ours() -> None:
    mixed = {**TEMPLATE, "7": {"class_type": "SaveImage", "inputs": {"filename_prefix": "mine", "images": ["4", 0]}}}
    assert not patched(mixed).prefixes_ours


# ---------------------------------------------------------------- mappings


def write(tmp_path: Path, text: str, name: str = "map.json") -> Path:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return path


def test_a_mapping_names_nodes_by_id_and_by_title(tmp_path: Path) -> None:
    mapping = read_mapping(
        write(
            tmp_path,
            json.dumps({"prompt": {"node": "Positive", "input": "text"}, "frames": [{"node": 4, "input": "steps"}]}),
        )
    )
    assert mapping == [Mapped("Positive", "text", "prompt"), Mapped("4", "steps", "frames")]
    graph = patched(TEMPLATE, mapping=mapping).graph
    assert graph["2"]["inputs"]["text"] == "a house"
    assert graph["4"]["inputs"]["steps"] == 25


def test_a_list_and_yaml_are_mappings_too(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    listed = read_mapping(write(tmp_path, '[{"field": "seed", "node": "4", "input": "seed"}]'))
    assert listed == [Mapped("4", "seed", "seed")]
    assert read_mapping(write(tmp_path, "seed: {node: 4, input: seed}\n", "map.yaml")) == listed


@pytest.mark.parametrize(
    "mapped, words",
    [
        (Mapped("99", "text", "prompt"), "no node has this id or title"),
        (Mapped("2", "txt", "prompt"), "has no input 'txt'; it has: text"),
        (Mapped("4", "model", "prompt"), "is wired to another node"),
        (Mapped("Twin", "text", "prompt"), "2 nodes have this title"),
    ],
)
def test_a_mapping_to_what_is_not_there_is_an_error_that_names_it(mapped: Mapped, words: str) -> None:
    twins = {name: {"class_type": "T", "inputs": {"text": ""}, "_meta": {"title": "Twin"}} for name in ("20", "21")}
    with pytest.raises(PatchError, match=words) as caught:
        patched({**TEMPLATE, **twins}, mapping=[mapped])
    assert caught.value.kind == "invalid_mapping" and mapped.node in str(caught.value)


@pytest.mark.parametrize(
    "text, words",
    [
        ("{", "is no JSON"),
        ('"x"', "is no mapping"),
        ('{"promt": {"node": "1", "input": "x"}}', "'promt' is no field of a scene"),
        ('{"prompt": {"node": "1"}}', "`input` are needed"),
        ("[1]", "no field"),
        ('[{"field": ["seed"], "node": "4", "input": "seed"}]', "no field"),
    ],
)
def test_what_is_no_mapping_is_said(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(PatchError, match=words):
        read_mapping(write(tmp_path, text))


def test_all_mistakes_of_a_mapping_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(PatchError) as caught:
        read_mapping(write(tmp_path, '{"a": {"node": "1", "input": "x"}, "prompt": {}, "seed": 3}'))
    assert len(caught.value.mistakes) == 3


def test_a_field_that_the_scene_lacks_leaves_the_input_as_it_is() -> None:
    done = patched(
        {"1": {"class_type": "X", "inputs": {"length": 81}}},
        scene(expected_frames=None),
        mapping=[Mapped("1", "length", "frames")],
        keyframe=None,
    )
    assert done.graph["1"]["inputs"]["length"] == 81
