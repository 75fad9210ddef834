"""What was decided of one marker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..models.base import MarkerStatus, PromptStatus
from .hashing import Hashed
from .outputs import ReportedFile
from .prefix import PrefixPath
from .requests import WRITE_NOTHING, MarkerRequest


@dataclass(slots=True)
class Decision:
    """One marker: where, asked for by whom, with which files."""

    prefix: PrefixPath
    requests: list[MarkerRequest]
    files: list[ReportedFile]
    notes: list[str]
    failed: bool = False
    """True where ComfyUI refused whatever would have saved under this prefix, so that it is no success."""
    hashes: Mapping[Path, Hashed] | None = None
    """Of its files by their paths, where they were read before the marker is made up."""

    @property
    def hash_files(self) -> bool:
        """Whether one of those who asked for it wants the files' hashes."""
        return any(request.hash_files for request in self.requests)

    @property
    def cached(self) -> bool:
        """True where the prompt wrote nothing new under this prefix."""
        return bool(self.files) and all(file.cached for file in self.files)

    def status_at(self, status: MarkerStatus) -> MarkerStatus:
        """What the marker says at a prompt's end of this status, or while it runs."""
        return "error" if self.failed and status in ("success", "running") else status

    def wanted(self, status: PromptStatus) -> bool:
        """False where this failed and nobody wants to be told by a file."""
        good = status == "success" and not self.failed
        return good or any(request.on_failure != WRITE_NOTHING for request in self.requests)
