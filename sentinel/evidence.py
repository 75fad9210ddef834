"""What a ComfyUI can tell of the files in a watched folder: which prompts run, and what an ended one saved."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from ..telemetry.markers.grouping import is_resolved_from
from ..telemetry.markers.prefix import MAX_PREFIX_BYTES
from ..telemetry.markers.requests import MARKER_CLASS, other_prefixes
from ..telemetry.models.base import MarkerStatus

if TYPE_CHECKING:
    from ..telemetry.models.prompt import Prompt
    from ..telemetry.models.record import PromptRecord

PATIENCE_SECONDS = 5.0
"""How long a reported file that isn't there, or is empty, is waited for; the contract's figure."""
FINAL: dict[str, MarkerStatus] = {
    "success": "success",
    "error": "error",
    "interrupted": "interrupted",
    "abandoned": "abandoned",
}
"""By the status of an ended prompt that of its markers; a cancelled one never started, and has none."""


class Key(NamedTuple):
    """A group: its folder, relative to the watched one, with forward slashes (empty for itself), and its prefix."""

    folder: str
    name: str


class NamedFile(NamedTuple):
    """A file as ComfyUI names it, relative to its output folder."""

    folder: str
    name: str
    node_id: str | None = None
    literal: str | None = None
    """The prefix of its saver as it stands in the graph; null where that isn't known."""
    cached: bool = False
    """True where it is an earlier prompt's file, and its saver did not run."""
    sure: bool = True
    """False where only its being there tells that a text was a file's name."""


@dataclass(frozen=True, slots=True)
class RunningPrompt:
    """A prompt that runs. It holds open the groups that its savers may still write to."""

    prompt_id: str
    literals: tuple[str, ...] = ()
    """The prefixes of its savers as they stand in the graph."""
    wired: bool = False
    """True where a saver's prefix is only known to itself: then every group that opens may be this prompt's."""
    folders: tuple[str, ...] = ()
    """The folders that its outputs may save to, as they stand in the graph; empty for the output folder itself."""

    def claims(self, key: Key, root: tuple[str, ...]) -> bool:
        """Whether a saver's literal prefix can come to this group of a folder whose path ends in `root`."""
        return any(_fits(literal, key, root) for literal in self.literals)

    def saves_beside(self, key: Key, root: tuple[str, ...]) -> bool:
        """Whether an output of it may save into this group's folder, under whatever name."""
        return self.wired or any(_is_folder(folder, key.folder, root) for folder in self.folders)


@dataclass(frozen=True, slots=True)
class EndedPrompt:
    """A prompt that has ended, and what it saved."""

    prompt_id: str
    status: MarkerStatus
    files: tuple[NamedFile, ...] = ()
    """What its nodes reported as output."""
    running: RunningPrompt | None = None
    """What it held while it ran; null where it was not seen to."""
    marked: tuple[str, ...] = ()
    """The prefixes that the graph's own marker nodes mark, as they stand in it; an empty one is every prefix."""
    run_number: int = 1
    """Which run of this prompt id it was, where that is known."""

    def marks(self, key: Key, root: tuple[str, ...]) -> bool:
        """Whether the graph's own marker nodes mark a group: then its marker is the recorder's affair."""
        return any(not literal or _fits(literal, key, root) for literal in self.marked)


@dataclass(frozen=True, slots=True)
class KnownAsOf:
    """An answer has come to a question that was put at `at`; null where nobody answers."""

    at: float | None
    running: frozenset[str] = frozenset()
    """The prompts that ran then; of others that were taken to run nobody knows how they ended."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a ComfyUI says when it is asked: the prompts that run, and those that have ended, oldest first."""

    running: tuple[RunningPrompt, ...] = ()
    ended: tuple[EndedPrompt, ...] = ()


class SilentError(RuntimeError):
    """Nobody answers, or what answers is no ComfyUI."""


@dataclass(slots=True)
class SavedFiles:
    """What one prompt saved into one group of a watched folder."""

    prompt_id: str
    status: MarkerStatus
    names: dict[str, str | None] = field(default_factory=dict)
    """By file name the node that reported it."""
    at: float = 0.0
    """When we heard of it, on the monotonic clock."""
    cached: bool = False


