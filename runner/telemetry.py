"""A scene's telemetry object, from what was tracked, collected and seen of the GPU."""

from __future__ import annotations

from typing import Any

from ..telemetry.contract import System
from ..telemetry.gpu.outside import Seen
from ..telemetry.run_contract import ExitReason, GpuTelemetry, SceneTelemetry, SystemTelemetry
from .collect import Collected
from .policy import Policy
from .summary import unbounded
from .track import Tracked

MB = 1024 * 1024
NOTHING_TOLD = "no source told anything of a GPU"


def gpu_telemetry(before: Seen | None, after: Seen | None) -> GpuTelemetry:
    """The device that was seen first, in bytes and MB; a later look at another device gives no figures."""
    first = before.device if before else None
    then = after.device if after else None
    device = first or then
    free_before = first.vram_free_bytes if first else None
    same = then is not None and (first is None or (then.index, then.name) == (first.index, first.name))
    free_after = then.vram_free_bytes if then is not None and same else None
    known = before if first else after
    return GpuTelemetry(
        Name=(device.name if device else None) or "unknown",
        Type=device.type if device else None,
        Index=device.index if device else None,
        VramTotal=device.vram_total_bytes if device else None,
        VramFreeBefore=free_before,
        VramFreeAfter=free_after,
        VramDelta=_difference(free_before, free_after),
        VramBeforeMB=_megabytes(free_before),
        VramAfterMB=_megabytes(free_after),
        VramDeltaMB=_difference(_megabytes(free_before), _megabytes(free_after)),
        FallbackSource=known.step if known and known.step != "/telemetry/gpu" else None,
    )


def _megabytes(size: int | None) -> float | None:
    return None if size is None else round(size / MB, 2)


def _difference(before: Any, after: Any) -> Any:
    if before is None or after is None:
        return None
    return round(after - before, 2) if isinstance(after, float) else after - before


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
    gpu = gpu_telemetry(before, after)
    notes = [note for one in seen if one is not None for note in one.notes]
    if gpu.Name == "unknown" and gpu.VramFreeBefore is None:
        notes.append(NOTHING_TOLD)
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
