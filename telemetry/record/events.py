"""What happened in the host, as plain data. The border makes these; the recorder is made of them.

One of these is appended for everything that ComfyUI does, on the thread on which it does it, so they only
hold references: what they refer to is read later, on the recorder's own thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeGuard

from ..models.conditions import Client
from ..models.times import Stamp

if TYPE_CHECKING:
    from ..gpu.session import Session

Graph = Mapping[str, Any]
"""A prompt in API format: node id to `class_type`, `inputs` and perhaps `_meta`."""


def is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    """Whether something is a mapping. To ask the abstract class costs ten times as much, and most are plain."""
    return type(value) is dict or isinstance(value, Mapping)


class ModelState(NamedTuple):
    """A model that ComfyUI holds loaded."""

    mark: int
    """Tells it from any other that is loaded at the time."""
    name: str
    device_bytes: int | None
    offloaded_bytes: int | None
    patches: int | None


class HostState(NamedTuple):
    """What ComfyUI's process is set to and holds, at a prompt's start or end; null where it can't be told."""

    attention: str | None = None
    vram_mode: str | None = None
    cudnn_benchmark: bool | None = None
    allow_tf32: bool | None = None
    deterministic: bool | None = None
    float32_matmul_precision: str | None = None
    models: tuple[ModelState, ...] | None = None


@dataclass(frozen=True, slots=True)
class PromptQueued:
    """A prompt was accepted and put into the queue."""

    prompt_id: str
    at: Stamp
    number: float | None
    graph: Graph
    accepted: frozenset[str]
    """The output nodes that will be run."""
    restricted: bool | None
    """True where the request named its targets; null where the request was not seen."""
    client_id: str | None = None
    workflow_name: str | None = None
    batch: Mapping[str, Any] | None = None
    node_errors: Mapping[Any, Any] | None = None
    """What ComfyUI found wrong with nodes of outputs that it does not run; null where that was not told."""
    client: Client | None = None
    """Who posted it."""
    id_note: str | None = None
    """Said in the record where the prompt's own id could not be kept as it is."""


@dataclass(frozen=True, slots=True)
class PromptRefused:
    """ComfyUI refused all outputs of a prompt that was posted, so it was never queued."""

    as_queued: PromptQueued
    """The prompt as if it had been queued."""
    error: Mapping[Any, Any] | None
    """What ComfyUI says of the whole: `type`, `message`, `details`, `extra_info`."""

    @property
    def prompt_id(self) -> str:
        """Which prompt."""
        return self.as_queued.prompt_id


@dataclass(frozen=True, slots=True)
class PromptMet:
    """A prompt was met in ComfyUI's queue; nothing may have told that it was put there."""

    as_queued: PromptQueued

    @property
    def prompt_id(self) -> str:
        """Which prompt."""
        return self.as_queued.prompt_id


@dataclass(frozen=True, slots=True)
class PromptUnqueued:
    """A prompt left the queue before it started."""

    prompt_id: str
    at: Stamp
    graph: Graph
    """The very object that was queued: tells two runs of one id apart."""
    how: Literal["deleted", "refused", "vanished"] = "deleted"
    """`refused` where `put` itself failed, so that the prompt never was in the queue; `vanished` where it is not there
    and nothing told of its leaving."""


@dataclass(frozen=True, slots=True)
class PromptStarted:
    """ComfyUI began to run a prompt."""

    prompt_id: str
    at: Stamp
    number: float | None = None
    found: PromptQueued | None = None
    """The prompt as the queue still holds it, where its being queued may have been missed."""
    session: Session | None = None
    """What the sampler reads for it; null where nothing is sampled."""
    state: HostState | None = None
    """What the process was like then; null where that can't be asked."""


@dataclass(frozen=True, slots=True)
class PromptCached:
    """ComfyUI said which nodes it takes from its cache."""

    prompt_id: str
    nodes: frozenset[str]


@dataclass(frozen=True, slots=True)
class ExpandedNode:
    """What is known of a node that the queued graph doesn't hold."""

    class_type: str | None
    title: str | None
    display_node_id: str | None
    parent_node_id: str | None


class NodeStarted(NamedTuple):
    """A node began; comes again for one that was staged again."""

    prompt_id: str
    node_id: str
    mono: float
    expanded: ExpandedNode | None = None


class NodeFinished(NamedTuple):
    """A node is done; without a start it was taken from the cache."""

    prompt_id: str
    node_id: str
    mono: float
    expanded: ExpandedNode | None = None


class NodeProgress(NamedTuple):
    """How far a node is."""

    prompt_id: str
    node_id: str
    value: float
    max: float


@dataclass(frozen=True, slots=True)
class PromptOutcome:
    """ComfyUI said how a prompt ended; its files are told by `PromptDone` a moment later."""

    prompt_id: str
    at: Stamp
    status: str
    """`success`, `error` or `interrupted`."""
    node_id: str | None = None
    class_type: str | None = None
    exception_type: str | None = None
    message: str | None = None
    state: HostState | None = None
    """What the process was like then; null where that can't be asked."""


@dataclass(frozen=True, slots=True)
class PromptDone:
    """ComfyUI took a prompt off its list of running ones."""

    prompt_id: str
    at: Stamp
    outputs: Mapping[Any, Any] | None
    """The ui values of each node, as history will show them; null where the seam is silent."""
    succeeded: bool | None = None
    """What the queue's own status says; the message, where there was one, is believed before it."""


@dataclass(frozen=True, slots=True)
class MarkerRun:
    """A Write Done Marker node ran: what was wired is known now."""

    prompt_id: str
    node_id: str
    filename_prefix: str
    when: str
    on_failure: str
    hash_files: bool
    settled: Future[str] | None = None
    """Resolved with the marker's relative path once it is written, where the node waits for that."""


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """ComfyUI's worker thread has ended; nothing runs in this process again."""

    at: Stamp
    prompt_id: str | None


Event = (
    PromptQueued
    | PromptRefused
    | PromptMet
    | PromptUnqueued
    | PromptStarted
    | PromptCached
    | NodeStarted
    | NodeFinished
    | NodeProgress
    | PromptOutcome
    | PromptDone
    | MarkerRun
    | WorkerDied
)
