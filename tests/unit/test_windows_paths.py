"""A story that was written on Windows and came here with its pictures."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image
from run_recorder.runner.keyframes import KeyframeError, check_keyframe
from run_recorder.runner.story import read_story

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there these are paths as any other")


def keyframe(folder: Path, given: str) -> Path:
    (folder / "story.json").write_text(
        json.dumps({"scenes": [{"id": "scene-001", "prompt": "x", "keyframe": given}]}), "utf-8"
    )
    found = read_story(folder / "story.json").scenes[0].keyframe
    assert found is not None
    return Path(found)


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path, "PNG")
    return path


@pytest.mark.parametrize(
    "given, there",
    [
        (r"C:\Users\me\pics\a.png", "a.png"),
        ("C:/Users/me/pics/a.png", "a.png"),
        (r"D:\a.png", "a.png"),
        (r"c:a.png", None),
        (r"\\server\share\pics\a.png", "a.png"),
        (r"\\?\C:\pics\a.png", "a.png"),
        (r"\pics\a.png", "a.png"),
        (r"pics\a.png", "pics/a.png"),
        (r"pics\a.png", "a.png"),
        (r".\pics\a.png", "pics/a.png"),
        (r"pics\more\a.png", "pics/more/a.png"),
        (r"pics\more/a.png", "pics/more/a.png"),
        (r"..\story\a.png", "a.png"),
        (r"C:\pics\A.PNG", "a.png"),
        (r"C:\pics\Ä ö.png", "Ä ö.png"),
        (r"pics\a.png", r"pics\a.png"),
        ("pics/a.png", "pics/a.png"),
    ],
)
def test_it_is_looked_for_beside_the_story(tmp_path: Path, given: str, there: str | None) -> None:
    folder = tmp_path / "story"
    folder.mkdir()
    if there is None:
        with pytest.raises(KeyframeError):
            check_keyframe(keyframe(folder, given), "scene-001")
        return
    expected = picture(folder / there)
    found = keyframe(folder, given)
    assert found.samefile(expected)
    check_keyframe(found, "scene-001")


@pytest.mark.parametrize(
    "given, name",
    [
        (r"C:\Users\me\pics\a.png", "a.png"),
        ("C:/Users/me/a.png", "a.png"),
        (r"\\server\share\a.png", "a.png"),
        (r"pics\a.png", "a.png"),
    ],
)
def test_where_it_is_nowhere_it_is_said_what_it_is(tmp_path: Path, given: str, name: str) -> None:
    with pytest.raises(KeyframeError) as caught:
        check_keyframe(keyframe(tmp_path, given), "scene-001")
    message = str(caught.value)
    assert caught.value.kind == "not_found" and "scene-001" in message
    assert "is a path of Windows" in message and f"no {name} lies beside the story" in message
    assert str(tmp_path) not in message, "it is told as it was given"


def test_a_path_of_this_system_is_said_as_ever(tmp_path: Path) -> None:
    with pytest.raises(KeyframeError, match="is not there"):
        check_keyframe(keyframe(tmp_path, "none.png"), "scene-001")


def test_of_two_names_that_differ_in_case_alone_neither_is_taken(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "A.png")
    with pytest.raises(KeyframeError, match="path of Windows"):
        check_keyframe(keyframe(tmp_path, r"C:\pics\A.PNG"), "scene-001")
