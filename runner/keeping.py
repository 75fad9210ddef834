"""Where a try's files come to lie: in the output folder under their names, or together in a new folder of their own.

A server chooses names and folders, and anybody's files may lie in the output folder: nothing of theirs is replaced, and
no link leads a file out of it.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path

from ..telemetry.markers.file import MarkerError, read_marker
from ..telemetry.markers.prefix import MARKER_SUFFIXES, PrefixError, PrefixPath, confine
from .attempts import Attempt, Outcome
from .run_folder import new_folder


@dataclass(slots=True)
class Kept:
    """What was kept of a try."""

    folder: Path
    files: list[str] = field(default_factory=list)
    """Where the collected files are; markers and the like are not among them."""
    note: str | None = None
    """Why they lie in a folder of their own; null where they don't."""


def keep_best(outcome: Outcome, output: Path) -> Kept:
    """Move the best try's files into the output folder, each once, and remove the others. Raises OSError.

    Where one of them can't have its name there, all of them go into a new folder there, so that what belongs together
    stays together. What could not be moved at all is not removed.
    """
    best = outcome.best
    kept = _moved(best, output)
    for attempt in outcome.attempts:
        shutil.rmtree(attempt.folder, ignore_errors=True)
    if best.telemetry is not None:
        best.telemetry.DoneMarkerPath = best.collected.marker_path
    return kept


def _moved(best: Attempt, output: Path) -> Kept:
    files = [path for path in sorted(best.folder.rglob("*")) if _is_regular(path)] if best.folder.is_dir() else []
    names = [path.relative_to(best.folder) for path in files]
    kept = Kept(output)
    taken = next((why for path, name in zip(files, names, strict=True) if (why := _taken(path, output, name))), None)
    if taken is not None:
        kept.folder = new_folder(output, "collected-")
        kept.note = f"{taken}; the files are in {kept.folder}"
    marker = Path(best.collected.marker_path).resolve() if best.collected.marker_path else None
    for path, name in zip(files, names, strict=True):
        is_marker = marker is not None and path.resolve() == marker
        target = kept.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        if is_marker:
            best.collected.marker_path = str(target)
        if name.as_posix() in best.collected.files:
            kept.files.append(str(target))
    return kept


def _is_regular(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def _taken(path: Path, output: Path, name: Path) -> str | None:
    """Why a file can't have its name in the output folder; null where it can, as nothing of anybody's is lost by it."""
    parent = name.parent.as_posix()
    try:
        folder = confine(output, PrefixPath("" if parent == "." else parent, ""), shown=name.as_posix())
        folder.mkdir(parents=True, exist_ok=True)
    except PrefixError as error:
        return str(error)
    except OSError as error:
        return f"{output / name.parent} can't be a folder ({error.strerror})"
    there = folder / name.name
    if not os.path.lexists(there) or (_is_regular(there) and _is_the_same(path, there)):
        return None
    return f"{output / name} is there already, with other content"


def _is_the_same(path: Path, there: Path) -> bool:
    """Whether a file may take another's place: it has the same content, or both are markers."""
    if path.name.endswith(MARKER_SUFFIXES):
        try:
            read_marker(there)
        except (MarkerError, OSError):
            return False
        return True
    return filecmp.cmp(path, there, shallow=False)
