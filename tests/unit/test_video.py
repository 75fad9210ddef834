"""A scene's film: made where ffmpeg is there, and a word why not where it isn't."""

import os
import sys
from pathlib import Path

import pytest
from run_recorder.runner import video
from run_recorder.telemetry.models.run_contract import Scene

from .run_files import SCENE

FAKE = """#!{python}
import sys
open({log!r}, "a").write(" ".join(sys.argv[1:]) + "\\n")
if {fail}:
    sys.exit("no such codec")
open(sys.argv[-1], "wb").write(b"film")
"""


def _scene(run: Path, *names: str) -> Scene:
    folder = run / "scene-001" / "generated-frames-attempt-1"
    folder.mkdir(parents=True)
    (run / "scene-001" / "result.json").write_text("{}", "utf-8")
    for name in names:
        (folder / name).write_bytes(b"x")
    return Scene.model_validate(SCENE | {"GeneratedFramesDir": "scene-001/generated-frames-attempt-1"})


def _ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fail: bool = False) -> Path:
    if os.name == "nt":
        pytest.skip("a script is no program there")
    folder, log = tmp_path / "bin", tmp_path / "log"
    folder.mkdir()
    program = folder / "ffmpeg"
    program.write_text(FAKE.format(python=sys.executable, log=str(log), fail=fail), "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return log


def test_without_ffmpeg_the_fields_are_there_and_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    film = video.make(tmp_path, _scene(tmp_path, "a_00001_.png", "a_00002_.png"))
    assert (film.Status, film.Path, film.Error) == ("missing", None, "ffmpeg is not there")


def test_the_frames_become_a_film_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = _ffmpeg(tmp_path, monkeypatch)
    scene = _scene(tmp_path, "100%_00007_.png", "100%_00008_.png", "100%_00009_.png", "100%_00011_.png", "100%.done")
    film = video.make(tmp_path, scene)
    assert (film.Status, film.Path, film.DurationSeconds, film.Error) == (
        "complete",
        "scene-001/scene-001.mp4",
        0.125,
        None,
    )
    (said,) = log.read_text("utf-8").splitlines()
    assert "-start_number 00007" in said and "100%%_%05d_.png" in said and "-frames:v 3" in said
    assert video.make(tmp_path, scene) == film
    assert len(log.read_text("utf-8").splitlines()) == 1
    assert sorted(path.name for path in (tmp_path / "scene-001").iterdir()) == [
        "generated-frames-attempt-1",
        "result.json",
        "scene-001.mp4",
    ]


def test_what_ffmpeg_says_is_told_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _ffmpeg(tmp_path, monkeypatch, fail=True)
    film = video.make(tmp_path, _scene(tmp_path, "a_00001_.png", "a_00002_.png"))
    assert (film.Status, film.Error) == ("missing", "ffmpeg: no such codec")
    assert sorted(path.name for path in (tmp_path / "scene-001").iterdir()) == [
        "generated-frames-attempt-1",
        "result.json",
    ]


@pytest.mark.parametrize("names", [(), ("a_00001_.png",), ("a.png", "b.png"), ("a_00001_.exr", "a_00002_.exr")])
def test_of_fewer_than_two_numbered_pictures_there_is_no_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    _ffmpeg(tmp_path, monkeypatch)
    assert video.make(tmp_path, _scene(tmp_path, *names)).Error == "fewer than two numbered pictures"
