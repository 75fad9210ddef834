"""The models of a run's files: PascalCase, because existing tools read these files.

A field without a default is one that the validator requires; the others are checked when they are there. Units are in
the names; MB are 1048576 bytes; null is unknown. `docs/runner.md` says the rest.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

ExitReason = Literal["success", "postExecution", "maxWait", "attemptLimit", "unknown"]
"""Why the runner stopped to track a prompt; `unknown` is all else, with the cause in the scene's Errors."""
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
WholeSeconds = Annotated[int, Field(gt=0)]
Megabytes = Annotated[float, Field(allow_inf_nan=False)]
MOST = 10**100
"""No whole number is larger, so that each can be compared with those that have a fraction."""
FilePath = Annotated[str, Field(min_length=1, pattern=r"^[^\x00-\x1f]+$")]
POLICY_DEFAULTS = {
    "max_wait_seconds": 600,
    "history_poll_interval_seconds": 2,
    "history_max_attempts": 0,
    "post_execution_timeout_seconds": 30,
    "scene_retry_budget": 1,
}
"""The queue policy where nobody says otherwise."""
_LEFT_OUT_WHEN_NULL = frozenset(
    (
        "FLF2VEnabled",
        "FLF2VSource",
        "FLF2VFallback",
        "InterpolationElapsed",
        "UpscaleMethod",
        "FinalFPS",
        "FinalResolution",
        "CheckLogs",
        "VitestLogs",
    )
)


class RunModel(BaseModel):
    """Base of a run's models: unknown fields are ignored, and a number is no text and no switch."""

    model_config = ConfigDict(extra="ignore", strict=True, defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _counts_something(cls, value: object) -> object:
        if isinstance(value, int) and abs(value) > MOST:
            raise ValueError("no such number counts anything")
        return value


class GpuTelemetry(RunModel):
    """One device before and after a scene, in bytes and MB; delta = after - before, negative is memory taken."""

    Name: str = Field(description="`unknown` where nothing told.")
    Type: str | None
    Index: int | None
    VramTotal: int | None
    VramFreeBefore: int | None
    VramFreeAfter: int | None
    VramDelta: int | None
    VramBeforeMB: Megabytes | None
    VramAfterMB: Megabytes | None
    VramDeltaMB: Megabytes | None
    FallbackSource: str | None = None


class SystemTelemetry(RunModel):
    """The host before and after a scene, and what was done instead of what."""

    Before: dict[str, Any] | None = None
    After: dict[str, Any] | None = None
    FallbackNotes: list[str]


class SceneTelemetry(RunModel):
    """What one scene's tracking and collecting did."""

    DurationSeconds: Seconds
    QueueStart: str | None = None
    QueueEnd: str | None = None
    HistoryAttempts: int = Field(ge=0)
    HistoryAttemptLimit: int = Field(ge=0, description="0 is unbounded.")
    pollLimit: str | int | None = Field(  # noqa: N815  existing tools read this name
        None, description="`unbounded` or HistoryAttemptLimit."
    )
    MaxWaitSeconds: WholeSeconds
    PollIntervalSeconds: WholeSeconds
    HistoryExitReason: ExitReason
    ExecutionSuccessDetected: bool
    ExecutionSuccessAt: str | None = Field(default=None, description="Required when detected.")
    PostExecutionTimeoutSeconds: WholeSeconds
    HistoryPostExecutionTimeoutReached: bool
    SceneRetryBudget: int = Field(ge=0)
    DoneMarkerDetected: bool
    DoneMarkerWaitSeconds: Seconds
    DoneMarkerPath: FilePath | None = None
    ForcedCopyTriggered: bool
    ForcedCopyDebugPath: FilePath | None
    GPU: GpuTelemetry
    System: SystemTelemetry
    FLF2VEnabled: bool | None = None
    FLF2VSource: Literal["keyframe", "last-frame"] | None = Field(
        default=None, description="Required when FLF2VEnabled."
    )
    FLF2VFallback: bool | None = None
    InterpolationElapsed: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        default=None, description="Milliseconds."
    )
    UpscaleMethod: str | None = None
    FinalFPS: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    FinalResolution: Annotated[str, Field(pattern=r"^[1-9]\d*x[1-9]\d*$")] | None = None

    @model_validator(mode="after")
    def _what_goes_together(self) -> SceneTelemetry:
        if self.ExecutionSuccessDetected and not self.ExecutionSuccessAt:
            raise ValueError("ExecutionSuccessDetected is true, and ExecutionSuccessAt is missing")
        if self.FLF2VEnabled and self.FLF2VSource is None:
            raise ValueError("FLF2VEnabled is true, and FLF2VSource is missing (keyframe or last-frame)")
        return self


class RunQueueConfig(RunModel):
    """The queue policy of a run."""

    SceneRetryBudget: int = Field(ge=0)
    HistoryMaxWaitSeconds: WholeSeconds
    HistoryMaxAttempts: int = Field(ge=0, description="0 is unbounded.")
    HistoryPollIntervalSeconds: WholeSeconds
    PostExecutionTimeoutSeconds: WholeSeconds


