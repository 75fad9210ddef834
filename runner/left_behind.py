"""What an earlier process left in a run's folder: looked at before it is believed, and refused by name.

A run's folder may have come from somebody else, as an archive or on a shared disk. It is data: it may not lead to
files outside of it, nor have a number that no runner writes.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ..client.limits import MIB
from ..client.parsing import UnreadableError, parse
from ..telemetry.files.guarded_files import OddEntryError, kind_of, read_regular
from ..telemetry.models.run_contract import Scene
from ..telemetry.models.text import clean
from .plan import PlanError

MOST_BYTES = 16 * MIB
"""Of one file that is read."""
MOST_ENTRIES = 1_000_000
MOST_TRIES, MOST_FRAMES, MOST_SIZE = 10_000, 1_000_000, 2**53
ANEW = "remove the file, and the scene is done anew"
Line = Annotated[str, StringConstraints(max_length=4000)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Try(BaseModel):
    """One try, as `attempts.json` and the metadata have it."""

    model_config = ConfigDict(extra="allow", strict=True)

    Attempt: int = Field(ge=1, le=MOST_TRIES)
    PromptId: Id
    Server: Annotated[str, StringConstraints(max_length=2000)] | None
    Frames: int = Field(ge=0, le=MOST_FRAMES)
    DurationSeconds: Annotated[float, Field(ge=0, le=1e9)] | None = None
    Prefix: Line | None = None
    QueueStart: Line | None = None
    QueueEnd: Line | None = None
    End: Line | None = None
    Success: bool | None = None
    RequeueReason: Line | None = None
    Error: Line | None = None


_NEEDED = {"Attempt", "PromptId", "Server", "Frames"}


class Tries(BaseModel):
    """`<scene>/attempts.json`."""

    model_config = ConfigDict(strict=True)

    tries: list[Try] = Field(max_length=MOST_TRIES)


class SceneResult(BaseModel):
    """`<scene>/result.json`: what became of a scene, and its files with their sizes in bytes."""

    model_config = ConfigDict(extra="ignore")

    SchemaVersion: int = 1
    Files: dict[str, Annotated[int, Field(ge=0, le=MOST_SIZE)]] = Field(max_length=MOST_FRAMES)
    Scene: Scene


def check_tree(folder: Path) -> None:
    """Raises PlanError for a run's folder that holds anything but files and folders, naming the first such entry."""
    for count, (path, mode) in enumerate(_entries(folder), 1):
        if count > MOST_ENTRIES:
            raise PlanError("invalid_run", f"{folder} holds more than {MOST_ENTRIES} entries: no run has so many")
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            shown = clean(str(path.relative_to(folder)), 200)
            advice = "a run's folder holds files and folders alone; take it away, or put what it leads to in its place"
            raise PlanError("invalid_run", f"{folder}: {shown} {kind_of(mode)}: {advice}")


def _entries(folder: Path) -> Iterator[tuple[Path, int]]:
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                try:
                    mode = entry.stat(follow_symlinks=False).st_mode
                except FileNotFoundError:
                    continue
                yield Path(entry.path), mode
                if stat.S_ISDIR(mode):
                    waiting.append(Path(entry.path))


def read_tries(path: Path, run: Path) -> list[dict[str, Any]]:
    """The tries that a scene's file notes; none where there is no file, or no JSON in it. Raises PlanError."""
    return _tries_of(path, run, _read(path, run))


def _tries_of(path: Path, run: Path, told: Any) -> list[dict[str, Any]]:
    """Those that say what a try is; what lacks a field of it says nothing."""
    some = [one for one in told if isinstance(one, dict) and set(one) >= _NEEDED] if isinstance(told, list) else []
    try:
        checked = Tries.model_validate({"tries": some})
    except ValidationError as error:
        raise _refused(path, run, error, 1) from None
    return [one.model_dump(mode="json", exclude_unset=True) for one in checked.tries]


def read_result(path: Path, run: Path, scene_id: str) -> SceneResult | None:
    """A scene's result; null where there is no file, or one that lacks what a result says. Raises PlanError."""
    told = _read(path, run)
    if not isinstance(told, dict):
        return None
    try:
        result = SceneResult.model_validate(told)
    except ValidationError as error:
        if all(one["type"] == "missing" for one in error.errors(include_url=False)):
            return None
        raise _refused(path, run, error) from None
    scene = result.Scene
    if scene.SceneId != scene_id:
        raise _wrong(path, run, f"it is of scene {clean(scene.SceneId, 100)!r}")
    named = {name: getattr(scene, name) for name in ("GeneratedFramesDir", "HistoryPath", "KeyframeSource")}
    named["Video.Path"] = scene.Video.Path if scene.Video else None
    for name, value in named.items():
        if value is not None and (not is_inside(value) or value.split("/")[0] != scene_id):
            raise _wrong(path, run, f"{name} is {clean(value, 100)!r}: a path below {scene_id}/ is accepted")
    for value in result.Files:
        if not is_inside(value):
            raise _wrong(path, run, f"Files has {clean(value, 100)!r}: a path below the scene's frames is accepted")
    scene.AttemptSummaries = _tries_of(path, run, scene.AttemptSummaries)
    return result


def is_inside(path: str) -> bool:
    """Whether a path with forward slashes is a relative one that leads nowhere upwards."""
    parts = re.split(r"[/\\]", path)
    return not any(part in ("", ".", "..") for part in parts) and ":" not in parts[0]


def _read(path: Path, run: Path) -> Any:
    try:
        return parse(read_regular(path, MOST_BYTES, run))
    except FileNotFoundError:
        return None
    except OddEntryError as error:
        raise _wrong(path, run, f"it {error.what}") from None
    except UnreadableError as error:
        if error.is_no_json:  # such a file says nothing; one that is beyond all bounds was made to
            return None
        raise _wrong(path, run, f"it {error}") from None
    except OSError as error:
        raise PlanError("io", f"{path} can't be read: {error.strerror or error}") from None


def _refused(path: Path, run: Path, error: ValidationError, leave: int = 0) -> PlanError:
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"][leave:])) or "the whole"
    given = "" if isinstance(first["input"], (dict, list)) else f" is {clean(str(first['input']), 100)!r}"
    return _wrong(path, run, f"{clean(where, 200)}{given}: {first['msg'].removeprefix('Value error, ')}")


def _wrong(path: Path, run: Path, why: str) -> PlanError:
    return PlanError("invalid_run", f"{path.relative_to(run)} in {run} can't be gone on with: {why}; {ANEW}")
