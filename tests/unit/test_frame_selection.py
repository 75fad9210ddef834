"""Which of several output folders holds a scene's frames: the try that succeeded, else the fullest, else the latest."""

import json
from pathlib import Path
from typing import Any

import pytest
from run_recorder.runner.attempts import Attempt, Outcome
from run_recorder.runner.policy import resolve
from run_recorder.runner.scene_job import SceneJob
from run_recorder.runner.scene_record import SceneAsked
from run_recorder.telemetry.models.run_contract import Scene

from .run_files import SCENE


def _attempt(number: int, frames: int, *, success: bool = False) -> Attempt:
    attempt = Attempt(number, f"p{number}", Path(f"generated-frames-attempt-{number}"), success=success)
    attempt.collected.files = [f"a_{frame:05}_.png" for frame in range(1, frames + 1)]
    return attempt


@pytest.mark.parametrize(
    ("attempts", "best"),
    [
        ([(3, False), (2, True)], 2),
        ([(3, True), (9, False)], 1),
        ([(1, False), (4, False), (2, False)], 2),
        ([(2, False), (2, False)], 2),
        ([(0, False)], 1),
    ],
)
def test_the_best_try_is_chosen(attempts: list[tuple[int, bool]], best: int) -> None:
    made = [_attempt(number, frames, success=good) for number, (frames, good) in enumerate(attempts, 1)]
    assert Outcome(made).best.number == best


def _job(run: Path, result: Any = None, tries: Any = None, frames: int = 0) -> SceneJob:
    """A scene as an earlier process left it."""
    folder = run / "scene-001"
    kept = folder / "generated-frames-attempt-1"
    kept.mkdir(parents=True)
    for number in range(1, frames + 1):
        (kept / f"a_{number:05}_.png").write_bytes(b"frame")
    for name, document in (("result.json", result), ("attempts.json", tries)):
        if document is not None:
            text = document if isinstance(document, str) else json.dumps(document)
            (folder / name).write_text(text, "utf-8")
    job = SceneJob(SceneAsked("scene-001", "One"), resolve({}), folder)
    job.load()
    return job


TRY = {"Attempt": 1, "PromptId": "p1", "Server": "http://a", "Frames": 2}


def _result(**scene: Any) -> dict[str, Any]:
    told = SCENE | {"AttemptSummaries": [TRY], "GeneratedFramesDir": "scene-001/generated-frames-attempt-1"} | scene
    return {"SchemaVersion": 1, "Files": {"a_00001_.png": 5, "a_00002_.png": 5}, "Scene": told}


def test_a_success_whose_files_are_all_there_is_done(tmp_path: Path) -> None:
    job = _job(tmp_path, _result(), [TRY], frames=2)
    assert job.done and job.pinned is None


@pytest.mark.parametrize("spoil", ["missing", "shorter"])
def test_a_success_whose_files_are_not_is_fetched_from_its_server(tmp_path: Path, spoil: str) -> None:
    job = _job(tmp_path, _result(), [TRY], frames=1)
    if spoil == "shorter":
        (tmp_path / "scene-001" / "generated-frames-attempt-1" / "a_00002_.png").write_bytes(b"fr")
        job.load()
    assert not job.done
    assert job.pinned == "http://a"


def test_a_failure_is_tried_again_and_its_tries_are_remembered(tmp_path: Path) -> None:
    job = _job(tmp_path, _result(Success=False), [TRY], frames=2)
    assert not job.done and job.pinned is None
    assert [one["PromptId"] for one in job.earlier] == ["p1"]


def test_a_try_that_nobody_saw_the_end_of_is_looked_for(tmp_path: Path) -> None:
    job = _job(tmp_path, None, [TRY, TRY | {"Attempt": 2, "PromptId": "p2", "Server": "http://b"}])
    assert job.pinned == "http://b"
    assert [one["PromptId"] for one in job.earlier] == ["p1", "p2"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"Files": {}, "Scene": {}}', '[{"Attempt": 1}]', "[1]"])
def test_files_that_say_nothing_leave_a_scene_that_was_never_tried(tmp_path: Path, text: str) -> None:
    job = _job(tmp_path, text, text)
    assert (job.done, job.pinned, job.earlier) == (False, None, [])


def test_the_fuller_folder_of_an_earlier_process_is_kept_while_nothing_succeeds(tmp_path: Path) -> None:
    job = _job(tmp_path, _result(Success=False, FrameCount=2, FrameFloor=9), [TRY], frames=2)
    folder = "scene-001/generated-frames-attempt-2"
    again = SCENE | {"Success": False, "FrameCount": 1, "GeneratedFramesDir": folder}
    again["AttemptSummaries"] = [TRY | {"Attempt": 2, "PromptId": "p2"}]
    record = job._with_earlier(Scene.model_validate(again))
    assert record.GeneratedFramesDir == "scene-001/generated-frames-attempt-1"
    assert (record.AttemptsRun, record.Requeued) == (2, True)
    record = job._with_earlier(Scene.model_validate(again | {"Success": True}))
    assert record.GeneratedFramesDir == folder
