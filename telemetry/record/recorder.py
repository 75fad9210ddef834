"""Events in, records out: the state machine of a prompt. Touches no file, no clock and no thread.

A prompt is queued, then running; it is *ending* once ComfyUI has said how it ended and what it made, and stays
`running` to everybody outside until its markers are settled and its end is committed, which is the writer's work.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..markers.prefix import PrefixError, has_tokens, parse_prefix
from ..markers.requests import INPUTS_READY, MarkerRequest, plan_of
from ..models.base import PromptStatus
from ..models.marker import PromptMarker
from ..models.naming import called_by_graph
from ..models.prompt import Batch, CurrentNode, PromptError, Refusal
from ..models.record import NodeRecord, PromptRecord
from ..models.text import MAX_ID, clean, clean_or_none, count_of
from ..models.times import Stamp, milliseconds
from ..process.redact import redact
from .events import (
    Event,
    ExpandedNode,
    Graph,
    MarkerRun,
    NodeFinished,
    NodeProgress,
    NodeStarted,
    PromptCached,
    PromptDone,
    PromptMet,
    PromptOutcome,
    PromptQueued,
    PromptStarted,
    PromptUnqueued,
    WorkerDied,
    is_mapping,
)
from .open_runs import OpenRuns
from .refusals import faulty_nodes, refusals

UNSEEN = "ComfyUI did not tell when this prompt was queued, nor what its graph is"
UNTOLD_END = "ComfyUI did not tell how this prompt ended"
UNTOLD_CAUSE = "ComfyUI did not tell whether this prompt failed or was interrupted"
UNTOLD_OUTPUTS = "ComfyUI did not tell what this prompt's nodes reported"
UNTOLD_NODES = "ComfyUI did not tell which nodes ran"
UNTOLD_QUEUED = "ComfyUI did not tell when this prompt was queued"
UNTOLD_START = "ComfyUI did not tell when this prompt started"
WORKER_DIED = "ComfyUI's worker thread ended while this node ran; no prompt will run until ComfyUI is restarted"
STOPPED = "ComfyUI was stopped before this prompt ended"
QUEUE_REFUSED = "ComfyUI's queue refused this prompt"
VANISHED = (
    "ComfyUI's queue does not have this prompt, and it never ran: something else in ComfyUI, another node pack for "
    "one, took it out of the queue or did not let it in"
)

_WHY_UNQUEUED = {"refused": QUEUE_REFUSED, "vanished": VANISHED}
UNTOLD = (UNSEEN, UNTOLD_QUEUED, UNTOLD_START, UNTOLD_NODES, UNTOLD_END, UNTOLD_CAUSE, UNTOLD_OUTPUTS)
"""Notes that say that a seam was silent, and what that costs."""

MAX_EXPLAINED, MAX_NAMED = 100, 5
"""Refused outputs of a prompt of which its record says why, and that its note names."""
DONE_PATIENCE_SECONDS = 5.0
"""How long the files of an ended prompt are waited for where ComfyUI stays silent about them."""


@dataclass(slots=True, eq=False)
class Run:
    """A prompt's run while it is open: its record, and what only matters until it has ended."""

    record: PromptRecord
    graph: Graph
    queued: Stamp | None = None
    started: Stamp | None = None
    first_node_mono: float | None = None
    nodes: dict[str, NodeRecord] = field(default_factory=dict)
    began: dict[str, float] = field(default_factory=dict)
    """Monotonic start of each node that has started."""
    unfinished: dict[str, None] = field(default_factory=dict)
    """Nodes that started and have not finished, in the order in which they started."""
    cached: frozenset[str] = frozenset()
    outcome: PromptOutcome | None = None
    reported: Mapping[Any, Any] | None = None
    ended: Stamp | None = None
    final: PromptStatus | None = None
    """How it ended; null while it is queued or running."""
    ready_markers: list[MarkerRun] = field(default_factory=list)
    """Marker nodes that wait, or have run, with `inputs ready`, and are not yet served."""
    dirty: bool = True
    """True where the store doesn't have all of it."""
    urgent: bool = True
    """True where the store is to have it now: queued, started, ended."""

    def wants_marker(self) -> bool:
        """True where a marker may have to be written."""
        return bool(self.record.plan)

    def is_cached(self, node_id: str) -> bool:
        """True where a node's result is an earlier prompt's."""
        node = self.nodes.get(node_id)
        return node.cached if node is not None else node_id in self.cached


