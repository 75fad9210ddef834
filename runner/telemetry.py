"""A scene's telemetry object, from what was tracked, collected and seen of the GPU."""

from __future__ import annotations

from typing import Any

from ..client.outside import Seen
from ..telemetry.models.gpu import System
from ..telemetry.models.run_contract import ExitReason, GpuTelemetry, SceneTelemetry, SystemTelemetry
from ..telemetry.models.run_telemetry import NO_DEVICE, gpu_telemetry
from .collected import Collected
from .policy import Policy
from .summary import unbounded
from .track import Tracked


def gpu_of(before: Seen | None, after: Seen | None) -> GpuTelemetry:
    """The device that was seen first; a later look at another device gives no figures."""
    first = before.device if before else None
    then = after.device if after else None
    same = then is not None and (first is None or (then.index, then.name) == (first.index, first.name))
    known = before if first else after
    return gpu_telemetry(
        first or then,
        first.vram_free_bytes if first else None,
        then.vram_free_bytes if then is not None and same else None,
        known.step if known and known.step != "/telemetry/gpu" else None,
    )


def exit_reason(tracked: Tracked, collected: Collected) -> ExitReason:
    """One of the contract's five."""
    if tracked.end == "success":
        return "postExecution" if collected.post_execution_reached else "success"
    if tracked.end == "maxWait":
        return "maxWait"
    return "attemptLimit" if tracked.end == "attemptLimit" else "unknown"


def scene_telemetry(
    policy: Policy,
    tracked: Tracked,
    collected: Collected,
    seen: tuple[Seen | None, Seen | None],
    times: tuple[str, str, float],
) -> SceneTelemetry:
    """The telemetry of one attempt. `times` are its start, its end and the seconds between."""
    before, after = seen
    gpu = gpu_of(before, after)
    notes = [note for one in seen if one is not None for note in one.notes]
    if gpu.Name == "unknown" and gpu.VramFreeBefore is None:
        notes.append(NO_DEVICE)
    reason = exit_reason(tracked, collected)
    return SceneTelemetry(
        DurationSeconds=round(times[2], 3),
        QueueStart=times[0],
        QueueEnd=times[1],
        HistoryAttempts=tracked.requests,
        HistoryAttemptLimit=policy["history_max_attempts"],
        pollLimit=str(unbounded(policy["history_max_attempts"])),
        MaxWaitSeconds=policy["max_wait_seconds"],
        PollIntervalSeconds=policy["history_poll_interval_seconds"],
        HistoryExitReason=reason,
        ExecutionSuccessDetected=tracked.end == "success",
        ExecutionSuccessAt=tracked.success_at,
        PostExecutionTimeoutSeconds=policy["post_execution_timeout_seconds"],
        HistoryPostExecutionTimeoutReached=reason == "postExecution",
        SceneRetryBudget=policy["scene_retry_budget"],
        DoneMarkerDetected=collected.marker_detected,
        DoneMarkerWaitSeconds=round(collected.marker_wait_seconds, 3),
        DoneMarkerPath=collected.marker_path,
        ForcedCopyTriggered=collected.forced,
        ForcedCopyDebugPath=collected.debug_path,
        GPU=gpu,
        System=SystemTelemetry(
            Before=_system(before), After=_system(after), FallbackNotes=list(dict.fromkeys([*notes, *collected.notes]))
        ),
    )


def _system(seen: Seen | None) -> dict[str, Any] | None:
    system: System | None = seen.system if seen else None
    return system.model_dump() if system else None
