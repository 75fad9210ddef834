"""A run's folder: its name, the names of its files, and how a file comes into it whole."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..telemetry.files.temporaries import temporary_name
from ..telemetry.markers.file import sync_folder

METADATA, SUMMARY, LATEST = "artifact-metadata.json", "run-summary.txt", "latest-run.json"
RESULTS = "test-results"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's folder, made for it alone."""

    runs: Path
    run_id: str

    @property
    def path(self) -> Path:
        """The folder."""
        return self.runs / self.run_id

    @property
    def archive(self) -> Path:
        """Where the run's archive stands."""
        return self.path / f"{self.run_id}.zip"

    @classmethod
    def make(cls, runs: Path) -> RunFolder:
        """A new folder named after this second; a second run in it gets a name of its own."""
        runs.mkdir(parents=True, exist_ok=True)
        return cls(runs, new_folder(runs).name)

    @classmethod
    def of(cls, path: Path) -> RunFolder:
        """The folder of a run that was begun before."""
        whole = path.resolve()
        return cls(whole.parent, whole.name)


def new_folder(parent: Path, head: str = "") -> Path:
    """Make a folder named after this second, with `head` before; a second one in it gets a name of its own.

    Raises OSError.
    """
    base = f"{head}{time.strftime('%Y%m%d-%H%M%S')}"
    for number in range(1, 10_000):
        folder = parent / (base if number == 1 else f"{base}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise OSError(f"{parent} has no free name for {base}")


def write_atomically(path: Path, text: str) -> None:
    """Write a file beside its place, flush it, and move it there. Raises OSError."""
    write_together({path: text})


def write_together(files: Mapping[Path, str]) -> None:
    """Write files, each whole or not at all, in their order; all are flushed before the first is moved to its place.

    To flush ten files that were just written takes little more than to flush one. Raises OSError.
    """
    temporaries: dict[Path, Path] = {}
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporaries[path] = path.parent / temporary_name()
            with temporaries[path].open("x", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
                file.write(text)
        for temporary in temporaries.values():
            _sync(temporary)
        for path, temporary in temporaries.items():
            temporary.replace(path)
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)
    for folder in dict.fromkeys(path.parent for path in files):
        sync_folder(folder)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def to_json(document: Any) -> str:
    """A document as it stands in a file."""
    return json.dumps(document, ensure_ascii=True, indent=2) + "\n"