class Recorder:
    """Applies events, in the order in which they happened, to the open runs.

    `last_run_number` tells the highest run number of a prompt id in the store, 0 for none. Not thread-safe:
    one lock around it.
    """

    def __init__(
        self,
        instance_id: str,
        last_run_number: Callable[[str], int],
        redact: Callable[[str], str] = redact,
    ) -> None:
        self.instance_id = instance_id
        self._redact = redact
        self.runs = OpenRuns()
        self._last_run_number = last_run_number

    def apply(self, event: Event) -> None:
        """Take one event into account. An event that speaks of no prompt that we know is passed over."""
        _HANDLERS[type(event)](self, event)

    def find(self, prompt_id: str, run_number: int | None = None) -> Run | None:
        """An open run: that number's, else the running one, else the newest."""
        of_id = self.runs.of(prompt_id)
        if run_number is not None:
            return next((run for run in of_id if run.record.run_number == run_number), None)
        running = [run for run in of_id if run.record.status == "running"]
        newest = running or of_id
        return newest[-1] if newest else None

    def running(self, prompt_id: str | None = None) -> Run | None:
        """The run that ComfyUI is at, whose end it has not told."""
        return next((run for run in self.runs.started if prompt_id in (None, run.record.prompt_id)), None)

    def drop(self, run: Run) -> None:
        """Forget a run that is in the store for good."""
        self.runs.remove(run)

    def give_up_waiting(self, mono: float) -> None:
        """End runs whose outcome was told a while ago, and whose files never were."""
        for run in list(self.runs.started):
            outcome = run.outcome
            if outcome is not None and mono - outcome.at.mono >= DONE_PATIENCE_SECONDS:
                self._finish(run, outcome.at, None)

    def stop(self, at: Stamp) -> None:
        """End everything that is queued or running: the process ends now, and nobody will tell of these any more."""
        for run in list(self.runs):
            if run.final is None and run.outcome is not None:
                self._finish(run, run.outcome.at, None)
            elif run.final is None:
                run.record.note(STOPPED)
                self._end(run, "abandoned", at)

    # ------------------------------------------------------------ the queue

    def _queued(self, event: PromptQueued) -> Run:
        numbers = [run.record.run_number for run in self.runs.of(event.prompt_id)]
        number = max([self._last_run_number(event.prompt_id), *numbers]) + 1
        record = PromptRecord(
            prompt_id=event.prompt_id,
            run_number=number,
            instance_id=self.instance_id,
            queued_ms=milliseconds(event.at.wall),
            client_id=clean_or_none(event.client_id, MAX_ID),
            queue_number=_finite(event.number),
            workflow_name=clean_or_none(event.workflow_name, MAX_ID),
            node_total=len(event.graph),
            batch=_batch(event.batch),
        )
        if event.id_note is not None:
            record.note(event.id_note)
        run = Run(record, event.graph, queued=event.at)
        self._plan_markers(run, event)
        self.runs.add(run)
        return run

    def _queued_untold(self, event: PromptQueued, note: str) -> Run:
        run = self._queued(event)
        run.record.queued_ms, run.queued = None, None
        run.record.note(note)
        return run

    def _met(self, event: PromptMet) -> None:
        """A prompt that waits: a run of its own, unless it was told after all, and may have started meanwhile."""
        if not any(run.graph is event.as_queued.graph for run in self.runs.of(event.prompt_id)):
            self._queued_untold(event.as_queued, UNTOLD_QUEUED)

    def _plan_markers(self, run: Run, event: PromptQueued) -> None:
        faulty = faulty_nodes(event.node_errors or {}, event.graph)
        refused = [
            Refusal(
                node_id=one.node_id,
                class_type=one.class_type,
                reasons=[self._redact(why) for why in one.reasons] if number < MAX_EXPLAINED else [],
            )
            for number, one in enumerate(refusals(faulty, event.graph))
        ]
        if refused:
            run.record.refused = refused
            run.record.note(_refused_note(refused))
        own = {one.node_id for one in faulty}
        faults = {one.node_id: one.node_id in own for one in refused}
        plan = plan_of(event.graph, event.accepted, event.restricted, faults)
        run.record.markers = [_announce(request) for request in plan.requests]
        for request in plan.requests:
            if request.refused:
                run.record.note(_refusal(request))
        run.record.called = called_by_graph(event.graph, event.accepted, plan.savers)
        if plan:
            run.record.plan = plan

    def _unqueued(self, event: PromptUnqueued) -> None:
        for run in self.runs.of(event.prompt_id):
            if run.graph is event.graph and run.started is None:
                if run.final is None:
                    if event.how in _WHY_UNQUEUED:
                        run.record.note(_WHY_UNQUEUED[event.how])
                    self._end(run, "cancelled", event.at)
                return

    # ------------------------------------------------------------ start and end

    def _started(self, event: PromptStarted) -> None:
        for other in list(self.runs.started):
            self._end_untold(other, event.at)
        run = self._waiting(event.prompt_id, event.number)
        if run is None and event.found is not None:
            run = self._queued_untold(event.found, UNTOLD_QUEUED)
        if run is None:
            nothing: Graph = {}
            unseen = PromptQueued(event.prompt_id, event.at, None, nothing, frozenset(), None)
            run = self._queued_untold(unseen, UNSEEN)
        self._begin(run, event.at)

    def _waiting(self, prompt_id: str, number: float | None = None) -> Run | None:
        waiting = [run for run in self.runs.of(prompt_id) if run.started is None and run.final is None]
        exact = [run for run in waiting if number is not None and run.record.queue_number == number]
        return next(iter(exact or waiting), None)

    def _begin(self, run: Run, at: Stamp) -> None:
        run.started = at
        run.record.status = "running"
        run.record.started_ms = milliseconds(at.wall)
        if run.queued is not None:
            run.record.queue_wait_seconds = _seconds(at.mono - run.queued.mono)
        self.runs.begin(run)
        self.runs.touch(run, urgent=True)

    def _end_untold(self, run: Run, at: Stamp) -> None:
        if run.outcome is not None:
            self._finish(run, run.outcome.at, None)
            return
        run.record.note(UNTOLD_END)
        self._end(run, "abandoned", at)

    def _cached(self, event: PromptCached) -> None:
        run = self.running(event.prompt_id)
        if run is None:
            return
        run.cached = event.nodes
        for node_id in run.graph:
            if node_id in event.nodes:
                self._node(run, node_id, None).cached = True
        self.runs.touch(run)

    def _outcome(self, event: PromptOutcome) -> None:
        run = self._running_or_waiting(event.prompt_id, event.at)
        if run is None or run.outcome is not None:
            return
        run.outcome = event
        if event.status == "error":
            run.record.error = PromptError(
                node_id=clean_or_none(event.node_id),
                class_type=event.class_type,
                exception_type=event.exception_type,
                message=self._redact(event.message or ""),
            )
        if event.status != "success":
            self._fail_nodes(run, event.at.mono)
        self.runs.touch(run)

    def _fail_nodes(self, run: Run, mono: float) -> None:
        for node_id in run.unfinished:
            node = run.nodes[node_id]
            node.duration_seconds = _seconds(mono - run.began[node_id])
            if run.record.error is not None and self._belongs_to(run, node_id, run.record.error.node_id):
                node.error = run.record.error

    def _belongs_to(self, run: Run, node_id: str | None, root: str | None) -> bool:
        parents = {node.node_id: node.parent_node_id for node in run.nodes.values()}
        node_id = clean_or_none(node_id)
        for _ in range(len(run.nodes) + 1):
            if node_id == root or node_id is None:
                break
            node_id = parents.get(node_id)
        return node_id is not None and node_id == root

    def _done(self, event: PromptDone) -> None:
        run = self._running_or_waiting(event.prompt_id, event.at)
        if run is None:
            return
        if run.outcome is None:
            status = "success" if event.succeeded else "error"
            if not event.succeeded:
                run.record.note(UNTOLD_END if event.succeeded is None else UNTOLD_CAUSE)
            run.outcome = PromptOutcome(event.prompt_id, event.at, status)
        self._finish(run, event.at, event.outputs)

    def _finish(self, run: Run, at: Stamp, outputs: Mapping[Any, Any] | None) -> None:
        if outputs is None:
            run.record.note(UNTOLD_OUTPUTS)
        if run.graph and not run.nodes:
            run.record.note(UNTOLD_NODES)
        run.reported = outputs
        status = run.outcome.status if run.outcome is not None else "abandoned"
        final: PromptStatus = status if status in ("success", "error", "interrupted") else "abandoned"  # type: ignore[assignment]
        self._end(run, final, run.outcome.at if run.outcome is not None else at)

    def _end(self, run: Run, final: PromptStatus, at: Stamp) -> None:
        run.final, run.ended = final, at
        if run.started is not None:
            run.record.duration_seconds = _seconds(at.mono - run.started.mono)
        run.record.ended_ms = milliseconds(at.wall)
        self.runs.end(run)
        self.runs.touch(run, urgent=True)

    def _worker_died(self, event: WorkerDied) -> None:
        run = self.running(event.prompt_id)
        if run is None:
            return
        if run.outcome is None:
            node = current_node(run)
            message = WORKER_DIED if node is not None else WORKER_DIED.replace("this node", "this prompt")
            self._outcome(
                PromptOutcome(
                    run.record.prompt_id,
                    event.at,
                    "error",
                    node_id=node.node_id if node else None,
                    class_type=node.class_type if node else None,
                    message=message,
                )
            )
        self._finish(run, event.at, None)

    def _running_or_waiting(self, prompt_id: str, at: Stamp | None = None) -> Run | None:
        """The run that an event is about; where its start was missed, it is started now, and says so."""
        run = self.running(prompt_id)
        if run is None:
            run = self._waiting(prompt_id)
            if run is not None:
                run.record.note(UNTOLD_START)
                anchor = at or run.queued
                if anchor is None:
                    return None
                self._begin(run, anchor)
                run.record.started_ms = run.record.queue_wait_seconds = None
        return run

    # ------------------------------------------------------------ nodes

    def _node_started(self, event: NodeStarted) -> None:
        run = self._running_or_waiting(event.prompt_id)
        if run is None:
            return
        if run.first_node_mono is None:
            run.first_node_mono = event.mono
        node = self._node(run, event.node_id, event.expanded)
        if event.node_id in run.began:
            return
        node.cached = False
        node.started_ms = milliseconds(run.started.at(event.mono)) if run.started else None
        run.began[event.node_id] = event.mono
        run.unfinished[event.node_id] = None
        self.runs.touch(run)

    def _node_finished(self, event: NodeFinished) -> None:
        run = self._running_or_waiting(event.prompt_id)
        if run is None:
            return
        node = self._node(run, event.node_id, event.expanded)
        if event.node_id in run.unfinished:
            del run.unfinished[event.node_id]
            node.duration_seconds = _seconds(event.mono - run.began[event.node_id])
        elif event.node_id not in run.began:
            node.cached = True
        self.runs.touch(run)

    def _progress(self, event: NodeProgress) -> None:
        for run in self.runs.of(event.prompt_id):
            node = run.nodes.get(event.node_id) if run.started else None
            if node is not None:
                node.value, node.progress_max = _finite(event.value), _finite(event.max)
                self.runs.touch(run)
                return

    def _node(self, run: Run, node_id: str, expanded: ExpandedNode | None) -> NodeRecord:
        node = run.nodes.get(node_id)
        if node is None:
            node = NodeRecord(len(run.nodes), clean(node_id))
            if expanded is None:
                node.class_type, node.title = described(run.graph, node_id)
                node.display_node_id = node.node_id
            else:
                node.class_type, node.title = expanded.class_type, expanded.title
                node.display_node_id = clean_or_none(expanded.display_node_id)
                node.parent_node_id = clean_or_none(expanded.parent_node_id)
            run.nodes[node_id] = node
        return node

    # ------------------------------------------------------------ markers

    def _marker_run(self, event: MarkerRun) -> None:
        run = self.running(event.prompt_id)
        if run is None:
            if event.settled is not None:
                event.settled.set_result("")
            return
        self.runs.touch(run)
        plan = run.record.plan
        if plan is None:
            plan = run.record.plan = plan_of(run.graph, frozenset(), None)
        request = next((request for request in plan.requests if request.node_id == event.node_id), None)
        if request is None:
            request = MarkerRequest(event.node_id)
            plan.requests.append(request)
            run.record.markers.append(_announce(request))
        request.learn(event)
        if event.when == INPUTS_READY:
            run.ready_markers.append(event)


