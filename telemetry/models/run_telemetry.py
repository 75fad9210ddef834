"""A prompt's record as the run contract's telemetry object, so that a script has it without the runner."""

from __future__ import annotations

from .gpu import Device, DeviceIdentity
from .prompt import Prompt
from .run_contract import POLICY_DEFAULTS, GpuTelemetry, SceneTelemetry, SystemTelemetry
from .times import iso, parse

MB = 1024 * 1024
NO_DEVICE = "no source told anything of a GPU"


def telemetry_of(prompt: Prompt) -> SceneTelemetry:
    """The telemetry object of a prompt. It was not polled, so HistoryAttempts is 0; its files are not collected."""
    success = prompt.status == "success"
    done = next((one for one in prompt.markers if one.path and one.written_at and one.path.endswith(".done")), None)
    gpu = _gpu(prompt.devices[0] if prompt.devices else None)
    notes = list(prompt.fallback_notes)
    if not prompt.devices and not notes:
        notes.append(NO_DEVICE)
    limit = _policy(prompt, "history_max_attempts", 0)
    return SceneTelemetry(
        DurationSeconds=_duration(prompt),
        QueueStart=prompt.queued_at,
        QueueEnd=prompt.ended_at,
        HistoryAttempts=0,
        HistoryAttemptLimit=limit,
        pollLimit=str(limit or "unbounded"),
        MaxWaitSeconds=_policy(prompt, "max_wait_seconds", 1),
        PollIntervalSeconds=_policy(prompt, "history_poll_interval_seconds", 1),
        HistoryExitReason="success" if success else "unknown",
        ExecutionSuccessDetected=success,
        ExecutionSuccessAt=(prompt.ended_at or prompt.queued_at or iso(0)) if success else None,
        PostExecutionTimeoutSeconds=_policy(prompt, "post_execution_timeout_seconds", 1),
        HistoryPostExecutionTimeoutReached=False,
        SceneRetryBudget=_policy(prompt, "scene_retry_budget", 0),
        DoneMarkerDetected=done is not None,
        DoneMarkerWaitSeconds=0.0,
        DoneMarkerPath=done.path if done else None,
        ForcedCopyTriggered=False,
        ForcedCopyDebugPath=None,
        GPU=gpu,
        System=SystemTelemetry(
            Before=None, After=prompt.system.model_dump() if prompt.system else None, FallbackNotes=notes
        ),
    )


def _policy(prompt: Prompt, name: str, least: int) -> int:
    """A knob as the runner told it with the prompt; the default where it didn't, or where that is no such value."""
    policy = prompt.batch.policy if prompt.batch else None
    value = policy.get(name) if isinstance(policy, dict) else None
    return (
        int(value)
        if isinstance(value, (int, float)) and value >= least and value == int(value)
        else POLICY_DEFAULTS[name]
    )


def _duration(prompt: Prompt) -> float:
    """From queued to ended, as the runner counts it; 0 where one of them is unknown."""
    if prompt.queued_at is None or prompt.ended_at is None:
        return 0.0
    return max(0.0, (parse(prompt.ended_at) - parse(prompt.queued_at)) / 1000)


def _gpu(device: Device | None) -> GpuTelemetry:
    if device is None:
        return gpu_telemetry(None, None, None)
    return gpu_telemetry(device, device.vram_free_before_bytes, device.vram_free_after_bytes)


def gpu_telemetry(
    device: DeviceIdentity | None, before: int | None, after: int | None, fallback: str | None = None
) -> GpuTelemetry:
    """A device with what was free before and after, in bytes and MB; null where it is unknown."""
    before_mb, after_mb = _megabytes(before), _megabytes(after)
    return GpuTelemetry(
        Name=(device.name if device else None) or "unknown",
        Type=device.type if device else None,
        Index=device.index if device else None,
        VramTotal=device.vram_total_bytes if device else None,
        VramFreeBefore=before,
        VramFreeAfter=after,
        VramDelta=None if before is None or after is None else after - before,
        VramBeforeMB=before_mb,
        VramAfterMB=after_mb,
        VramDeltaMB=None if before_mb is None or after_mb is None else round(after_mb - before_mb, 2),
        FallbackSource=fallback,
    )


def _megabytes(size: int | None) -> float | None:
    return None if size is None else round(size / MB, 2)