class SceneVideo(RunModel):
    """A scene's film. All five fields have to be there; what is unknown is null."""

    Path: FilePath | None
    DurationSeconds: Seconds | None
    Status: Literal["complete", "missing"]
    UpdatedAt: str | None
    Error: str | None

    @model_validator(mode="after")
    def _a_complete_one_is_somewhere(self) -> SceneVideo:
        if self.Status == "complete" and self.Path is None:
            raise ValueError("Status is complete, and Path is null")
        if self.Path is not None and "\\" in self.Path:
            raise ValueError(f"Path {self.Path!r} has a backslash; forward slashes are accepted")
        return self


class Scene(RunModel):
    """One scene of a run, over all its attempts."""

    SceneId: str = Field(min_length=1)
    SceneTitle: str | None = None
    Prompt: str | None = None
    NegativePrompt: str | None = None
    FrameFloor: int | None = Field(default=None, ge=0)
    FrameCount: int | None = Field(default=None, ge=0)
    DurationSeconds: Seconds | None = None
    FramePrefix: str | None = None
    HistoryPath: FilePath | None = None
    HistoryRetrieved: bool | None = None
    HistoryRetrievedAt: str | None = None
    HistoryAttempts: int | None = Field(default=None, ge=0)
    HistoryPollLog: list[Any] = []
    HistoryErrors: list[str] = []
    Success: bool | None = None
    MeetsFrameFloor: bool | None = None
    Warnings: list[str] = []
    Errors: list[str] = []
    AttemptsRun: int | None = Field(default=None, ge=0)
    Requeued: bool | None = None
    AttemptSummaries: list[dict[str, Any]] = []
    GeneratedFramesDir: FilePath | None = None
    KeyframeSource: FilePath | None = None
    SceneRetryBudget: int | None = Field(default=None, ge=0)
    Telemetry: SceneTelemetry
    Video: SceneVideo | None = None


class StoryHealthCheck(RunModel):
    """Whether the story's language model answered."""

    Url: str | None = None
    Override: str | None = None
    Status: str | None = None
    Models: int | None = None
    Error: str | None = None
    Timestamp: str | None = None
    Skipped: bool | None = None
    SkipReason: str | None = None


class StorySummary(RunModel):
    """The story that a run made."""

    Id: str = Field(min_length=1)
    Logline: str | None = None
    DirectorsVision: str | None = None
    Generator: str | None = None
    File: FilePath | None = None
    StoryDir: FilePath | None = None
    LLM: str | None = None
    HealthCheck: StoryHealthCheck | None = None
    Warnings: list[str] = []


class HelperSummary(RunModel):
    """Where a check before the run left its findings."""

    Summary: FilePath
    Log: FilePath | None = None


class RunHelpers(RunModel):
    """The checks before the run."""

    MappingPreflight: HelperSummary
    ComfyUIStatus: HelperSummary


class OwnLogs(RunModel):
    """The logs of our own checks."""

    Preflight: FilePath
    Run: FilePath
    Contract: FilePath


class OtherLogs(RunModel):
    """What files made elsewhere have in the place of CheckLogs."""

    ComfyUI: FilePath
    E2E: FilePath
    Scripts: FilePath


class ArtifactMetadata(RunModel):
    """`artifact-metadata.json`: a whole run."""

    RunId: str | None = None
    Timestamp: str | None = None
    RunDir: FilePath | None = None
    Story: StorySummary
    QueueConfig: RunQueueConfig
    Scenes: list[Scene] = Field(min_length=1)
    HelperSummaries: RunHelpers
    CheckLogs: OwnLogs | None = None
    VitestLogs: OtherLogs | None = None
    Archive: FilePath | None = None

    @field_validator("Scenes")
    @classmethod
    def _one_of_each(cls, scenes: list[Scene]) -> list[Scene]:
        ids = [scene.SceneId for scene in scenes]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice:
            raise ValueError(f"scenes that are there twice: {', '.join(twice)}")
        return scenes

    @model_validator(mode="after")
    def _some_logs(self) -> ArtifactMetadata:
        if self.CheckLogs is None and self.VitestLogs is None:
            raise ValueError("neither CheckLogs nor VitestLogs is there")
        return self


def plain(model: RunModel) -> dict[str, Any]:
    """A model as it stands in its file: the fields of a pipeline that isn't ours are left out where nobody set them."""
    told: dict[str, Any] = _without_unused(model.model_dump(mode="json"))
    return told


def _without_unused(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_unused(one) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {name: one for name, one in value.items() if one is not None or name not in _LEFT_OUT_WHEN_NULL}
    return {name: _without_unused(one) for name, one in kept.items()}


RUN_MODELS: dict[str, type[RunModel]] = {
    "artifact_metadata": ArtifactMetadata,
    "queue_config": RunQueueConfig,
    "scene": Scene,
    "scene_telemetry": SceneTelemetry,
}
"""The run's models by the names under which `/telemetry/schema/{model}` serves them."""
