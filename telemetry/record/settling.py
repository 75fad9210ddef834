"""Settles an ended prompt: waits for its files and their hashes, decides what its markers say, and hands it on."""

from __future__ import annotations

from dataclasses import replace

from ..markers.decide import decide, due_requests
from ..markers.decided import Decided
from ..markers.evidence import Evidence
from ..markers.readiness import unready
from ..store.changes import Change
from .committing import RecordFaultError
from .context import Context
from .ending import Ending
from .finishing import Finishing
from .gathering import Gathering
from .hash_waits import HashWaits
from .prompt import OpenPrompt
from .serving import Serving, let_nodes_go
from .starting import Starting
from .store_access import StoreAwayError

FILE_PATIENCE_SECONDS = 5.0
"""How long files that a node reported and that are not there yet are waited for."""
MAX_STUMBLES = 3
"""So often a fault of ours may keep a prompt from being settled; then it ends without its markers."""
ENDS_AT_ONCE = 200
"""So many prompts that were cancelled before they started are ended by one transaction."""
UNDECIDED = "its markers could not be decided, by a fault of this package"


class Settling:
    """Decides over ended runs. The writer's thread alone."""

    def __init__(
        self,
        context: Context,
        gathering: Gathering,
        starting: Starting,
        hashes: HashWaits,
        serving: Serving,
        finishing: Finishing,
    ) -> None:
        self._context = context
        self._gathering = gathering
        self._starting = starting
        self._hashes = hashes
        self._serving = serving
        self._finishing = finishing
        self._stumbled = False
        """True while the last prompt to be settled could not be."""

    def settle(self, runs: list[OpenPrompt]) -> None:
        """End what can be ended of some ended runs; the others are to be given again."""
        self._finish_unstarted([run for run in runs if run.started is None])
        for run in runs:
            if run.started is not None:
                self._settle_surely(run)

    def unsettled(self) -> list[OpenPrompt]:
        """Ended runs that are not waiting for a file, nor for its hash."""
        with self._context.lock:
            ended = list(self._context.recorder.runs.ended)
            return [run for run in ended if run.markers.waiting_since is None and not self.reads(run)]

    def reads(self, run: OpenPrompt) -> bool:
        """Whether files of a run are still being read for their hashes."""
        decided = run.markers.decided
        return self._serving.is_serving(run) or (decided is not None and decided.is_read)

    def _settle_surely(self, run: OpenPrompt) -> None:
        """Settle; and where that fails again and again, let the prompt end without its markers.

        A store that can't be asked is no such failure: it is asked again until it answers.
        """
        problems = self._context.problems
        try:
            self._settle(run)
            if self._stumbled:
                self._stumbled = False
                problems.solved("markers")
        except StoreAwayError:
            return
        except Exception as error:  # noqa: BLE001  a fault of ours must not keep a prompt from ending
            run.markers.stumbles += 1
            problems.report("markers", "the files of an ended prompt could not be looked at", error)
            self._stumbled = True
            if run.markers.stumbles >= MAX_STUMBLES:
                self._finish_anyhow(run)

    def _settle(self, run: OpenPrompt) -> None:
        """Decide, write, commit, put in place, answer; or come back later for files that are not there or read yet."""
        decided = run.markers.decided or self._decide(run)
        if decided is None:
            return
        run.markers.decided = decided if decided.job is not None else None
        if self._hashes.are_in(decided) and self._finishing.finish(run, decided.decisions, decided.notes):
            let_nodes_go(run)

    def _decide(self, run: OpenPrompt) -> Decided | None:
        """What the markers of an ended run are to say; null where it must wait for files."""
        if run.started is None or run.final is None:
            return Decided()
        if not run.start_seen:
            self._starting.attend(run)
        evidence = self._gathering.evidence(run)
        if run.markers.waiting_since is None:
            self._gathering.look(run, evidence)
        if run.final == "success" and run.wants_marker and self._must_wait(run, evidence):
            return None
        if run.record.plan is None:
            return Decided()
        if run.final != "success":
            self._serving.give_up(run)
        elif run.markers.ready:
            self._serving.serve(run)  # late: the store held this thread up while the prompt went on
        if self._serving.is_serving(run):
            return None
        decisions, notes = decide(evidence, due_requests(run.record.plan, run.final), run.final)
        return self._hashes.begin(self._gathering.output(run), decisions, notes, run.final)

    def _must_wait(self, run: OpenPrompt, evidence: Evidence) -> bool:
        waiting = unready(evidence, self._context.clock.perf())
        if not waiting:
            return False
        now = self._context.clock.mono()
        if run.markers.waiting_since is None:
            run.markers.waiting_since = now
        if not self._context.stopping and now - run.markers.waiting_since < FILE_PATIENCE_SECONDS:
            return True
        for note in waiting:
            run.record.note(note)
        return False

    def _finish_unstarted(self, runs: list[OpenPrompt]) -> None:
        """End what was cancelled before it started, many at once: there may be thousands."""
        for first in range(0, len(runs), ENDS_AT_ONCE):
            endings: list[Ending] = []
            for run in runs[first : first + ENDS_AT_ONCE]:
                try:
                    endings.append(self._finishing.ending_of(run, [], []))
                except Exception as error:  # noqa: BLE001  one that can't be ended must not keep the others from it
                    hint = "a cancelled prompt could not be ended as others are"
                    self._context.problems.report("writer", hint, error)
                    self._finish_anyhow(run)
            if endings and self._finishing.finish_all(endings):
                for ending in endings:
                    let_nodes_go(ending.run)

    def _finish_anyhow(self, run: OpenPrompt) -> None:
        """End a run over which we stumble again and again: without its markers, and if need be in a file alone."""
        try:
            self._finishing.finish(run, [], [UNDECIDED])
        except Exception as error:  # noqa: BLE001  this one must not keep the others from ending
            record = replace(run.record, status=run.final or "abandoned", plan=None, pending=[])
            record.note(UNDECIDED)
            self._finishing.finish_aside(Ending(run, record, Change(record), []), RecordFaultError(error))
