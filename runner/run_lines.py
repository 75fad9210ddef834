"""The lines of a run's summary, from its metadata."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..telemetry.models.run_contract import ArtifactMetadata, Scene, StoryHealthCheck
from . import summary
from .policy import Policy


@dataclass(slots=True)
class SummaryFile:
    """The summary's lines, each with the time at which it was said."""

    lines: list[str] = field(default_factory=list)

    def say(self, line: summary.Line, **values: object) -> None:
        """Add a line."""
        self.lines.append(time.strftime("[%H:%M:%S] ") + line.write(**values))


def run_lines(metadata: ArtifactMetadata, policy: Policy, checks: Mapping[str, int]) -> list[str]:
    """The summary of a run. `checks` are the exit codes of `preflight`, `run` and `contract`."""
    said = SummaryFile()
    values, sources = policy.lines()
    said.say(summary.TITLE, run=metadata.RunId)
    said.say(summary.STORY_READY, story=metadata.Story.Id, count=len(metadata.Scenes))
    said.say(summary.STORY_LOGLINE, logline=metadata.Story.Logline or "")
    if metadata.Story.HealthCheck is not None:
        _health_line(said, metadata.Story.HealthCheck)
    said.say(summary.POLICY, **values)
    said.say(summary.POLICY_SOURCES, **sources)
    for scene in metadata.Scenes:
        _scene_lines(said, scene)
    for name, code in checks.items():
        said.say(summary.CHECK, name=name, code=code)
    said.say(summary.ARTIFACTS)
    said.say(summary.TOTAL, count=sum(scene.FrameCount or 0 for scene in metadata.Scenes))
    return said.lines


def _health_line(said: SummaryFile, health: StoryHealthCheck) -> None:
    status = health.Status or "unknown"
    if health.Skipped:
        status = f"skipped, {health.SkipReason}" if health.SkipReason else "skipped"
    elif health.Error:
        status = f"{status}, {health.Error}"
    models = "unknown" if health.Models is None else health.Models
    said.say(summary.LLM, status=status, url=health.Url or "none", models=models, override=health.Override or "default")


def _scene_lines(said: SummaryFile, scene: Scene) -> None:
    for one in scene.AttemptSummaries:
        seconds = one.get("DurationSeconds")
        said.say(
            summary.ATTEMPT,
            scene=scene.SceneId,
            attempt=one["Attempt"],
            count=one["Frames"],
            seconds=float(seconds) if seconds is not None else 0.0,
            prefix=one.get("Prefix") or scene.FramePrefix or "",
        )
    said.say(summary.TELEMETRY, scene=scene.SceneId, entries=summary.write_entries(scene.Telemetry))
    notes = scene.Telemetry.System.FallbackNotes
    for text in dict.fromkeys([*notes, *scene.Warnings]):
        said.say(summary.WARNING, scene=scene.SceneId, text=text)
    count, floor = scene.FrameCount or 0, scene.FrameFloor or 0
    if count < floor:
        said.say(summary.WARNING, scene=scene.SceneId, text=summary.BELOW_FLOOR.format(count=count, floor=floor))
    level = "WARNING" if scene.HistoryRetrieved else "ERROR"
    trouble = scene.HistoryErrors or ([] if scene.HistoryRetrieved else ["no history was retrieved"])
    for text in trouble:
        said.say(summary.HISTORY, scene=scene.SceneId, level=level, text=text)
    for text in scene.Errors:
        said.say(summary.ERROR, scene=scene.SceneId, text=text)