def refresh(run: Run) -> None:
    """Bring a run's record up to date with its nodes: counts and the current node."""
    record = run.record
    record.node_total = len(run.graph) + sum(node_id not in run.graph for node_id in run.nodes)
    record.node_cached = sum(node.cached for node in run.nodes.values())
    record.node_executed = len(run.began) - len(run.unfinished)
    record.current_node = current_node(run) if run.final in (None, "abandoned") else None


_HANDLERS: dict[type, Callable[[Recorder, Any], object]] = {
    PromptQueued: Recorder._queued,
    PromptMet: Recorder._met,
    PromptUnqueued: Recorder._unqueued,
    PromptStarted: Recorder._started,
    PromptCached: Recorder._cached,
    PromptOutcome: Recorder._outcome,
    PromptDone: Recorder._done,
    NodeStarted: Recorder._node_started,
    NodeFinished: Recorder._node_finished,
    NodeProgress: Recorder._progress,
    MarkerRun: Recorder._marker_run,
    WorkerDied: Recorder._worker_died,
}


def current_node(run: Run) -> CurrentNode | None:
    """The node that started last and has not finished, with its steps; null between nodes."""
    if not run.unfinished:
        return None
    node = run.nodes[next(reversed(run.unfinished))]
    return CurrentNode(
        node_id=node.node_id, class_type=node.class_type, title=node.title, value=node.value, max=node.progress_max
    )


