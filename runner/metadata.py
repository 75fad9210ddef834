"""A run's folder: its name, its metadata and its summary, from one scene's outcome."""

from __future__ import annotations

import json
import os
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..telemetry.marker import sync_folder
from ..telemetry.run_contract import (
    ArtifactMetadata,
    HelperSummary,
    OwnLogs,
    RunHelpers,
    Scene,
    StorySummary,
    plain,
)
from ..telemetry.temporaries import temporary_name
from . import summary
from .attempts import Attempt, Outcome
from .policy import Policy
from .track import now

SCENE_ID = "scene-001"
METADATA, SUMMARY, LATEST = "artifact-metadata.json", "run-summary.txt", "latest-run.json"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's folder, made for it alone."""

    runs: Path
    run_id: str

    @property
    def path(self) -> Path:
        """The folder."""
        return self.runs / self.run_id

    @classmethod
    def make(cls, runs: Path) -> RunFolder:
        """A new folder named after this second; a second run in it gets a name of its own."""
        runs.mkdir(parents=True, exist_ok=True)
        base = time.strftime("%Y%m%d-%H%M%S")
        for number in range(1, 10_000):
            name = base if number == 1 else f"{base}-{number}"
            try:
                (runs / name).mkdir()
            except FileExistsError:
                continue
            return cls(runs, name)
        raise OSError(f"{runs} has no free name for {base}")


@dataclass(slots=True)
class SummaryFile:
    """The summary's lines, each with the time at which it was said."""

    lines: list[str] = field(default_factory=list)

    def say(self, line: summary.Line, **values: object) -> None:
        """Add a line."""
        self.lines.append(time.strftime("[%H:%M:%S] ") + line.write(**values))


@dataclass(frozen=True, slots=True)
class Written:
    """What a run was about."""

    story_id: str
    graph: Mapping[str, Any]
    output: Path
    frames: list[str]
    system_stats: Mapping[str, Any]


def write_atomically(path: Path, text: str) -> None:
    """Write a file beside its place, flush it, and move it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / temporary_name()
    try:
        with temporary.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def to_json(document: Any) -> str:
    """A document as it stands in a file."""
    return json.dumps(document, ensure_ascii=True, indent=2) + "\n"


def write_run(folder: RunFolder, policy: Policy, outcome: Outcome, written: Written) -> None:
    """Write a run's folder whole: metadata and summary last, then the archive and `latest-run.json`."""
    best = outcome.best
    path = folder.path
    if best.tracked.history is not None:
        write_atomically(path / SCENE_ID / "history.json", to_json(best.tracked.history))
    _write_checks(path, outcome, written)
    metadata = run_metadata(folder, policy, outcome, written)
    text = to_json(plain(metadata))
    contract = _contract_check(text)
    write_atomically(
        path / "test-results" / "check-contract.log", "\n".join(contract or ["the models accept it"]) + "\n"
    )
    write_atomically(path / METADATA, text)
    lines = run_lines(metadata, policy, outcome, failed_contract=bool(contract))
    write_atomically(path / SUMMARY, "\n".join(lines) + "\n")
    _archive(folder)
    latest = {"RunId": folder.run_id, "RunDir": str(path), "Timestamp": now(), "Success": best.success}
    write_atomically(folder.runs / LATEST, to_json(latest))


def _write_checks(path: Path, outcome: Outcome, written: Written) -> None:
    """The story, and what the checks before and after found."""
    results = path / "test-results"
    story = {"id": written.story_id, "scenes": [{"id": SCENE_ID, "title": written.story_id, "prompt": ""}]}
    write_atomically(path / "story" / "story.json", to_json(story))
    mapping = {"Nodes": len(written.graph), "Mapped": [], "Note": "one graph as it is: nothing is mapped into it"}
    write_atomically(results / "mapping-preflight.json", to_json(mapping))
    write_atomically(results / "mapping-preflight.log", f"{len(written.graph)} nodes; nothing is mapped\n")
    write_atomically(results / "comfyui-status.json", to_json(written.system_stats))
    write_atomically(results / "comfyui-status.log", "the server answered /system_stats\n")
    write_atomically(results / "check-preflight.log", "the graph is in API format, and the server answers\n")
    log = [f"attempt {one.number}: {one.tracked.end}, {len(one.collected.files)} files" for one in outcome.attempts]
    write_atomically(results / "check-run.log", "\n".join(log) + "\n")


def run_metadata(folder: RunFolder, policy: Policy, outcome: Outcome, written: Written) -> ArtifactMetadata:
    """The whole run as one model."""
    results = "test-results"
    helpers = {
        name: HelperSummary(Summary=f"{results}/{file}.json", Log=f"{results}/{file}.log")
        for name, file in (("MappingPreflight", "mapping-preflight"), ("ComfyUIStatus", "comfyui-status"))
    }
    return ArtifactMetadata(
        RunId=folder.run_id,
        Timestamp=now(),
        RunDir=str(folder.path.resolve()),
        Story=StorySummary(
            Id=written.story_id,
            Logline=f"The workflow {written.story_id}",
            Generator="workflow",
            File="story/story.json",
            StoryDir="story",
        ),
        QueueConfig=policy.config(),
        Scenes=[_scene(policy, outcome, written)],
        HelperSummaries=RunHelpers(**helpers),
        CheckLogs=OwnLogs(
            Preflight=f"{results}/check-preflight.log",
            Run=f"{results}/check-run.log",
            Contract=f"{results}/check-contract.log",
        ),
        Archive=f"{folder.run_id}.zip",
    )


