"""Keyframes: a picture of the scene's title, the same each time, and pictures that are none."""

from pathlib import Path

import pytest
from run_recorder.runner.keyframes import KeyframeError, check_keyframe, make_keyframe
from run_recorder.runner.story import Scene

Image = pytest.importorskip("PIL.Image")
SCENE = Scene(id="scene-001", title="The long way home through the snow", prompt="a fox")


@pytest.mark.parametrize("size", [(512, 512), (1280, 704), (64, 64), (100, 2000)])
def test_it_has_the_workflows_size_and_shows_something(tmp_path: Path, size: tuple[int, int]) -> None:
    path = make_keyframe(SCENE, size, tmp_path / "a.png")
    with Image.open(path) as picture:
        assert picture.size == size
        assert len(picture.convert("RGB").getcolors(1_000_000) or []) > 20
        assert picture.convert("L").getextrema()[1] > 150, "there is writing on it"


def test_the_same_scene_gives_the_same_picture_and_another_one_another(tmp_path: Path) -> None:
    one = make_keyframe(SCENE, (200, 100), tmp_path / "a.png").read_bytes()
    assert make_keyframe(SCENE, (200, 100), tmp_path / "b.png").read_bytes() == one
    other = SCENE.model_copy(update={"title": "Another"})
    assert make_keyframe(other, (200, 100), tmp_path / "c.png").read_bytes() != one


@pytest.mark.parametrize("size", [(1, 1), (100_000, 3)])
def test_a_size_that_no_picture_has_is_brought_to_one(tmp_path: Path, size: tuple[int, int]) -> None:
    with Image.open(make_keyframe(SCENE, size, tmp_path / "a.png")) as picture:
        assert all(64 <= side <= 4096 for side in picture.size)


@pytest.mark.parametrize("title", ["", "x" * 5000, "絵文字 🦊", "a\nb\0c"])
def test_any_title_can_be_drawn(tmp_path: Path, title: str) -> None:
    make_keyframe(SCENE.model_copy(update={"title": title}), (256, 144), tmp_path / "a.png")


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    good = make_keyframe(SCENE, (64, 64), tmp_path / "good.png")
    check_keyframe(good, "scene-001")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "half.png").write_bytes(good.read_bytes()[:60])
    for name in ("text.png", "half.png"):
        with pytest.raises(KeyframeError, match=f"scene-007.*{name}"):
            check_keyframe(tmp_path / name, "scene-007")
    with pytest.raises(KeyframeError) as caught:
        check_keyframe(tmp_path / "none.png", "scene-007")
    assert caught.value.kind == "not_found"
