"""A run's folder: its name, the names of its files, and how a file comes into it whole."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..telemetry.marker import sync_folder
from ..telemetry.temporaries import temporary_name

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
        base = time.strftime("%Y%m%d-%H%M%S")
        for number in range(1, 10_000):
            name = base if number == 1 else f"{base}-{number}"
            try:
                (runs / name).mkdir()
            except FileExistsError:
                continue
            return cls(runs, name)
        raise OSError(f"{runs} has no free name for {base}")

    @classmethod
    def of(cls, path: Path) -> RunFolder:
        """The folder of a run that was begun before."""
        whole = path.resolve()
        return cls(whole.parent, whole.name)


def write_atomically(path: Path, text: str) -> None:
    """Write a file beside its place, flush it, and move it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / temporary_name()
    try:
        with temporary.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def to_json(document: Any) -> str:
    """A document as it stands in a file."""
    return json.dumps(document, ensure_ascii=True, indent=2) + "\n"
