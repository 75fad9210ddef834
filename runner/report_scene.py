"""One scene of the report: its frames, its telemetry, its tries."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..telemetry.models.run_contract import GpuTelemetry, Scene
from .pictures import PICTURES
from .report_links import link_to
from .report_texts import kind_of_try, pairs_of, seconds, short
from .report_view import Frame, Frames, Link, SceneView, Try
from .summary import unbounded
from .thumbnails import spread, thumbnail


def scene_view(scene: Scene, folder: Path, most: int) -> SceneView:
    """A scene of the run in `folder`, with at most so many of its files."""
    told = scene.Telemetry
    prompts = [("Prompt", scene.Prompt), ("Negative prompt", scene.NegativePrompt)]
    warnings = dict.fromkeys([*told.System.FallbackNotes, *scene.Warnings])
    return SceneView(
        id=scene.SceneId,
        title=scene.SceneTitle or scene.SceneId,
        succeeded=bool(scene.Success),
        errors=list(map(short, scene.Errors)),
        frames=_frames(scene, folder, most),
        film=_film(scene),
        facts=pairs_of(_facts(scene)),
        prompts=[(name, short(text)) for name, text in prompts if text],
        warnings=list(map(short, warnings)),
        history_errors=list(map(short, scene.HistoryErrors)),
        tries=list(map(_try, scene.AttemptSummaries)),
    )


def _facts(scene: Scene) -> Mapping[str, object]:
    told = scene.Telemetry
    return {
        "Frames": f"{scene.FrameCount or 0} of at least {scene.FrameFloor or 0}",
        "Duration": seconds(told.DurationSeconds),
        "Ended by": told.HistoryExitReason,
        "Success seen": told.ExecutionSuccessAt,
        "Done marker": f"found after {seconds(told.DoneMarkerWaitSeconds)}" if told.DoneMarkerDetected else "none",
        "Forced copy": "yes" if told.ForcedCopyTriggered else None,
        "Requests": f"{told.HistoryAttempts} of {unbounded(told.HistoryAttemptLimit)}",
        "Device": told.GPU.Name + (f" (by {told.GPU.FallbackSource})" if told.GPU.FallbackSource else ""),
        "Memory free": _memory(told.GPU),
        "Prefix": scene.FramePrefix,
        "Keyframe": scene.KeyframeSource,
    }


def _frames(scene: Scene, folder: Path, most: int) -> Frames | None:
    below = scene.GeneratedFramesDir
    if not below or not (folder / below).is_dir():
        return None
    names = sorted(
        path.relative_to(folder / below).as_posix()
        for path in (folder / below).rglob("*")
        if path.is_file() and path.suffix.lower() != ".done"
    )
    pictures = [name for name in names if name.lower().endswith(PICTURES)]
    others = [name for name in names if name not in pictures]
    shown = [_picture(folder, f"{below}/{name}", _short_name(name, scene)) for name in spread(pictures, most)]
    shown += [Frame(name, link_to(f"{below}/{name}"), False, None) for name in others[:most]]
    return Frames(shown, len(names) - len(shown), Link(below, link_to(below)))


def _short_name(name: str, scene: Scene) -> str:
    """A frame's name without what all of them begin with."""
    rest = name.removeprefix(scene.FramePrefix) if scene.FramePrefix else name
    return rest.lstrip("_") or name


def _picture(folder: Path, path: str, name: str) -> Frame:
    return Frame(name, link_to(path), True, thumbnail(folder / path, folder) or None)


def _film(scene: Scene) -> Link | None:
    if scene.Video is None or scene.Video.Path is None:
        return None
    return Link(f"film, {seconds(scene.Video.DurationSeconds)}", link_to(scene.Video.Path))


def _memory(gpu: GpuTelemetry) -> str | None:
    if gpu.VramBeforeMB is None and gpu.VramAfterMB is None:
        return None
    shown = ["unknown" if one is None else f"{one:,.0f} MB" for one in (gpu.VramBeforeMB, gpu.VramAfterMB)]
    delta = "" if gpu.VramDeltaMB is None else f" ({gpu.VramDeltaMB:+,.1f} MB)"
    return f"{shown[0]} before, {shown[1]} after{delta}"


def _try(attempt: Mapping[str, Any]) -> Try:
    end = attempt.get("End")
    return Try(
        number=_text(attempt.get("Attempt")),
        kind=kind_of_try(attempt),
        end="" if end is None else str(end),
        frames=_text(attempt.get("Frames")),
        took=seconds(attempt.get("DurationSeconds")),
        server=_text(attempt.get("Server")),
        why=_text(attempt.get("RequeueReason") or attempt.get("Error")),
        prompt_id=_text(attempt.get("PromptId")),
    )


def _text(value: object) -> str | None:
    return None if value is None else short(str(value))
