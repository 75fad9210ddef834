"""Story helpers: a story's file, its mistakes, and stories from templates."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_recorder.runner.story import Story, StoryError, read_story, seed_of, story_of, template_story

GOOD = {
    "id": "s1",
    "title": "T",
    "logline": "L",
    "directors_vision": "V",
    "scenes": [
        {
            "id": "scene-001",
            "title": "One",
            "prompt": "a house",
            "negative_prompt": "people",
            "camera_movement": "pan",
            "expected_frames": 25,
            "keyframe": "a.png",
            "seed": 7,
        },
        {"id": "scene-002", "prompt": "a hill"},
    ],
}


def write(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return path


def test_json_and_yaml_give_the_same_story(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    one = read_story(write(tmp_path, "a.json", json.dumps(GOOD)))
    other = read_story(write(tmp_path, "a.yaml", yaml.safe_dump(GOOD)))
    assert one == other
    assert one.scenes[0].expected_frames == 25
    assert one.scenes[1].expected_frames is None


def test_yaml_may_begin_with_a_brace(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    path = write(tmp_path, "a.yaml", "{scenes: [{id: scene-001, prompt: a house}]}")
    assert read_story(path).scenes[0].prompt == "a house"


def test_older_spellings_are_read() -> None:
    old = {
        "storyId": "s1",
        "directorsVision": "V",
        "scenes": [
            {
                "id": "scene-001",
                "prompt": "a",
                "negativePrompt": "n",
                "cameraMovement": "c",
                "expectedFrames": 3,
                "keyframePath": "k.png",
            }
        ],
    }
    story = story_of(old, "it")
    scene = story.scenes[0]
    assert (story.id, story.directors_vision) == ("s1", "V")
    assert (scene.negative_prompt, scene.camera_movement, scene.expected_frames, scene.keyframe) == (
        "n",
        "c",
        3,
        "k.png",
    )


def test_only_scenes_with_id_and_prompt_are_required() -> None:
    assert story_of({"scenes": [{"id": "scene-1", "prompt": "x"}]}, "it").scenes[0].prompt == "x"


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    bad = {
        "scenes": [
            {"id": "scene-001", "prompt": ""},
            {"id": "../etc", "prompt": "x"},
            {"id": "scene-003", "prompt": "x", "expected_frames": -4},
            {"prompt": "x"},
            {"id": "scene-005", "prompt": "x", "seed": "many"},
        ]
    }
    with pytest.raises(StoryError) as caught:
        read_story(write(tmp_path, "a.json", json.dumps(bad)))
    assert caught.value.kind == "invalid_story"
    places = [mistake.split(":")[0] for mistake in caught.value.mistakes]
    assert places == [
        "scenes[0].prompt",
        "scenes[1].id",
        "scenes[2].expected_frames",
        "scenes[3].id",
        "scenes[4].seed",
    ]
    assert "'-4'" in str(caught.value) and "a.json" in str(caught.value)


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("a.json", "{", "no JSON"),
        ("a.json", '{"scenes": []}', "at least 1 item"),
        ("a.json", "[]", "no story"),
        ("a.json", '{"scenes": [{"id": "scene-1", "prompt": "x"}, {"id": "Scene-1", "prompt": "y"}]}', "scene-"),
        (
            "a.json",
            '{"scenes": [{"id": "scene-1", "prompt": "x"}, {"id": "scene-1", "prompt": "y"}]}',
            "twice: scene-1",
        ),
        ("a.json", json.dumps({"scenes": [{"id": "scene-1", "prompt": "x" * 1_000_000}]}), "at most 100000 characters"),
        ("a.json", "[" * 100_000, "no JSON"),
        ("a.yaml", "scenes: [", "no YAML"),
        ("a.yaml", "a: &a [*a]", "scenes"),
        ("a.yaml", "just prose", "no story"),
        ("a.yaml", "!!python/object/apply:os.system ['true']", "no YAML"),
        ("a.yaml", "a: !!timestamp 'abc'", "no YAML"),
        ("a.yaml", "? [{a: b}]\n: c", "no YAML"),
        ("a.yaml", "", "no story"),
        ("a.yaml", f"scenes:\n- {{id: s, prompt: x, seed: 0x{'f' * 6000}}}", "a whole number of 6002 digits"),
        ("a.yaml", "scenes:\n" + "- {id: s, prompt: x}\n" * 200_000, "more than 50000 values; .* at most 1000 scenes"),
    ],
)
def test_what_is_no_story_is_said(tmp_path: Path, name: str, text: str, words: str) -> None:
    pytest.importorskip("yaml")
    with pytest.raises(StoryError, match=words):
        read_story(write(tmp_path, name, text))


def test_a_file_that_is_missing_or_no_text_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoryError) as caught:
        read_story(tmp_path / "none.json")
    assert caught.value.kind == "not_found"
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StoryError, match="UTF-8"):
        read_story(tmp_path / "b.json")


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=60), st.integers(1, 30), st.integers(0, 2**32))
def test_a_template_gives_the_same_valid_story_for_the_same_seed(idea: str, scenes: int, seed: int) -> None:
    story = template_story(idea, scenes, seed)
    assert story == template_story(idea, scenes, seed)
    assert len(story.scenes) == scenes
    assert story_of(json.loads(story.model_dump_json()), "it") == story


def test_another_seed_gives_another_story() -> None:
    assert template_story("a fox", 3, 1) != template_story("a fox", 3, 2)


@pytest.mark.parametrize("scenes", [0, -1, 1001])
def test_a_wrong_number_of_scenes_is_said(scenes: int) -> None:
    with pytest.raises(StoryError, match="1 to 1000"):
        template_story("a fox", scenes, 1)


def test_a_scenes_seed_is_its_own_or_follows_from_the_story() -> None:
    story = Story.model_validate(GOOD)
    assert seed_of(story, story.scenes[0]) == 7
    assert seed_of(story, story.scenes[1]) == seed_of(story, story.scenes[1]) != 7
    assert all(0 <= seed_of(template_story("a fox", 3, number), story.scenes[1]) < 2**24 for number in range(50))
