"""What a run's summary and metadata must say alike, and what in the metadata follows from other figures."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from typing import Literal

from ..telemetry.models.run_contract import ArtifactMetadata, RunQueueConfig, Scene, SceneTelemetry
from ..telemetry.models.times import parse
from .summary import BELOW_FLOOR, ENTRIES, Entry, Said, Value, one_line, read_entries, unbounded

CHECKS, VITESTS = ("preflight", "run", "contract"), ("comfyUI", "e2e", "scripts")
MB = 1024 * 1024
DAY_SECONDS = 86_400
WITHIN_MB = 0.01 + 1e-9
WITHIN_SECONDS = 1.0
"""Between a duration and its two times: some writers cut both to whole seconds."""
ONCE = ("story ready", "story logline", "queue policy", "artifact index", "total")
NAMES = {
    "story ready": "Story ready",
    "story logline": "Story logline",
    "queue policy": "Queue policy",
    "artifact index": "## Artifact Index",
    "total": "Total frames copied",
}


LogsKind = Literal["Check", "Vitest"] | None
"""Whose three checks a run names; null where that isn't known."""


def cross_check(
    summary: list[Said],
    told: ArtifactMetadata | None,
    errors: list[str],
    warnings: list[str],
    *,
    logs: LogsKind = None,
) -> None:
    """Check a summary, and against a metadata where that could be read. Findings are added to the two lists.

    `logs` is what the metadata names, also where it couldn't be read as a whole: one mistake makes no other.
    """
    lines: dict[str, list[dict[str, str]]] = {}
    for said in summary:
        lines.setdefault(said.kind, []).append(said.values)
    errors += [f"run-summary.txt: no line {NAMES[kind]!r}" for kind in ONCE if kind not in lines]
    if told is not None and told.CheckLogs is not None:
        logs = "Check"
    if logs is None:
        logs = "Vitest" if "vitest" in lines and "check" not in lines else "Check"
    errors += _check_lines(lines.get(logs.lower(), []), logs == "Vitest")
    warnings += _failed_checks(lines.get("check", []) + lines.get("vitest", []))
    errors += _totals(lines, told)
    if told is None:
        return
    errors += _story(lines, told)
    for policy in lines.get("queue policy", []):
        errors += _policy(policy, told.QueueConfig)
    for scene in told.Scenes:
        errors += _scene(scene, {kind: _of(scene, said) for kind, said in lines.items()})


def _of(scene: Scene, said: list[dict[str, str]]) -> list[dict[str, str]]:
    return [values for values in said if values.get("scene") == scene.SceneId]


def _check_lines(said: list[dict[str, str]], vitest: bool) -> Iterator[str]:
    there = {values["name"] for values in said}
    word = "Vitest" if vitest else "Check"
    for name in VITESTS if vitest else CHECKS:
        if name not in there:
            yield f"run-summary.txt: no line '{word} {name} exitCode='"


def _failed_checks(said: list[dict[str, str]]) -> list[str]:
    return [f"check {values['name']} ended with exitCode={values['code']}" for values in said if values["code"] != "0"]


def _totals(lines: dict[str, list[dict[str, str]]], told: ArtifactMetadata | None) -> Iterator[str]:
    counts = [scene.FrameCount for scene in told.Scenes] if told is not None else [None]
    known = sum(count for count in counts if count is not None)
    for values in lines.get("total", []):
        total = int(values["count"])
        if total <= 0:
            yield f"Total frames copied is {total}; more than 0 is accepted"
        if None not in counts and total != known:
            yield f"Total frames copied is {total}, the scenes' FrameCount add up to {known}"


def _story(lines: dict[str, list[dict[str, str]]], told: ArtifactMetadata) -> Iterator[str]:
    for values in lines.get("story ready", []):
        if values["story"] != one_line(told.Story.Id):
            yield f"Story ready: {values['story']!r} in the summary, Story.Id is {told.Story.Id!r}"
        if values["count"] != str(len(told.Scenes)):
            yield f"Story ready: scenes={values['count']} in the summary, {len(told.Scenes)} in the metadata"
    for values in lines.get("title", []):
        if told.RunId is not None and values["run"] != told.RunId:
            yield f"run id: {values['run']!r} in the summary, RunId is {told.RunId!r}"


def _policy(values: dict[str, str], config: RunQueueConfig) -> Iterator[str]:
    expected = {
        "sceneRetries": {str(config.SceneRetryBudget), str(unbounded(config.SceneRetryBudget))},
        "historyMaxWait": {str(config.HistoryMaxWaitSeconds)},
        "historyPollInterval": {str(config.HistoryPollIntervalSeconds)},
        "historyMaxAttempts": {str(unbounded(config.HistoryMaxAttempts))},
        "postExecutionTimeout": {str(config.PostExecutionTimeoutSeconds)},
    }
    for name, accepted in expected.items():
        if values[name] not in accepted:
            yield f"Queue policy: {name}={values[name]} in the summary, QueueConfig has {' or '.join(sorted(accepted))}"


