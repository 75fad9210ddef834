"""One open prompt: all that is known of a run until its end is committed, in one object.

The state machine (`recorder.py`) changes what ComfyUI told; each verb of the writer changes its own part. What outlives
the run is its `record`; everything else here is gone once the end is committed and told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..markers.decided import Decided
from ..markers.evidence import Evidence
from ..markers.listings import PAUSE, SharedFolder
from ..markers.prefix import PrefixPath
from ..markers.share import Share
from ..models.base import PromptStatus
from ..models.prompt import CurrentNode
from ..models.record import NodeRecord, PromptRecord
from ..models.times import Stamp
from .events import Graph, MarkerRun, PromptOutcome

if TYPE_CHECKING:
    from ..gpu.session import Session


@dataclass(slots=True)
class MarkerEvidence:
    """What is gathered for a run's markers while it waits and runs."""

    folders: dict[str, SharedFolder] | None = None
    """Those that it will save to, by their path in the output folder, while it is queued; null where it has no plan."""
    looks: Share = field(default_factory=lambda: Share(PAUSE))
    """How often its folders are looked at while it runs."""
    evidence: Evidence | None = None
    """What the decision is made from; null until something of it is known."""
    roots: dict[str, Path] | None = None
    """The folders that it writes to: those of its start, until then those of its queueing. A node may set others."""
    waiting_since: float | None = None
    """Since when its files are waited for, on `Clock.mono`; null while they are not."""
    decided: Decided | None = None
    """What its markers are to say, while their files are read for their hashes."""
    cleared: set[PrefixPath] = field(default_factory=set)
    """Prefixes whose stale markers were removed: at the start, when a node told them, when the first file came."""
    ready: list[MarkerRun] = field(default_factory=list)
    """Marker nodes that wait, or have run, with `inputs ready`, and are not yet served."""
    stumbles: int = 0
    """How often a fault of ours has kept it from being settled."""


@dataclass(slots=True)
class StoreState:
    """What the store has of a run."""

    nodes: dict[int, tuple[object, ...]] = field(default_factory=dict)
    """What of each node may change, as the store has it."""
    coming_nodes: dict[int, tuple[object, ...]] = field(default_factory=dict)
    """The same of the nodes that are being saved, as they were when the change was made up: readers go on taking in."""
    at: float = 0.0
    """When it was last to be saved as running, on `Clock.mono`."""
    tries: int = 0
    """How often the store has not taken it, while it took others."""
    not_before: float = 0.0
    """When it is to be saved again, on `Clock.mono`."""


@dataclass(slots=True)
class ToldEvents:
    """Which events of a run have been made up."""

    status: str | None = None
    """The last status that was told, or is not to be; null for none."""
    started: set[int] = field(default_factory=set)
    finished: set[int] = field(default_factory=set)
    progress: dict[int, tuple[float | None, float]] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class OpenPrompt:
    """One run of a prompt from its queueing until its end is committed and told.

    Guarded by the recorder's lock where readers look: `record`, `nodes` and what ComfyUI told. The parts `markers`,
    `store` and `told` belong to the writer's thread.
    """

    record: PromptRecord
    graph: Graph
    """The very object that was queued."""
    queued: Stamp | None = None
    started: Stamp | None = None
    first_node_mono: float | None = None
    """When its first node began, on `Clock.perf`."""
    nodes: dict[str, NodeRecord] = field(default_factory=dict)
    """By node id, in the order in which they began."""
    began: dict[str, float] = field(default_factory=dict)
    """Start of each node that has started, on `Clock.perf`."""
    unfinished: dict[str, None] = field(default_factory=dict)
    """Nodes that started and have not finished, in the order in which they started."""
    cached: frozenset[str] = frozenset()
    """Nodes that ComfyUI said it takes from its cache."""
    outcome: PromptOutcome | None = None
    reported: Mapping[Any, Any] | None = None
    """What its nodes reported; null until it ended, and where the seam was silent."""
    ended: Stamp | None = None
    final: PromptStatus | None = None
    """How it ended; null while it is queued or running."""
    session: Session | None = None
    """What the sampler reads for it; null until it starts, and where nothing is sampled."""
    dirty: bool = True
    """True where the store doesn't have all of it."""
    urgent: bool = True
    """True where the store is to have it now: queued, started, ended."""
    queue_seen: bool = False
    """Whether the writer has done what a queued prompt needs."""
    start_seen: bool = False
    """Whether the writer has done what a started prompt needs."""
    fingerprinted: bool = False
    markers: MarkerEvidence = field(default_factory=MarkerEvidence)
    store: StoreState = field(default_factory=StoreState)
    models: frozenset[int] | None = None
    """Marks of what was loaded at its start; null where that is not known."""
    told: ToldEvents = field(default_factory=ToldEvents)

    @property
    def key(self) -> tuple[str, int]:
        """Id and run number."""
        return self.record.prompt_id, self.record.run_number

    @property
    def wants_marker(self) -> bool:
        """True where a marker may have to be written."""
        return bool(self.record.plan)

    def is_cached(self, node_id: str) -> bool:
        """True where a node's result is an earlier prompt's."""
        node = self.nodes.get(node_id)
        return node.cached if node is not None else node_id in self.cached

    def current_node(self) -> CurrentNode | None:
        """The node that started last and has not finished, with its steps; null between nodes."""
        if not self.unfinished:
            return None
        node = self.nodes[next(reversed(self.unfinished))]
        return CurrentNode(
            node_id=node.node_id, class_type=node.class_type, title=node.title, value=node.value, max=node.progress_max
        )

    def refresh(self) -> None:
        """Bring the record up to date with the nodes: counts and the current node."""
        record = self.record
        record.node_total = len(self.graph) + sum(node_id not in self.graph for node_id in self.nodes)
        record.node_cached = sum(node.cached for node in self.nodes.values())
        record.node_executed = len(self.began) - len(self.unfinished)
        record.current_node = self.current_node() if self.final in (None, "abandoned") else None
