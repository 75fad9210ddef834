"""An open group of files, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..telemetry.markers.folder import FileStamp
from ..telemetry.models.base import MarkerStatus
from .evidence import SavedFiles


@dataclass(slots=True)
class Group:
    """An open group. Its memory is what has come or changed since it was opened."""

    opened: float
    active: float
    """When something last happened to it."""
    joined: dict[str, FileStamp | None] = field(default_factory=dict)
    """The files that came or changed, in that order; null where only their names were told."""
    unsettled: dict[str, tuple[FileStamp | None, float]] = field(default_factory=dict)
    """Those not known to be closed: what each looked like, and since when."""
    unheard: set[str] = field(default_factory=set)
    """Those of them that a scan has met: whether they are closed nobody has told, so a prompt's record may."""
    saved: SavedFiles | None = None
    notes: list[str] = field(default_factory=list)
    failures: int = 0
    due: float = 0.0
    """When it is to be looked at next."""


@dataclass(frozen=True, slots=True)
class Complete:
    """A group is complete: the marker that it comes to."""

    files: dict[str, FileStamp]
    status: MarkerStatus = "success"
    prompt_id: str | None = None
    nodes: Mapping[str, str | None] = field(default_factory=dict)
    cached: bool = False
    notes: tuple[str, ...] = ()
