"""A scene's telemetry object, from what was tracked and collected and the figures of its prompt."""

from __future__ import annotations

from ..client.scene_figures import SceneFigures
from ..telemetry.models.run_contract import ExitReason, SceneTelemetry, SystemTelemetry
from .collected import Collected
from .policy import Policy
from .summary import unbounded
from .track import Tracked


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
    figures: SceneFigures,
    times: tuple[str, str, float],
) -> SceneTelemetry:
    """The telemetry of one attempt. `times` are its start, its end and the seconds between."""
    system = figures.system
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
        GPU=figures.gpu,
        System=SystemTelemetry(
            Before=system.Before,
            After=system.After,
            FallbackNotes=list(dict.fromkeys([*system.FallbackNotes, *collected.notes])),
        ),
    )
