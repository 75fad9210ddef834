"""Marker nodes that wait for their marker while their prompt runs (`inputs ready`)."""

from __future__ import annotations

from dataclasses import dataclass

from ..live.stream import StreamEvent
from ..markers.decide import decide
from ..markers.decided import Decided
from ..markers.decision import Decision
from ..markers.evidence import Evidence
from ..markers.file import suffix_of
from ..markers.marking import Marking
from ..markers.requests import MarkerRequest
from .context import Context
from .events import MarkerRun
from .gathering import NO_PLAN, Gathering
from .hash_waits import HashWaits
from .news import UntoldEvents
from .prompt import OpenPrompt
from .store_access import StoreAwayError

UNASKED = "the store could not be asked, so files of an earlier prompt from the last seconds may be among these"


@dataclass(frozen=True, slots=True)
class WaitingNode:
    """A marker node that waits for its marker."""

    run: OpenPrompt
    event: MarkerRun
    decided: Decided


class Serving:
    """Writes the markers of nodes that wait, and answers them. The writer's thread alone."""

    def __init__(
        self, context: Context, gathering: Gathering, marking: Marking, hashes: HashWaits, untold: UntoldEvents
    ) -> None:
        self._context = context
        self._gathering = gathering
        self._marking = marking
        self._hashes = hashes
        self._untold = untold
        self._waiting: list[WaitingNode] = []

    def serve(self, run: OpenPrompt) -> None:
        """Decide over the markers of a run's nodes that wait, and write what can be written now."""
        with self._context.lock:
            ready, run.markers.ready = run.markers.ready, []
        for event in ready:
            try:
                decided = self._decide(run, event)
            except Exception as error:  # noqa: BLE001  the node must be answered
                self._marking.failed(run.record, error)
                decided = Decided()
            self._waiting.append(WaitingNode(run, event, decided))
        self.serve_hashed()

    def serve_hashed(self) -> None:
        """Write the markers of the nodes that wait, and answer them; but for those whose files are still being read."""
        for waiting in self._waiting.copy():
            run, event = waiting.run, waiting.event
            if not self._hashes.are_in(waiting.decided):
                continue
            self._waiting.remove(waiting)
            path = ""
            try:
                path = self._write(run, waiting.decided.decisions)
            except Exception as error:  # noqa: BLE001  the node must be answered
                self._marking.failed(run.record, error)
            if event.settled is not None:
                event.settled.set_result(path)
            with self._context.lock:
                self._context.recorder.runs.touch(run)

    def give_up(self, run: OpenPrompt) -> None:
        """The prompt has failed: its nodes are answered with its end, without a marker of their own."""
        for waiting in [one for one in self._waiting if one.run is run]:
            self._waiting.remove(waiting)
            waiting.decided.give_up()
            run.markers.ready.append(waiting.event)

    def is_serving(self, run: OpenPrompt) -> bool:
        """Whether a node of a run waits for its marker."""
        return any(waiting.run is run for waiting in self._waiting)

    def _decide(self, run: OpenPrompt, event: MarkerRun) -> Decided:
        plan = run.record.plan or NO_PLAN
        requests = [request for request in plan.requests if request.node_id == event.node_id]
        decisions, notes = _decide_now(self._gathering.evidence(run), requests)
        for note in notes:
            run.record.note(note)
        return self._hashes.begin(self._gathering.output(run), decisions, notes)

    def _write(self, run: OpenPrompt, decisions: list[Decision]) -> str:
        path = self._marking.write_now(run.record, decisions, self._gathering.output(run))
        if path:
            told = {"path": path, "status": "running" if path.endswith(suffix_of("running")) else "error"}
            self._untold.add([StreamEvent("marker.written", run.record.prompt_id, self._context.clock.now_ms(), told)])
        return path


def let_nodes_go(run: OpenPrompt) -> None:
    """Answer the marker nodes that still wait: their prompt has ended."""
    for event in run.markers.ready:
        if event.settled is not None:
            event.settled.set_result("")


def _decide_now(evidence: Evidence, requests: list[MarkerRequest]) -> tuple[list[Decision], list[str]]:
    """As `decide`; where the store can't say now which files are an earlier prompt's, the marker says so."""
    try:
        return decide(evidence, requests, "success")
    except StoreAwayError:
        asked, evidence.listed = evidence.listed, lambda _folder, _names: set()
        try:
            decisions, notes = decide(evidence, requests, "success")
        finally:
            evidence.listed = asked
        for decision in decisions:
            decision.notes.append(UNASKED)
        return decisions, notes