# ---------------------------------------------------------------- one scene


def _scene(scene: Scene, said: dict[str, list[dict[str, str]]]) -> list[str]:
    telemetry = scene.Telemetry
    if not any(said.get(kind) for kind in ("attempt", "telemetry", "warning", "history", "error")):
        found = ["no [Scene line in the summary", *_memory(telemetry), *_limits(scene), *_times(scene)]
        found += [*_reasons(telemetry), *_counts(scene, [])]
        return [f"{scene.SceneId}: {finding}" for finding in found]
    found = [
        *_entries(said.get("telemetry", []), telemetry),
        *_memory(telemetry),
        *_limits(scene),
        *_times(scene),
        *_reasons(telemetry),
    ]
    found += _counts(scene, said.get("attempt", []))
    found += _warnings(scene, [values["text"] for values in said.get("warning", [])])
    if (scene.HistoryErrors or scene.HistoryRetrieved is False) and not said.get("history"):
        found.append(f"HistoryErrors {scene.HistoryErrors}: no HISTORY line in the summary")
    if scene.Success is False and not said.get("error"):
        found.append("Success is false, and no ERROR line is in the summary")
    return [f"{scene.SceneId}: {finding}" for finding in found]


def _entries(said: list[dict[str, str]], telemetry: SceneTelemetry) -> Iterator[str]:
    if not said:
        yield "no Telemetry line in the summary"
    for values in said:
        given = read_entries(values["entries"])
        for entry in ENTRIES:
            yield from _entry(entry, given.get(entry.name), entry.read(telemetry))


def _entry(entry: Entry, text: str | None, value: Value) -> Iterator[str]:
    shown = None if value is None else one_line(value) + entry.unit
    if text is None:
        if entry.required and value is not None:
            yield f"{entry.name} is missing from the Telemetry line, the metadata has {shown}"
    elif shown is None or not _alike(entry, text, value):
        yield f"{entry.name}={text} in the summary, the metadata has {shown}"


def _alike(entry: Entry, text: str, value: Value) -> bool:
    if entry.name == "ExecutionSuccessAt" and isinstance(value, str):
        return text == one_line(value) or _is_time_of_day(text, value) or _is_time_of_day(value, text)
    if isinstance(value, (str, bool)):
        return text.casefold() == one_line(value).casefold() if isinstance(value, bool) else text == one_line(value)
    number = text[: -len(entry.unit)] if entry.unit and text.endswith(entry.unit) else text
    return (
        bool(re.fullmatch(r"-?\d+(\.\d+)?", number)) and abs(float(number) - float(value or 0)) <= entry.within + 1e-9
    )


def _is_time_of_day(short: str, whole: str) -> bool:
    """Whether a time without a date, `12:00:05`, is that of a whole one: as written, in UTC or here; to a second."""
    if not re.fullmatch(r"\d{2}:\d{2}:\d{2}(\.\d+)?", short):
        return False
    try:
        moment = parse(whole) / 1000
        seconds = sum(float(part) * unit for part, unit in zip(short.split(":"), (3600, 60, 1), strict=True))
    except ValueError:
        return False
    written = re.search(r"[T ](\d{2}):(\d{2}):(\d{2})", whole)
    days = [moment % DAY_SECONDS]
    with contextlib.suppress(OverflowError, OSError, ValueError):
        here = time.localtime(moment)
        days.append(here.tm_hour * 3600 + here.tm_min * 60 + here.tm_sec + moment % 1)
    if written is not None:
        days.append(int(written[1]) * 3600 + int(written[2]) * 60 + int(written[3]) + moment % 1)
    apart = (abs(seconds - day) for day in days)
    return any(min(one, DAY_SECONDS - one) < WITHIN_SECONDS for one in apart)


def _memory(telemetry: SceneTelemetry) -> Iterator[str]:
    gpu = telemetry.GPU
    yield from _delta("GPU.VramDelta", gpu.VramFreeBefore, gpu.VramFreeAfter, gpu.VramDelta, 0)
    yield from _delta("GPU.VramDeltaMB", gpu.VramBeforeMB, gpu.VramAfterMB, gpu.VramDeltaMB, WITHIN_MB)
    for name, size, megabytes in (
        ("VramBeforeMB", gpu.VramFreeBefore, gpu.VramBeforeMB),
        ("VramAfterMB", gpu.VramFreeAfter, gpu.VramAfterMB),
    ):
        if size is not None and megabytes is not None and abs(size / MB - megabytes) > WITHIN_MB:
            yield f"GPU.{name} is {megabytes}, its bytes {size} are {size / MB:.2f} MB"
    if gpu.VramTotal is not None:
        for name, size in (("VramFreeBefore", gpu.VramFreeBefore), ("VramFreeAfter", gpu.VramFreeAfter)):
            if size is not None and size > gpu.VramTotal:
                yield f"GPU.{name} is {size}, VramTotal only {gpu.VramTotal}"


