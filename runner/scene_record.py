"""What became of a scene, as plain data: all of a run's files are made from it, long after it was rendered, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..client.scene_figures import from_outside
from ..telemetry.models.run_contract import Scene
from .attempts import Attempt, Outcome, prefix_of_try
from .collected import Collected
from .policy import Policy
from .telemetry import scene_telemetry
from .track import Tracked, now


@dataclass(frozen=True, slots=True)
class SceneAsked:
    """What was asked for. Null where a scene doesn't say."""

    scene_id: str
    title: str
    prompt: str | None = None
    negative_prompt: str | None = None
    prefix: str | None = None
    """Of the files' names; null where the workflow has its own."""
    prefix_is_ours: bool = False
    """Whether each further try saves under another."""
    keyframe: str | None = None
    warnings: Sequence[str] = ()

    def prefix_of(self, number: int) -> str | None:
        """A try's prefix; null where the workflow has its own."""
        return prefix_of_try(self.prefix, number) if self.prefix and self.prefix_is_ours else self.prefix


def scene_record(
    asked: SceneAsked, policy: Policy, outcome: Outcome, *, frames: int, folder: str | None, server: str | None = None
) -> Scene:
    """A scene over all its tries, as the contract has it.

    `folder` holds the best one's files, so many as `frames`; null: it has none.
    """
    best = outcome.best
    tracked = best.tracked
    assert best.telemetry is not None
    return Scene(
        SceneId=asked.scene_id,
        SceneTitle=asked.title,
        Prompt=asked.prompt,
        NegativePrompt=asked.negative_prompt,
        FrameFloor=policy["frame_floor"],
        FrameCount=frames,
        DurationSeconds=best.telemetry.DurationSeconds,
        FramePrefix=asked.prefix_of(best.number),
        HistoryPath=history_path(asked.scene_id) if tracked.history is not None else None,
        HistoryRetrieved=tracked.history is not None,
        HistoryRetrievedAt=tracked.history_at,
        HistoryAttempts=tracked.requests,
        HistoryErrors=tracked.history_errors,
        Success=best.success,
        MeetsFrameFloor=frames >= policy["frame_floor"],
        Warnings=[*best.telemetry.System.FallbackNotes, *asked.warnings],
        Errors=[] if best.success else [tracked.error or tracked.end],
        AttemptsRun=len(outcome.attempts),
        Requeued=len(outcome.attempts) > 1,
        AttemptSummaries=[attempt_summary(one, asked, server) for one in outcome.attempts],
        GeneratedFramesDir=folder,
        KeyframeSource=asked.keyframe,
        SceneRetryBudget=policy["scene_retry_budget"],
        Telemetry=best.telemetry,
    )


def unrun_record(asked: SceneAsked, policy: Policy, why: str) -> Scene:
    """A scene that was never tried, with the reason."""
    moment = now()
    telemetry = scene_telemetry(policy, Tracked(), Collected(), from_outside(None, None), (moment, moment, 0.0))
    return Scene(
        SceneId=asked.scene_id,
        SceneTitle=asked.title,
        Prompt=asked.prompt,
        NegativePrompt=asked.negative_prompt,
        FrameFloor=policy["frame_floor"],
        FrameCount=0,
        DurationSeconds=0.0,
        FramePrefix=asked.prefix,
        HistoryRetrieved=False,
        HistoryAttempts=0,
        Success=False,
        MeetsFrameFloor=policy["frame_floor"] <= 0,
        Warnings=[*telemetry.System.FallbackNotes, *asked.warnings],
        Errors=[why],
        AttemptsRun=0,
        Requeued=False,
        KeyframeSource=asked.keyframe,
        SceneRetryBudget=policy["scene_retry_budget"],
        Telemetry=telemetry,
    )


def history_path(scene_id: str) -> str:
    """Where a scene's history stands below the run's folder."""
    return f"{scene_id}/history.json"


def attempt_summary(attempt: Attempt, asked: SceneAsked, server: str | None) -> dict[str, Any]:
    """One try in short, with its times and where it ran."""
    told = attempt.telemetry
    return {
        "Attempt": attempt.number,
        "PromptId": attempt.prompt_id,
        "Prefix": asked.prefix_of(attempt.number),
        "Frames": len(attempt.collected.files),
        "DurationSeconds": told.DurationSeconds if told else None,
        "QueueStart": told.QueueStart if told else None,
        "QueueEnd": told.QueueEnd if told else None,
        "Server": server,
        "End": attempt.tracked.end,
        "Success": attempt.success,
        "RequeueReason": attempt.requeue_reason,
        "Error": attempt.tracked.error,
    }
