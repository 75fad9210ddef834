"""Events in, records out: the state machine of a prompt. Touches no file, no clock and no thread.

A prompt is queued, then running; it is *ending* once ComfyUI has said how it ended and what it made, and stays
`running` to everybody outside until its markers are settled and its end is committed, which is the writer's work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..markers.requests import INPUTS_READY, MarkerRequest, plan_of
from ..models.base import PromptStatus
from ..models.numbers import duration
from ..models.prompt import PromptError
from ..models.text import clean_or_none
from ..models.times import Stamp, milliseconds
from ..process.redact import redact
from .conditions import Sequence
from .events import (
    Event,
    HostState,
    MarkerRun,
    NodeFinished,
    NodeProgress,
    NodeStarted,
    PromptCached,
    PromptDone,
    PromptMet,
    PromptOutcome,
    PromptQueued,
    PromptRefused,
    PromptStarted,
    PromptUnqueued,
    WorkerDied,
)
from .node_events import fail_nodes, node_finished, node_of, node_progress, node_started
from .open_prompts import OpenPrompts
from .prompt import OpenPrompt
from .queueing import announce, first_record, plan_markers
from .refusals import error_of_refusal

UNSEEN = "ComfyUI did not tell when this prompt was queued, nor what its graph is"
UNTOLD_END = "ComfyUI did not tell how this prompt ended"
UNTOLD_CAUSE = "ComfyUI did not tell whether this prompt failed or was interrupted"
UNTOLD_OUTPUTS = "ComfyUI did not tell what this prompt's nodes reported"
UNTOLD_NODES = "ComfyUI did not tell which nodes ran"
UNTOLD_QUEUED = "ComfyUI did not tell when this prompt was queued"
UNTOLD_START = "ComfyUI did not tell when this prompt started"
WORKER_DIED = "ComfyUI's worker thread ended while this node ran; no prompt will run until ComfyUI is restarted"
REFUSED_AGAIN = "while it waited or ran it was posted again, with a graph that ComfyUI refused"
STOPPED = "ComfyUI was stopped before this prompt ended"
QUEUE_REFUSED = "ComfyUI's queue refused this prompt"
VANISHED = (
    "ComfyUI's queue does not have this prompt, and it never ran: something else in ComfyUI, another node pack for "
    "one, took it out of the queue or did not let it in"
)

_WHY_UNQUEUED = {"refused": QUEUE_REFUSED, "vanished": VANISHED}
UNTOLD = (UNSEEN, UNTOLD_QUEUED, UNTOLD_START, UNTOLD_NODES, UNTOLD_END, UNTOLD_CAUSE, UNTOLD_OUTPUTS)
"""Notes that say that a seam was silent, and what that costs."""

DONE_PATIENCE_SECONDS = 5.0
"""How long the files of an ended prompt are waited for where ComfyUI stays silent about them."""


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
        self.runs = OpenPrompts()
        self._last_run_number = last_run_number
        self._sequence = Sequence()

    def apply(self, event: Event) -> None:
        """Take one event into account. An event that speaks of no prompt that we know is passed over."""
        _HANDLERS[type(event)](self, event)

    def find(self, prompt_id: str, run_number: int | None = None) -> OpenPrompt | None:
        """An open run: that number's, else the running one, else the newest."""
        of_id = self.runs.of(prompt_id)
        if run_number is not None:
            return next((run for run in of_id if run.record.run_number == run_number), None)
        found = [run for run in of_id if run.record.status == "running"] or of_id
        return found[-1] if found else None

    def running(self, prompt_id: str | None = None) -> OpenPrompt | None:
        """The run that ComfyUI is at, whose end it has not told."""
        return next((run for run in self.runs.started if prompt_id in (None, run.record.prompt_id)), None)

    def drop(self, run: OpenPrompt) -> None:
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

    def _queued(self, event: PromptQueued) -> OpenPrompt:
        numbers = [run.record.run_number for run in self.runs.of(event.prompt_id)]
        number = max([self._last_run_number(event.prompt_id), *numbers]) + 1
        record = first_record(event, number, self.instance_id)
        run = OpenPrompt(record, event.graph, queued=event.at)
        plan_markers(run, event, self._redact)
        self.runs.add(run)
        return run

    def _queued_untold(self, event: PromptQueued, note: str) -> OpenPrompt:
        run = self._queued(event)
        run.record.queued_ms, run.queued = None, None
        run.record.note(note)
        return run

    def _met(self, event: PromptMet) -> None:
        """A prompt that waits: a run of its own, unless it was told after all, and may have started meanwhile."""
        if not any(run.graph is event.as_queued.graph for run in self.runs.of(event.prompt_id)):
            self._queued_untold(event.as_queued, UNTOLD_QUEUED)

    def _refused(self, event: PromptRefused) -> None:
        waits = self.find(event.prompt_id)
        if waits is not None:  # by its id alone the end of this one would be taken for its end
            waits.record.note(REFUSED_AGAIN)
            self.runs.touch(waits)
            return
        run = self._queued(event.as_queued)
        run.record.error = error_of_refusal(event.error or {}, event.as_queued.graph, self._redact)
        run.told.status = "refused"
        self._end(run, "refused", event.as_queued.at)

    def _unqueued(self, event: PromptUnqueued) -> None:
        of_id = self.runs.of(event.prompt_id)
        run = next((one for one in of_id if one.graph is event.graph and one.started is None), None)
        if run is None or run.final is not None:
            return
        if event.how in _WHY_UNQUEUED:
            run.record.note(_WHY_UNQUEUED[event.how])
        self._end(run, "cancelled", event.at)

    # ------------------------------------------------------------ start and end

    def _started(self, event: PromptStarted) -> None:
        for other in list(self.runs.started):
            self._end_untold(other, event.at)
        run = self._waiting(event.prompt_id, event.number)
        if run is None and event.found is not None:
            run = self._queued_untold(event.found, UNTOLD_QUEUED)
        if run is None:
            run = self._queued_untold(PromptQueued(event.prompt_id, event.at, None, {}, frozenset(), None), UNSEEN)
        run.session = event.session
        self._begin(run, event.at, event.state)

    def _waiting(self, prompt_id: str, number: float | None = None) -> OpenPrompt | None:
        waiting = [run for run in self.runs.of(prompt_id) if run.started is None and run.final is None]
        exact = [run for run in waiting if number is not None and run.record.queue_number == number]
        return next(iter(exact or waiting), None)

    def _begin(self, run: OpenPrompt, at: Stamp, state: HostState | None = None) -> None:
        run.started = at
        run.record.status = "running"
        run.record.started_ms = milliseconds(at.wall)
        if run.queued is not None:
            run.record.queue_wait_seconds = duration(at.mono - run.queued.mono)
        self._sequence.begin(run, at, state)
        self.runs.begin(run)
        self.runs.touch(run, urgent=True)

    def _end_untold(self, run: OpenPrompt, at: Stamp) -> None:
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
                node_of(run, node_id, None).cached = True
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
            fail_nodes(run, event.at.mono)
        self.runs.touch(run)

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

    def _finish(self, run: OpenPrompt, at: Stamp, outputs: Mapping[Any, Any] | None) -> None:
        if outputs is None:
            run.record.note(UNTOLD_OUTPUTS)
        if run.graph and not run.nodes:
            run.record.note(UNTOLD_NODES)
        run.reported = outputs
        status = run.outcome.status if run.outcome is not None else "abandoned"
        final: PromptStatus = status if status in ("success", "error", "interrupted") else "abandoned"  # type: ignore[assignment]
        self._end(run, final, run.outcome.at if run.outcome is not None else at)

    def _end(self, run: OpenPrompt, final: PromptStatus, at: Stamp) -> None:
        run.final, run.ended = final, at
        if run.started is not None:
            run.record.duration_seconds = duration(at.mono - run.started.mono)
            self._sequence.end(run, at, run.outcome.state if run.outcome is not None else None)
        run.record.ended_ms = milliseconds(at.wall)
        self.runs.end(run)
        self.runs.touch(run, urgent=True)

    def _worker_died(self, event: WorkerDied) -> None:
        run = self.running(event.prompt_id)
        if run is None:
            return
        if run.outcome is None:
            node = run.current_node()
            message = WORKER_DIED if node is not None else WORKER_DIED.replace("this node", "this prompt")
            node_id, class_type = (node.node_id, node.class_type) if node is not None else (None, None)
            self._outcome(PromptOutcome(run.record.prompt_id, event.at, "error", node_id, class_type, None, message))
        self._finish(run, event.at, None)

    def _running_or_waiting(self, prompt_id: str, at: Stamp | None = None) -> OpenPrompt | None:
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

    # ------------------------------------------------------------ nodes and markers

    def _node_started(self, event: NodeStarted) -> None:
        run = self._running_or_waiting(event.prompt_id)
        if run is not None and node_started(run, event):
            self.runs.touch(run)

    def _node_finished(self, event: NodeFinished) -> None:
        run = self._running_or_waiting(event.prompt_id)
        if run is not None:
            node_finished(run, event)
            self.runs.touch(run)

    def _progress(self, event: NodeProgress) -> None:
        for run in self.runs.of(event.prompt_id):
            if node_progress(run, event):
                self.runs.touch(run)
                return

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
            run.record.markers.append(announce(request))
        request.learn(event)
        if event.when == INPUTS_READY:
            run.markers.ready.append(event)


_HANDLERS: dict[type, Callable[[Recorder, Any], object]] = {
    PromptQueued: Recorder._queued,
    PromptRefused: Recorder._refused,
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