def _delta(name: str, before: float | None, after: float | None, delta: float | None, within: float) -> Iterator[str]:
    if before is None or after is None:
        if delta is not None:
            yield f"{name} is {delta}, and before or after is null"
    elif delta is None or abs(after - before - delta) > within:
        yield f"{name} is {delta}, after - before is {after - before:g} ({after:g} - {before:g})"


def _limits(scene: Scene) -> Iterator[str]:
    telemetry = scene.Telemetry
    expected = unbounded(telemetry.HistoryAttemptLimit)
    if telemetry.pollLimit is not None and str(telemetry.pollLimit) != str(expected):
        limit = telemetry.HistoryAttemptLimit
        yield f"pollLimit is {telemetry.pollLimit}, HistoryAttemptLimit {limit} makes {expected}"
    if scene.SceneRetryBudget is not None and scene.SceneRetryBudget != telemetry.SceneRetryBudget:
        yield f"SceneRetryBudget is {scene.SceneRetryBudget}, Telemetry.SceneRetryBudget {telemetry.SceneRetryBudget}"


def _reasons(telemetry: SceneTelemetry) -> Iterator[str]:
    reason, reached = telemetry.HistoryExitReason, telemetry.HistoryPostExecutionTimeoutReached
    if reached != (reason == "postExecution"):
        yield f"HistoryPostExecutionTimeoutReached is {reached}, HistoryExitReason {reason}"
    if reason in ("success", "postExecution") and not telemetry.ExecutionSuccessDetected:
        yield f"ExecutionSuccessDetected is False, HistoryExitReason {reason}"


def _times(scene: Scene) -> Iterator[str]:
    telemetry = scene.Telemetry
    if telemetry.QueueStart is None or telemetry.QueueEnd is None:
        return
    try:
        seconds = (parse(telemetry.QueueEnd) - parse(telemetry.QueueStart)) / 1000
    except ValueError:
        yield f"QueueStart {telemetry.QueueStart!r} or QueueEnd {telemetry.QueueEnd!r} is no time"
        return
    if abs(seconds - telemetry.DurationSeconds) > WITHIN_SECONDS:
        yield f"DurationSeconds is {telemetry.DurationSeconds:g}, QueueEnd - QueueStart is {seconds:g}"


def _counts(scene: Scene, attempts: list[dict[str, str]]) -> Iterator[str]:
    count, floor = scene.FrameCount, scene.FrameFloor
    if count is not None and floor is not None and scene.MeetsFrameFloor not in (None, count >= floor):
        yield f"MeetsFrameFloor is {scene.MeetsFrameFloor}, FrameCount {count}, FrameFloor {floor}"
    if scene.HistoryAttempts is not None and scene.HistoryAttempts != scene.Telemetry.HistoryAttempts:
        yield f"HistoryAttempts is {scene.HistoryAttempts}, Telemetry.HistoryAttempts {scene.Telemetry.HistoryAttempts}"
    if attempts and count is not None and str(count) not in {values["count"] for values in attempts}:
        yield f"FrameCount is {count}, the attempts have {', '.join(values['count'] for values in attempts)}"
    if attempts and scene.AttemptsRun is not None and len(attempts) != scene.AttemptsRun:
        yield f"AttemptsRun is {scene.AttemptsRun}, the summary has {len(attempts)} attempts"


def _warnings(scene: Scene, texts: list[str]) -> Iterator[str]:
    for note in scene.Telemetry.System.FallbackNotes:
        if one_line(note) not in texts:
            yield f"fallback note {note!r}: no WARNING line has it"
    count, floor = scene.FrameCount, scene.FrameFloor
    if count is not None and floor is not None and count < floor:
        expected = BELOW_FLOOR.format(count=count, floor=floor)
        if expected not in texts:
            yield f"FrameCount {count} is below FrameFloor {floor}: no WARNING line {expected!r}"
    known = {one_line(note) for note in scene.Telemetry.System.FallbackNotes}
    for text in texts:
        if _is_note(text) and text not in known:
            yield f"WARNING {text!r} is a fallback note that the metadata lacks"


def _is_note(text: str) -> bool:
    """Whether a warning is one of the contract's notes, which stand in both files."""
    return text.startswith(
        ("/system_stats ", "Done marker not found after ", "Frames appeared freshly written; ", "Forced copy after ")
    )