def _scene(policy: Policy, outcome: Outcome, written: Written) -> Scene:
    best = outcome.best
    tracked, count = best.tracked, len(written.frames)
    assert best.telemetry is not None
    return Scene(
        SceneId=SCENE_ID,
        SceneTitle=written.story_id,
        FrameFloor=policy["frame_floor"],
        FrameCount=count,
        DurationSeconds=best.telemetry.DurationSeconds,
        HistoryPath=f"{SCENE_ID}/history.json" if tracked.history is not None else None,
        HistoryRetrieved=tracked.history is not None,
        HistoryRetrievedAt=tracked.history_at,
        HistoryAttempts=tracked.requests,
        HistoryErrors=tracked.history_errors,
        Success=best.success,
        MeetsFrameFloor=count >= policy["frame_floor"],
        Warnings=best.telemetry.System.FallbackNotes,
        Errors=[] if best.success else [tracked.error or tracked.end],
        AttemptsRun=len(outcome.attempts),
        Requeued=len(outcome.attempts) > 1,
        AttemptSummaries=[_attempt(one) for one in outcome.attempts],
        GeneratedFramesDir=str(written.output.resolve()),
        SceneRetryBudget=policy["scene_retry_budget"],
        Telemetry=best.telemetry,
    )


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "Attempt": attempt.number,
        "PromptId": attempt.prompt_id,
        "Frames": len(attempt.collected.files),
        "DurationSeconds": attempt.telemetry.DurationSeconds if attempt.telemetry else None,
        "Success": attempt.success,
        "RequeueReason": attempt.requeue_reason,
        "Error": attempt.tracked.error,
    }


def run_lines(metadata: ArtifactMetadata, policy: Policy, outcome: Outcome, *, failed_contract: bool) -> list[str]:
    """The summary of a run of one scene."""
    said = SummaryFile()
    (scene,) = metadata.Scenes
    values, sources = policy.lines()
    said.say(summary.TITLE, run=metadata.RunId)
    said.say(summary.STORY_READY, story=metadata.Story.Id, count=len(metadata.Scenes))
    said.say(summary.STORY_LOGLINE, logline=metadata.Story.Logline)
    said.say(summary.POLICY, **values)
    said.say(summary.POLICY_SOURCES, **sources)
    for one in outcome.attempts:
        seconds = one.telemetry.DurationSeconds if one.telemetry else 0.0
        count = len(one.collected.files)
        said.say(summary.ATTEMPT, scene=SCENE_ID, attempt=one.number, count=count, seconds=seconds, prefix="")
    _scene_lines(said, scene)
    for name, code in (("preflight", 0), ("run", int(not scene.Success)), ("contract", int(failed_contract))):
        said.say(summary.CHECK, name=name, code=code)
    said.say(summary.ARTIFACTS)
    said.say(summary.TOTAL, count=scene.FrameCount)
    return said.lines


def _scene_lines(said: SummaryFile, scene: Scene) -> None:
    said.say(summary.TELEMETRY, scene=scene.SceneId, entries=summary.write_entries(scene.Telemetry))
    for note in scene.Telemetry.System.FallbackNotes:
        said.say(summary.WARNING, scene=scene.SceneId, text=note)
    count, floor = scene.FrameCount or 0, scene.FrameFloor or 0
    if count < floor:
        said.say(summary.WARNING, scene=scene.SceneId, text=summary.BELOW_FLOOR.format(count=count, floor=floor))
    level = "WARNING" if scene.HistoryRetrieved else "ERROR"
    trouble = scene.HistoryErrors or ([] if scene.HistoryRetrieved else ["no history was retrieved"])
    for text in trouble:
        said.say(summary.HISTORY, scene=scene.SceneId, level=level, text=text)
    for text in scene.Errors:
        said.say(summary.ERROR, scene=scene.SceneId, text=text)


def _contract_check(text: str) -> list[str]:
    """What the models find in the metadata; nothing where they accept it."""
    try:
        ArtifactMetadata.model_validate_json(text)
    except ValidationError as error:
        return str(error).splitlines()
    return []


def _archive(folder: RunFolder) -> None:
    """The run's files in one archive, which leaves itself out."""
    target = folder.path / f"{folder.run_id}.zip"
    temporary = folder.path / temporary_name()
    with zipfile.ZipFile(temporary, "x", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.path.rglob("*")):
            if path.is_file() and path not in (temporary, target):
                archive.write(path, path.relative_to(folder.path))
    temporary.replace(target)
