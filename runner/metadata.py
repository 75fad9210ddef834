"""A run's files, from what became of its scenes: metadata, summary, logs, archive."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..telemetry.models.run_contract import (
    ArtifactMetadata,
    HelperSummary,
    OwnLogs,
    RunHelpers,
    Scene,
    StorySummary,
    plain,
)
from .archive import write_archive
from .attempts import Outcome
from .policy import Policy
from .run_folder import LATEST, METADATA, RESULTS, SUMMARY, RunFolder, to_json, write_atomically, write_together
from .run_lines import run_lines
from .scene_record import SceneAsked, history_path, scene_record
from .track import now

SCENE_ID = "scene-001"


@dataclass(frozen=True, slots=True)
class Written:
    """What a run of one graph was about."""

    story_id: str
    output: Path
    frames: list[str]


def write_run(folder: RunFolder, policy: Policy, outcome: Outcome, written: Written) -> None:
    """Write what a run of one graph came to, beside what `write_checks` wrote before it."""
    best = outcome.best
    beside: dict[Path, str] = {}
    if best.tracked.history is not None:
        beside[folder.path / history_path(SCENE_ID)] = to_json(best.tracked.history)
    asked = SceneAsked(SCENE_ID, written.story_id)
    output = str(written.output.resolve())
    scene = scene_record(asked, policy, outcome, frames=len(written.frames), folder=output)
    story = StorySummary(
        Id=written.story_id,
        Logline=f"The workflow {written.story_id}",
        Generator="workflow",
        File="story/story.json",
        StoryDir="story",
    )
    write_run_files(folder, policy, story, [scene], beside=beside)
    write_run_archive(folder, succeeded=best.success)


def write_checks(folder: RunFolder, story_id: str, graph: Mapping[str, Any], stats: Mapping[str, Any]) -> None:
    """Write the story, and what the checks before a run of one graph found; to be called before it. Raises OSError."""
    results = folder.path / RESULTS
    story = {"id": story_id, "scenes": [{"id": SCENE_ID, "title": story_id, "prompt": ""}]}
    mapping = {"Nodes": len(graph), "Mapped": [], "Note": "one graph as it is: nothing is mapped into it"}
    write_together(
        {
            folder.path / "story" / "story.json": to_json(story),
            results / "mapping-preflight.json": to_json(mapping),
            results / "mapping-preflight.log": f"{len(graph)} nodes; nothing is mapped\n",
            results / "comfyui-status.json": to_json(stats),
            results / "comfyui-status.log": "the server answered /system_stats\n",
            results / "check-preflight.log": "the graph is in API format, and the server answers\n",
        }
    )


def write_run_files(
    folder: RunFolder,
    policy: Policy,
    story: StorySummary,
    scenes: Sequence[Scene],
    *,
    preflight: int = 0,
    beside: Mapping[Path, str] | None = None,
) -> ArtifactMetadata:
    """Write metadata, summary and the logs of the checks, and before them the files `beside`.

    `preflight` is the exit code of the checks before the run. Raises OSError.
    """
    path = folder.path
    results = path / RESULTS
    metadata = run_metadata(folder, policy, story, scenes)
    text = to_json(plain(metadata))
    wrong = contract_errors(text)
    failed = not all(scene.Success for scene in scenes)
    lines = run_lines(metadata, policy, {"preflight": preflight, "run": int(failed), "contract": int(bool(wrong))})
    write_together(
        {
            **(beside or {}),
            results / "check-run.log": "\n".join(_run_log(metadata.Scenes)) + "\n",
            results / "check-contract.log": "\n".join(wrong or ["the models accept it"]) + "\n",
            path / METADATA: text,
            path / SUMMARY: "\n".join(lines) + "\n",
        }
    )
    return metadata


def run_metadata(folder: RunFolder, policy: Policy, story: StorySummary, scenes: Sequence[Scene]) -> ArtifactMetadata:
    """The whole run as one model."""
    helpers = {
        name: HelperSummary(Summary=f"{RESULTS}/{file}.json", Log=f"{RESULTS}/{file}.log")
        for name, file in (("MappingPreflight", "mapping-preflight"), ("ComfyUIStatus", "comfyui-status"))
    }
    return ArtifactMetadata(
        RunId=folder.run_id,
        Timestamp=now(),
        RunDir=str(folder.path.resolve()),
        Story=story,
        QueueConfig=policy.config(),
        Scenes=list(scenes),
        HelperSummaries=RunHelpers(**helpers),
        CheckLogs=OwnLogs(
            Preflight=f"{RESULTS}/check-preflight.log",
            Run=f"{RESULTS}/check-run.log",
            Contract=f"{RESULTS}/check-contract.log",
        ),
        Archive=folder.archive.name,
    )


def _run_log(scenes: Sequence[Scene]) -> list[str]:
    lines = []
    for scene in scenes:
        for one in scene.AttemptSummaries:
            why = f" ({one['Error']})" if one.get("Error") else ""
            lines.append(f"{scene.SceneId}: attempt {one['Attempt']}: {one.get('End')}, {one['Frames']} files{why}")
        if not scene.AttemptSummaries:
            lines.append(f"{scene.SceneId}: not run: {'; '.join(scene.Errors)}")
    return [line.replace("\n", " ") for line in lines]


def write_run_archive(folder: RunFolder, *, succeeded: bool) -> None:
    """Write the archive, then `latest-run.json`. Raises OSError; the run is then named all the same."""
    try:
        write_archive(folder.path, folder.archive)
    except OSError:
        with contextlib.suppress(OSError):
            _write_latest(folder, succeeded)
        raise
    _write_latest(folder, succeeded)


def _write_latest(folder: RunFolder, succeeded: bool) -> None:
    latest = {"RunId": folder.run_id, "RunDir": str(folder.path), "Timestamp": now(), "Success": succeeded}
    write_atomically(folder.runs / LATEST, to_json(latest))


def contract_errors(text: str) -> list[str]:
    """What the models find in the metadata; nothing where they accept it."""
    try:
        ArtifactMetadata.model_validate_json(text)
    except ValidationError as error:
        return str(error).splitlines()
    return []
