"""What is known of a prompt when its markers are decided."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..models.times import Stamp
from .folder import FileStamp, Listing
from .outputs import ReportedFile
from .requests import MarkerPlan


@dataclass(slots=True)
class Evidence:
    """What is known of a prompt when its markers are decided."""

    prompt_id: str
    plan: MarkerPlan
    roots: Mapping[str, Path]
    """The folders of `output`, `temp` and `input`."""
    started: Stamp
    ended: Stamp | None = None
    first_node_mono: float | None = None
    reported: list[ReportedFile] = field(default_factory=list)
    refused: Mapping[str, str] = field(default_factory=dict)
    """Of outputs that ComfyUI refused, what is to be said of each, by node id."""
    queued_listings: dict[str, Listing] = field(default_factory=dict)
    """By folder, relative to the output folder; the last before the prompt started."""
    started_listings: dict[str, Listing] = field(default_factory=dict)
    listed: Callable[[str, Iterable[str]], set[tuple[str, FileStamp]]] = lambda _folder, _names: set()
    """Which versions of these files in this folder earlier records list."""
    undisturbed_folders: frozenset[str] = frozenset()
    """Folders in which no other prompt has written since they were listed at queueing: what is new since, of what was
    looked at, is no earlier prompt's.
    """
    this_process: bool = True
    """False after a restart: then only the wall clock tells what is older."""

    @property
    def output_folder(self) -> Path:
        """ComfyUI's output folder."""
        return self.roots["output"]