def running_of(prompt_id: str, graph: Mapping[str, Any]) -> RunningPrompt:
    """What a queued graph says of the groups that its prompt may write to."""
    wired = any(isinstance(given.get("filename_prefix"), list) for _, _, given in _nodes(graph))
    return RunningPrompt(prompt_id, tuple(dict.fromkeys(literals_of(graph).values())), wired, _folders_of(graph))


def ended_of(record: Prompt | PromptRecord, graph: Mapping[str, Any], running: RunningPrompt) -> EndedPrompt | None:
    """How a recorded prompt ended; null for one that hasn't, or never started: it has saved nothing."""
    final = FINAL.get(record.status)
    if final is None:
        return None
    literals = literals_of(graph)
    files = tuple(
        NamedFile(file.subfolder, file.filename, file.node_id, literals.get(file.node_id or ""), bool(file.cached))
        for file in record.outputs
        if file.type == "output"
    )
    return EndedPrompt(record.prompt_id, final, files, running, marked_by(graph), record.run_number)


def _nodes(graph: Mapping[str, Any]) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """The nodes of a graph that anybody may have made: id, class, and inputs."""
    for node_id, node in graph.items():
        if isinstance(node, Mapping):
            inputs = node.get("inputs")
            yield str(node_id), node.get("class_type"), inputs if isinstance(inputs, Mapping) else {}


def _folders_of(graph: Mapping[str, Any]) -> tuple[str, ...]:
    """Where a graph's outputs may save: those with a prefix, and those that no other node takes anything from."""
    links = (value for _, _, given in _nodes(graph) for value in given.values() if isinstance(value, list) and value)
    taken = {str(link[0]) for link in links}
    found: dict[str, None] = {}
    for node_id, kind, given in _nodes(graph):
        if kind == MARKER_CLASS or (node_id in taken and "filename_prefix" not in given):
            continue
        prefix = given.get("filename_prefix")
        literals = [*([prefix] if isinstance(prefix, str) else []), *other_prefixes(given)]
        folders = [literal.replace("\\", "/").rpartition("/")[0] for literal in literals]
        found.update(dict.fromkeys(folders or [""]))
    return tuple(found)


def marked_by(graph: Mapping[str, Any]) -> tuple[str, ...]:
    """The prefixes that a graph's marker nodes mark; a wired one may be any, and counts as every prefix."""
    prefixes = [given.get("filename_prefix", "") for _, kind, given in _nodes(graph) if kind == MARKER_CLASS]
    return tuple(prefix if isinstance(prefix, str) else "" for prefix in prefixes)


def literals_of(graph: Mapping[str, Any]) -> dict[str, str]:
    """By node the prefix of each saver, as it stands in the graph."""
    prefixes = (
        (node_id, given.get("filename_prefix")) for node_id, kind, given in _nodes(graph) if kind != MARKER_CLASS
    )
    return {
        node_id: prefix
        for node_id, prefix in prefixes
        if isinstance(prefix, str) and 0 < len(prefix) <= MAX_PREFIX_BYTES
    }


def places_below(folder: str, root: tuple[str, ...]) -> Iterator[str]:
    """Where a folder of ComfyUI's output can be in a watched one that is the output folder, or lies in it.

    `root` is the watched folder's own path, in parts: `out/shot` holds ComfyUI's `shot/x` as `x`.
    """
    parts = tuple(part for part in folder.split("/") if part not in ("", "."))
    yield "/".join(parts)
    for depth in range(1, len(parts) + 1):
        if parts[:depth] == root[len(root) - depth :]:
            yield "/".join(parts[depth:])


def _fits(literal: str, key: Key, root: tuple[str, ...]) -> bool:
    folder, _, name = re.sub(r"/+", "/", literal.replace("\\", "/")).rpartition("/")
    if not is_resolved_from(key.name, name):
        return False
    return _is_folder(folder, key.folder, root)


def _is_folder(literal: str, folder: str, root: tuple[str, ...]) -> bool:
    """Whether a folder of ComfyUI's, as it stands in a graph, can come to one of a watched folder."""
    wanted = folder.split("/") if folder else []
    for place in places_below(literal, root):
        parts = place.split("/") if place else []
        if len(parts) == len(wanted) and all(map(is_resolved_from, wanted, parts)):
            return True
    return False