def described(graph: Graph, node_id: str) -> tuple[str | None, str | None]:
    """Class and title of a node as the graph gives them."""
    node = graph.get(node_id)
    if not is_mapping(node):
        return None, None
    meta = node.get("_meta")
    title = meta.get("title") if is_mapping(meta) else None
    class_type = node.get("class_type")
    return clean_or_none(class_type, MAX_ID), clean_or_none(title, MAX_ID)


def _announce(request: MarkerRequest) -> PromptMarker:
    if request.refused:
        return PromptMarker(path=None, status="refused")
    path = None
    prefix = request.filename_prefix
    if prefix and not has_tokens(prefix) and "%prompt_id%" not in prefix:
        try:
            path = f"{parse_prefix(prefix)}.done"
        except PrefixError:
            path = None
    return PromptMarker(path=path, status="due")


def _refused_note(refused: list[Refusal]) -> str:
    named = [f"{one.node_id} ({one.class_type})" for one in refused[:MAX_NAMED]]
    more = f" and {len(refused) - MAX_NAMED} more" if len(refused) > MAX_NAMED else ""
    return f"ComfyUI refused {count_of(len(refused), 'output')} and ran the others: {', '.join(named)}{more}"


def _refusal(request: MarkerRequest) -> str:
    why = "ComfyUI refused its inputs"
    if request.filename_prefix:
        try:
            parse_prefix(request.filename_prefix)
        except PrefixError as error:
            why = str(error)
    return f"marker node {request.node_id} was refused: {why}"


def _batch(data: Mapping[str, Any] | None) -> Batch | None:
    if data is None:
        return None
    try:
        return Batch.model_validate(dict(data))
    except ValueError:
        return None


def _seconds(duration: float) -> float:
    """To the microsecond; never negative, whatever order threads told in."""
    return max(0.0, round(duration, 6))


def _finite(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
