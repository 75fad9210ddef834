"""Checks a run's two files against the contract and against each other."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..telemetry.files.guarded_files import OddEntryError, TooLargeError, read_regular
from ..telemetry.models.run_contract import ArtifactMetadata
from .cross_checks import LogsKind, cross_check
from .summary import Said, read_summary

SUMMARY, METADATA = "run-summary.txt", "artifact-metadata.json"
MOST_BYTES = 64 * 1024 * 1024


class UncheckableError(Exception):
    """There is nothing to check: no folder, no summary, no metadata, or they can't be read."""


@dataclass(slots=True)
class Findings:
    """What a validation found. A warning fails nothing."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether there is no error."""
        return not self.errors


def validate_run(folder: Path) -> Findings:
    """Check a run's folder. Raises UncheckableError where that can't be done."""
    summary = read_summary(_read(folder, SUMMARY).splitlines())
    return validate_files(summary, _read(folder, METADATA), folder)


def validate_files(summary: list[Said], metadata: str, folder: Path | None = None) -> Findings:
    """Check a summary's lines against a metadata's text; with a folder also whether the named files are there."""
    found = Findings()
    try:
        told = ArtifactMetadata.model_validate_json(metadata)
    except ValidationError as error:
        found.errors = model_errors(error, metadata)
        told = None
    cross_check(summary, told, found.errors, found.warnings, logs=_logs(metadata))
    if told is not None and folder is not None:
        found.warnings += [f"{where}: {path} isn't there" for where, path in _named(told) if not _exists(folder, path)]
    return found


def _logs(metadata: str) -> LogsKind:
    """Whose logs a metadata names, also one with mistakes in it; null where it says neither, or both."""
    try:
        told = json.loads(metadata)
    except (ValueError, RecursionError):
        return None
    named = [isinstance(told, dict) and told.get(name) is not None for name in ("CheckLogs", "VitestLogs")]
    return None if named[0] == named[1] else "Check" if named[0] else "Vitest"


def model_errors(error: ValidationError, metadata: str) -> list[str]:
    """Pydantic's findings as lines that name the scene, the field and what is there."""
    ids = _scene_ids(metadata)
    return [_model_error(one, ids) for one in error.errors(include_url=False)]


def _model_error(one: Any, ids: list[str]) -> str:
    place = list(one["loc"])
    where = ""
    if len(place) > 1 and place[0] == "Scenes" and isinstance(place[1], int):
        where = f"{ids[place[1]] if place[1] < len(ids) else place[1]}: "
        place = place[2:]
    name = ".".join(map(str, place)) or METADATA
    if one["type"] == "missing":
        return f"{where}{name} is missing"
    given = one["input"]
    shown = "" if isinstance(given, (dict, list)) else f" ({given!r})"
    return f"{where}{name}{shown}: {one['msg'].removeprefix('Value error, ')}"


def _scene_ids(metadata: str) -> list[str]:
    try:
        scenes = json.loads(metadata)["Scenes"]
        return [str(scene.get("SceneId", place)) for place, scene in enumerate(scenes)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def _read(folder: Path, name: str) -> str:
    try:
        data = read_regular(folder / name, MOST_BYTES, folder)
    except TooLargeError:
        raise UncheckableError(f"{folder / name} is larger than any such file ({MOST_BYTES} bytes)") from None
    except OddEntryError as error:
        raise UncheckableError(f"{folder / name} {error.what}: a regular file is accepted") from None
    except OSError as error:
        raise UncheckableError(f"{folder / name} can't be read: {error.strerror or error}") from None
    return data.decode("utf-8-sig", "replace")


def _named(told: ArtifactMetadata) -> list[tuple[str, str]]:
    """Every file or folder that the metadata names, and where."""
    named: dict[str, str | None] = {"Story.File": told.Story.File, "Archive": told.Archive}
    for name in ("MappingPreflight", "ComfyUIStatus"):
        helper = getattr(told.HelperSummaries, name)
        named |= {f"HelperSummaries.{name}.Summary": helper.Summary, f"HelperSummaries.{name}.Log": helper.Log}
    for kind in ("CheckLogs", "VitestLogs"):
        logs = getattr(told, kind)
        named |= {f"{kind}.{name}": path for name, path in (logs.model_dump() if logs else {}).items()}
    for scene in told.Scenes:
        shot, telemetry = scene.SceneId, scene.Telemetry
        named |= {f"{shot}: {name}": getattr(scene, name) for name in ("HistoryPath", "GeneratedFramesDir")}
        named |= {f"{shot}: {name}": getattr(telemetry, name) for name in ("DoneMarkerPath", "ForcedCopyDebugPath")}
        named[f"{shot}: Video.Path"] = scene.Video.Path if scene.Video else None
    return [(where, path) for where, path in named.items() if path]


def _exists(folder: Path, path: str) -> bool:
    try:
        return (folder / path).exists()
    except (OSError, ValueError):
        return False
