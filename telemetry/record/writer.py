"""The recorder's own thread: takes events in, keeps the store up to date, settles ended prompts.

It sleeps while nothing runs, wakes at once when a prompt is queued, started, ended or cancelled, and otherwise at
most every 200 ms while one runs: a writer that commits whenever it is free slows ComfyUI by half.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, TypeVar

from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from ..live.feed import Feed
from ..live.stream import KEPT_IN_MEMORY, NUMBERS_AT_ONCE, Stream, StreamEvent, Told, news_of
from ..markers.decide import (
    Decision,
    Evidence,
    decide,
    due_requests,
    folders_of,
    newly_seen,
    stale_prefixes,
    take_listings,
    unready,
)
from ..markers.file import suffix_of
from ..markers.grouping import group_of, is_resolved_from
from ..markers.hashing import Hashing, HashJob
from ..markers.listings import PAUSE, Listings, SharedFolder
from ..markers.marking import Marking, files_to_hash, written_paths
from ..markers.outputs import ReportedFile, look_at, reported_files, spelled_out
from ..markers.prefix import PrefixPath
from ..markers.requests import MarkerPlan, MarkerRequest
from ..markers.share import Share
from ..models.base import OPEN_STATUSES, PromptStatus
from ..models.environment import Environment
from ..models.marker import PromptMarker
from ..models.naming import OWN_CLASSES
from ..models.prompt import Instance
from ..models.record import NodeRecord, PromptRecord
from ..models.times import Stamp, milliseconds
from ..models.view import prompt_of
from ..process.identity import UNKNOWN, Identity, root_of
from ..process.problems import Problems
from ..store.database import StoreClosedError, is_corrupt
from ..store.database_file import ForeignFileError
from ..store.faults import is_fault_of_data, is_fault_of_store
from ..store.kept_events import WrittenMarkers
from ..store.rows import NODE_CHANGES
from ..store.store import Change, Store
from ..store.upkeep import is_due
from .ending import LAST_MS, Ending
from .events import MarkerRun, PromptDone, PromptUnqueued, WorkerDied
from .figures import FigureKeeper
from .fingerprint import IsChoice, fingerprints, graph_digest
from .handing_in import HandingIn
from .inbox import Inbox
from .names_given import NamesGiven
from .recorder import UNTOLD, Recorder, Run, refresh
from .refusals import end_of, sentence_of
from .set_aside import FOLDER as ASIDE_FOLDER
from .set_aside import SetAside

COMMIT_INTERVAL_SECONDS = 0.2
QUEUED_INTERVAL_SECONDS = 1.0
LOOK_SECONDS, GONE_SECONDS = 2.0, 3.0
"""How often ComfyUI's queue is looked at while prompts wait, and how long one is missed there before it is gone."""
RETRY_SECONDS = 0.05
FILE_PATIENCE_SECONDS = 5.0
HASH_PATIENCE_SECONDS = 2.0
"""How long the end of this process waits for files that are read for their hashes."""
STORE_RETRY_SECONDS = 1.0
LIFE_SECONDS = 1.0
"""A running prompt is saved so often at least: its record says until when its process lived."""
NUMBERING_TRIES = 5
ENDS_AT_ONCE = 200
"""So many prompts that were cancelled before they started are ended by one transaction."""
Answer = TypeVar("Answer")
Certain = Literal["store", "spool", "aside"]
"""Where an end is that nothing undoes: committed, to be handed in, or in a file of its own because nothing takes it."""
MAX_STUMBLES = 3
MAX_TRIES = 6
"""So often a record is tried that the store does not take while it takes others; then it is set aside."""
LONGEST_PAUSE_SECONDS = 60.0
NEVER = float("inf")
MAX_UNSAVED = 2000
"""Ended prompts that are kept in memory while the store can't be written."""
PRUNE_EVERY = 500
"""So many ended prompts are worth looking what is to be kept."""
NO_PLAN = MarkerPlan()
UNASKED = "the store could not be asked, so files of an earlier prompt from the last seconds may be among these"
PUT_OFF = "record put off"
DELAYED = "record delayed"
UNDECIDED = "its markers could not be decided, by a fault of this package"
ANOTHERS = "its markers are left to a server that writes to the output folder that it had"
DIED = "ComfyUI's process ended before this prompt did; when is not known"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the recorder is told of the process that it lives in."""

    roots: Callable[[], dict[str, Path]]
    """The folders of `output`, `temp` and `input`."""
    worker_alive: Callable[[], bool | None]
    is_choice: IsChoice
    port: Callable[[], int | None]
    redact: Callable[[str], str]
    digest_key: bytes
    held: Callable[[], frozenset[str] | None]
    """The ids of the prompts that ComfyUI's queue holds or runs; null where it can't be asked."""
    in_history: Callable[[str, float | None], PromptDone | None]
    """The end of a prompt, by its id and number, as ComfyUI's history has it."""


@dataclass(slots=True)
class Decided:
    """What markers are to say, and the reading of their files for the hashes that they are to have; null: none are."""

    decisions: list[Decision] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    job: HashJob | None = None

    @property
    def is_read(self) -> bool:
        """Whether files are still being read."""
        return self.job is not None and not self.job.is_done


@dataclass(frozen=True, slots=True)
class Serving:
    """A marker node that waits for its marker."""

    run: Run
    event: MarkerRun
    decided: Decided


@dataclass(slots=True)
class Attendance:
    """What the writer itself has to remember of a run."""

    awaited: bool = False
    folders: dict[str, SharedFolder] | None = None
    """Those that it will save to, by their path in the output folder, while it is queued; null where it has no plan."""
    looks: Share = field(default_factory=lambda: Share(PAUSE))
    """How often its folders are looked at while it runs."""
    begun: bool = False
    fingerprinted: bool = False
    saved_nodes: dict[int, tuple[object, ...]] = field(default_factory=dict)
    """What of each node may change, as the store has it."""
    unsaved_nodes: dict[int, tuple[object, ...]] = field(default_factory=dict)
    """The same of the nodes that are being saved, as they were when the change was made up: readers go on taking in."""
    told: Told = field(default_factory=Told)
    told_at: float = 0.0
    """When it was last to be saved as running, on `time.monotonic`."""
    evidence: Evidence | None = None
    roots: dict[str, Path] | None = None
    """The folders that it writes to: those of its start, until then those of its queueing. A node may set others."""
    waiting_since: float | None = None
    decided: Decided | None = None
    """Its markers, while their files are read for their hashes."""
    cleared: set[PrefixPath] = field(default_factory=set)
    """Prefixes whose stale markers were removed: at the start, when a node told them, when the first file came."""
    stumbles: int = 0
    tries: int = 0
    """How often the store has not taken it, while it took others."""
    not_before: float = 0.0
    """When it is to be saved again, on `time.monotonic`."""


@dataclass(frozen=True, slots=True)
class Correction:
    """A committed record that said of markers that they are written, as it is to be, and of which it said so."""

    record: PromptRecord
    paths: set[str]
    at_ms: int | None
    """When their events say that they were written; null where that is not known."""

    @property
    def untrue(self) -> WrittenMarkers:
        """The events that are to be taken back."""
        return WrittenMarkers(self.record.prompt_id, self.paths, self.at_ms)


class StoreAwayError(RuntimeError):
    """The store can't be asked now."""


class RecordFaultError(RuntimeError):
    """A record that the store does not take, while it takes others."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.is_final = is_fault_of_data(cause)
        """True where what is in the record is the fault, so that no other try can end better."""


class Writer:
    """Owns the recorder, and is the only one to write the store and the markers of prompts."""

    def __init__(
        self,
        inbox: Inbox,
        store: Store,
        feed: Feed,
        problems: Problems,
        surroundings: Surroundings,
        instance: Instance,
        identity: Identity = UNKNOWN,
    ) -> None:
        self.inbox = inbox
        self.store = store
        self.feed = feed
        self.problems = problems
        self.surroundings = surroundings
        self.instance = instance
        self.identity = identity
        """How others can tell whether this process lives, and which machine's its output folder is."""
        self.lock = threading.RLock()
        """Around `recorder`: the writer's thread and readers both take events in."""
        self.handing_in = HandingIn(store, problems)
        """What is certain, and not in the store yet."""
        self.recorder = Recorder(instance.id, self.handing_in.last_run_number, surroundings.redact)
        """Numbers runs by what it knows of; those in the store are counted in when a run is saved, without the lock."""
        self.settled = threading.Event()
        """Clear from the end of a prompt until its marker is written and those who wait for it are answered."""
        self.settled.set()
        self.upkeep_due = threading.Event()
        """Set each time so much was written that it is worth looking after the store."""
        self.ended = 0
        """How many runs have ended."""
        self.stream = Stream()
        self._untold: list[StreamEvent] = []
        """Events of open runs that are not committed yet."""
        self._environment: Environment | None = None
        self._environment_kept = True
        """False where what prompts run on is known, and the store doesn't have it yet."""
        self._attending: dict[Run, Attendance] = {}
        self.on_saved: Callable[[], None] = lambda: None
        """Called when open runs have been committed."""
        self.on_ended: Callable[[PromptRecord, Sequence[NodeRecord]], None] = lambda record, nodes: None
        """Called once for each run whose end is committed, with the nodes that this process saw. Raises nothing."""
        self.figures = FigureKeeper()
        """What the sampler has of the open runs."""
        self.opener: Callable[[], None] | None = None
        """Opens the store, where that has failed so far; tried again every second while there is anything to save."""
        self.dead: list[PromptRecord] = []
        """What dead processes left open, and the store has not taken as settled yet."""
        self._many_machines = store.database.backend != "sqlite"
        self._elsewhere: set[int] = set()
        """Of these, by key, those whose process ran on another machine."""
        self.aside: SetAside | None = None
        """Takes what the store doesn't; null where it can't be kept: then it is lost, and counted."""
        self._put_off = False
        """True while a record is tried again by itself."""
        self.names = NamesGiven()
        """What clients call their prompts, and the records don't yet."""
        self.dropped = 0
        """Records that were lost for good, because the store could not take them for too long."""
        self._look_at_queue = 0.0
        """When ComfyUI's queue is looked at next, on `time.monotonic`."""
        self._missing: dict[Run, float] = {}
        """Queued runs that ComfyUI's queue doesn't have, and since when."""
        self._patient = True
        """False once this process ends: then no file is waited for."""
        self._begun = 0
        """How many runs have begun."""
        self._listings = Listings()
        self._failing_until = 0.0
        self._stumbled = False
        """True while the last prompt to be settled could not be."""
        self._silent_until = 0.0
        """Until when the store is not asked anything, because it gave no answer."""
        self._troubled = False
        self._marking = Marking(lambda: surroundings.roots()["output"], problems)
        self._placed: list[int] = []
        """Records whose markers are in place, which the store doesn't know yet."""
        self._corrections: list[Correction] = []
        """Records that said of a marker that it is written, and it could not be put in place."""
        self._answers = Outstanding(self.settled)
        self._hashing = Hashing(inbox.ring)
        self._hash_until = NEVER
        """Until when hashes are waited for, on `time.monotonic`."""
        self._serving: list[Serving] = []
        """Marker nodes that wait until their files are read for their hashes."""
        self._recovering: dict[tuple[str, int], Run] = {}
        """Runs of dead processes whose markers' files are read for their hashes, by prompt and number."""

    # ------------------------------------------------------------ the loop

    def timeout(self) -> float | None:
        """How long to sleep if nobody rings; null while there is nothing to look after."""
        runs = self.recorder.runs
        with self.lock:
            waiting, started = bool(runs), bool(runs.started)
            ended = any(not self._reads(run) for run in runs.ended)
        placed = self._placed or self._corrections
        behind = waiting or placed or self.dead or self.handing_in.is_waiting or not self._environment_kept
        if (self._failing_until or self.opener is not None) and behind:
            return STORE_RETRY_SECONDS
        if ended:
            return RETRY_SECONDS
        if self.handing_in.ends and not started:
            return STORE_RETRY_SECONDS
        if started:
            return COMMIT_INTERVAL_SECONDS
        return QUEUED_INTERVAL_SECONDS if waiting else None

    def drain(self) -> None:
        """Take in what has happened; any thread."""
        with self.lock:
            for event in self.inbox.take():
                try:
                    self.recorder.apply(event)
                except Exception as error:  # noqa: BLE001  one event that we misread must not cost the others
                    self.problems.report(
                        "recorder", f"an event was not understood: {type(event).__name__}", error, passing=True
                    )
                if isinstance(event, PromptDone):
                    self._answers.end_came()

    def end_comes(self) -> None:
        """An end is about to be told: from now on `settled` is clear, until it has come and is settled. Any thread."""
        self._answers.expect_end()

    def step(self) -> None:
        """Everything that is to be done now."""
        self._open()
        if self.handing_in.is_waiting and self._may_write():
            self._hand_in()
        if self.dead and self._may_write():
            self._settle_dead_ones()
        self._keep_environment()
        self._watch_worker()
        self.drain()
        self._watch_queue()
        self._show_life()
        with self.lock:
            self.recorder.give_up_waiting(time.perf_counter())
            ended = list(self.recorder.runs.ended)
            runs = [run for run in self.recorder.runs.changed if run.final is None]
        self._finish_unstarted([run for run in ended if run.started is None])
        for run in ended:
            if run.started is not None:
                self._settle_surely(run)
        self._for_each(runs, self._attend)
        now = time.monotonic()
        self._save([run for run in runs if self._of(run).not_before <= now])
        self._for_each(runs, self._look_after)
        self._serve_hashed()
        self._listings.refresh(self._begun if self._nothing_runs() else None)
        self.names.give(self)
        if self._put_off and not any(one.tries for one in self._attending.values()):
            self._put_off = False
            self.problems.solved(PUT_OFF)
        self._correct()
        if self._placed and not self._corrections and self._may_write():
            self._forget_pending()
        with self.lock:
            unsaved = any(run.record.pk is None for run in self.recorder.runs.changed)
            self.handing_in.clear_if(not unsaved and not self._failing_until)
        if self.instance.port is None and self._may_write():
            self._learn_port()
        self._shed()
        if is_due(self.store):
            self.upkeep_due.set()
        self._answers.writer_is(idle=not self.inbox and not self._unsettled())

    def _look_after(self, run: Run) -> None:
        """What an open run needs once it is saved."""
        if run.ready_markers:
            self._serve_ready(run)
        self._fingerprint(run)

    def _for_each(self, runs: list[Run], do: Callable[[Run], None]) -> None:
        """Do it with each; one over which we stumble must not cost the others."""
        for run in runs:
            try:
                do(run)
            except Exception as error:  # noqa: BLE001
                hint = "the recorder stumbled over a prompt; it goes on with the others"
                self.problems.report("writer", hint, error, passing=True)

    @property
    def environment(self) -> Environment | None:
        """What prompts of this process run on; null until it is known."""
        return self._environment

    @environment.setter
    def environment(self, environment: Environment) -> None:
        self._environment, self._environment_kept = environment, False
        self.inbox.ring()

    def _keep_environment(self) -> None:
        environment = self._environment
        if environment is not None and not self._environment_kept and self._may_write():
            self._environment_kept = self._write_surely(lambda: self.store.add_environment(environment))

    def _may_write(self) -> bool:
        """False while the store is closed, and for a second after it could not be written."""
        return self.opener is None and time.monotonic() >= self._failing_until

    def _ask(self, question: Callable[..., Answer], *args: Any) -> Answer:
        """Ask the store. Raises StoreAwayError where it can't answer now; then it is not asked again for a second.

        A store that can't be written may still be read.
        """
        if self.opener is not None or time.monotonic() < self._silent_until:
            raise StoreAwayError("the store can't be asked now")
        try:
            return question(*args)
        except (SQLAlchemyError, StoreClosedError) as error:
            self._silent_until = time.monotonic() + STORE_RETRY_SECONDS
            self._store_failed(error)
            raise StoreAwayError("the store can't be asked now") from error

    def _write_surely(self, write: Callable[[], object]) -> bool:
        """Write something that belongs to no prompt; false where the store can't take it now."""
        try:
            write()
        except Exception as error:  # noqa: BLE001  whatever the database does, ComfyUI goes on
            self._store_failed(error)
            return False
        self._store_works()
        return True

    @property
    def is_failing(self) -> bool:
        """True while the store can't be written."""
        return self.opener is not None or self._troubled

    def _open(self) -> None:
        if self.opener is None or time.monotonic() < self._failing_until:
            return
        try:
            self.opener()
        except Exception as error:  # noqa: BLE001  whatever the database does, ComfyUI goes on
            self._store_failed(error)
        else:
            self.opener = None

    def _learn_port(self) -> None:
        """ComfyUI listens only after custom nodes have been loaded."""
        port = self.surroundings.port()
        if port is not None and self._write_surely(lambda: self.store.set_port(self.instance.id, port)):
            self.instance.port = port

    def _unsettled(self) -> list[Run]:
        """Ended runs that are not waiting for a file, nor for its hash."""
        with self.lock:
            ended = list(self.recorder.runs.ended)
            return [run for run in ended if self._of(run).waiting_since is None and not self._reads(run)]

    def _of(self, run: Run) -> Attendance:
        return self._attending.setdefault(run, Attendance())

    def _watch_worker(self) -> None:
        with self.lock:
            run = self.recorder.running()
        if run is not None and self.surroundings.worker_alive() is False:
            self.drain()
            at = Stamp(time.time(), time.perf_counter())
            with self.lock:
                self.recorder.apply(WorkerDied(at, run.record.prompt_id))

    def _watch_queue(self) -> None:
        """End what is neither queued nor running any more, and was not seen to leave: as history has it, or cancelled.

        Other node packs empty ComfyUI's queue, replace it, or let a prompt into it only by name.
        """
        now = time.monotonic()
        if now < self._look_at_queue:
            return
        self._look_at_queue = now + LOOK_SECONDS
        with self.lock:
            waiting = [run for run in self.recorder.runs if run.started is None and run.final is None]
        held = self.surroundings.held() if waiting else None
        if held is None:
            self._missing = {}
            return
        self._missing = {run: self._missing.get(run, now) for run in waiting if run.record.prompt_id not in held}
        gone = [run for run, since in self._missing.items() if now - since >= GONE_SECONDS]
        if gone:
            self.drain()
        for run in gone:
            del self._missing[run]
            record, at = run.record, Stamp(time.time(), time.perf_counter())
            ended = self.surroundings.in_history(record.prompt_id, record.queue_number)
            with self.lock:
                self.recorder.apply(ended or PromptUnqueued(record.prompt_id, at, run.graph, "vanished"))

    def _show_life(self) -> None:
        now = time.monotonic()
        with self.lock:
            for run in self.recorder.runs.started:
                if now - self._of(run).told_at >= LIFE_SECONDS:
                    self.recorder.runs.touch(run)

    # ------------------------------------------------------------ open runs

    def _attend(self, run: Run) -> None:
        """What a run needs when it has been queued, and when it has started."""
        attendance = self._of(run)
        plan = run.record.plan
        if not attendance.awaited:
            attendance.awaited = True
            if plan and run.started is None and run.queued is not None:
                found = folders_of(plan, self._output(run), run.queued.wall, run.record.prompt_id)
                attendance.folders = {folder: self._listings.want(path, heads) for folder, path, heads in found}
        if not attendance.begun and run.started is not None:
            attendance.begun = True
            self._keep_roots(run)
            run.record.environment_id = self.environment.id if self.environment else None
            if plan:
                self._clear_learned(run, plan, run.started.wall)
                self._list_at_start(run, plan, run.started.wall)
            self._begun += 1
        elif plan and run.started is not None and run.dirty:
            self._clear_learned(run, plan, run.started.wall)
            self._clear_first_seen(run)

    def _clear_learned(self, run: Run, plan: MarkerPlan, started: float) -> None:
        """Remove stale markers of the prefixes that are known: all literal ones at the start, a wired one when told."""
        attendance = self._of(run)
        ours = {entry.path for entry in run.record.markers if entry.written_at is not None}
        for prefix in stale_prefixes(plan, started, run.record.prompt_id):
            if prefix not in attendance.cleared and f"{prefix}.done" not in ours:
                attendance.cleared.add(prefix)
                self._marking.remove_stale(run.record, self._output(run), [prefix])

    def _keep_roots(self, run: Run) -> None:
        """At the start: the folders are what they are now; of others that it was queued with nothing is known here."""
        attendance = self._of(run)
        now = dict(self.surroundings.roots())
        if attendance.roots is not None and attendance.roots != now:
            attendance.folders = None
            if attendance.evidence is not None:
                attendance.evidence.roots = now
        self._set_roots(run, now)

    def _set_roots(self, run: Run, roots: dict[str, Path]) -> None:
        self._of(run).roots = roots
        run.record.output_root = root_of(roots["output"])

    def _roots(self, run: Run) -> dict[str, Path]:
        attendance = self._of(run)
        if attendance.roots is None:
            self._set_roots(run, dict(self.surroundings.roots()))
        return attendance.roots or {}

    def _output(self, run: Run) -> Path:
        return self._roots(run)["output"]

    def _nothing_runs(self) -> bool:
        with self.lock:
            return not self.recorder.runs.started and not any(run.started for run in self.recorder.runs.ended)

    def _clear_first_seen(self, run: Run) -> None:
        """Remove stale markers of prefixes that only their saver can resolve, when its first file appears."""
        attendance = self._of(run)
        ours = {entry.path for entry in run.record.markers if entry.written_at is not None}
        if not attendance.looks.is_due():
            return
        with attendance.looks.spent():
            seen = newly_seen(self._evidence(run))
        for prefix in seen:
            if prefix not in attendance.cleared and f"{prefix}.done" not in ours:
                attendance.cleared.add(prefix)
                self._marking.remove_stale(run.record, self._output(run), [prefix])

    def _list_at_start(self, run: Run, plan: MarkerPlan, started: float) -> None:
        """Remember what lay in its folders before it started, and list them now."""
        attendance, evidence = self._of(run), self._evidence(run)
        before = {path: folder.latest for path, folder in (attendance.folders or {}).items()}
        attendance.folders = None
        evidence.queued_listings = {path: listing for path, listing in before.items() if listing is not None}
        evidence.in_peace = frozenset(
            path for path, listing in evidence.queued_listings.items() if listing.begun == self._begun
        )
        evidence.started_listings = take_listings(plan, self._output(run), started, run.record.prompt_id)

    def _evidence(self, run: Run) -> Evidence:
        attendance = self._of(run)
        if attendance.evidence is None:
            attendance.evidence = Evidence(
                run.record.prompt_id,
                run.record.plan or NO_PLAN,
                self._roots(run),
                run.started or run.queued or Stamp(time.time(), time.perf_counter()),
                refused={one.node_id: sentence_of(one) for one in run.record.refused},
                listed=lambda folder, names: self._ask(self.store.listed, folder, names),
            )
        evidence = attendance.evidence
        evidence.plan = run.record.plan or NO_PLAN
        if run.started is not None:
            evidence.started = run.started
        evidence.first_node_mono = run.first_node_mono
        evidence.ended = run.ended
        return evidence

    def _fingerprint(self, run: Run) -> None:
        attendance = self._of(run)
        if attendance.fingerprinted or not run.graph:
            return
        attendance.fingerprinted = True
        try:
            workflow, settings = fingerprints(run.graph, self.surroundings.is_choice)
            run.record.workflow_fingerprint, run.record.settings_fingerprint = workflow, settings
            run.record.graph_digest = graph_digest(run.graph, self.surroundings.digest_key)
        except Exception as error:  # noqa: BLE001  a graph may hold anything
            self.problems.report("fingerprint", "a graph has no fingerprint", error, passing=True)
        self._touch([run])

    def _touch(self, runs: Sequence[Run], *, urgent: bool = False) -> None:
        with self.lock:
            for run in runs:
                self.recorder.runs.touch(run, urgent=urgent)

    # ------------------------------------------------------------ the store

    def _change(self, run: Run) -> Change:
        refresh(run)
        self.figures.refresh(run)
        attendance = self._of(run)
        if run.started is not None:
            attendance.told_at, run.record.seen_ms = time.monotonic(), milliseconds(time.time())
        saved, unsaved = attendance.saved_nodes, {}
        change = Change(run.record)
        for node in run.nodes.values():
            now = _changing(node)
            before = saved.get(node.seq)
            if before is None:
                change.new_nodes.append(node)
            elif before != now:
                change.changed_nodes.append(node)
            else:
                continue
            unsaved[node.seq] = now
        attendance.unsaved_nodes = unsaved
        return change

    def _changes(self, runs: list[Run]) -> tuple[list[Change], list[Run]]:
        """What is to be saved of some runs, and of which: one of which that can't be told is tried again later."""
        changes, good = [], []
        for run in runs:
            try:
                changes.append(self._change(run))
                good.append(run)
            except Exception as error:  # noqa: BLE001
                self._put_run_off(run, RecordFaultError(error))
        return changes, good

    def _save(self, runs: list[Run]) -> None:
        if not runs or time.monotonic() < self._failing_until:
            return
        with self.lock:
            changes, runs = self._changes(runs)
            for run in runs:
                self._untold += news_of(run, self._of(run).told, time.perf_counter())
                run.dirty = run.urgent = False
                self.recorder.runs.changed.pop(run, None)
        ids = {run.record.prompt_id for run in runs}
        news = [event for event in self._untold if event.prompt_id in ids]
        try:
            done = self._commit(changes, durable=False, news=news)
        except RecordFaultError as error:
            self._save_one_by_one(runs, error)
            return
        if not done:
            self._touch(runs, urgent=True)
            del self._untold[:-KEPT_IN_MEMORY]
            return
        self.on_saved()
        self._tell(news)
        for run in runs:
            attendance = self._of(run)
            attendance.tries, attendance.not_before = 0, 0.0
            attendance.saved_nodes.update(attendance.unsaved_nodes)

    def commit_name(self, change: Change, event: StreamEvent) -> bool:
        """Commit the name of a run that the store has, and tell it; false where the store can't take it now."""
        if not (self._may_write() and self._commit([change], durable=False, news=[event])):
            return False
        self._tell([event])
        return True

    def _tell(self, news: list[StreamEvent]) -> None:
        committed = {id(event) for event in news}
        self._untold = [event for event in self._untold if id(event) not in committed]
        self.stream.publish(news)

    def _save_one_by_one(self, runs: list[Run], error: RecordFaultError) -> None:
        """The store doesn't take one of these records: save the others, and try that one again later, by itself."""
        if len(runs) > 1:
            for run in runs:
                self._save([run])
            return
        self._put_run_off(runs[0], error)

    def _put_run_off(self, run: Run, error: RecordFaultError) -> None:
        attendance = self._of(run)
        attendance.tries += 1
        attendance.not_before = NEVER if error.is_final else time.monotonic() + _pause(attendance.tries)
        self._put_off = True
        hint = "the store does not take a record while it takes others; that one is tried again, by itself"
        self.problems.report(PUT_OFF, hint, error.cause)
        self._touch([run])

    def _commit(
        self,
        changes: list[Change],
        *,
        durable: bool,
        news: Sequence[StreamEvent] = (),
        untrue: Sequence[WrittenMarkers] = (),
    ) -> bool:
        if self.opener is not None:
            return False
        try:
            self._save_numbered(changes, durable, news, untrue)
        except Exception as error:
            if is_fault_of_data(error) or (not is_fault_of_store(error) and self._takes_others()):
                raise RecordFaultError(error) from error
            self._store_failed(error)
            return False
        self._store_works()
        return True

    def _takes_others(self) -> bool:
        """Whether anything can be written now."""
        try:
            self.store.try_to_write()
        except Exception:  # noqa: BLE001  why not is told with the fault that we ask for
            return False
        return True

    def _save_numbered(
        self, changes: list[Change], durable: bool, news: Sequence[StreamEvent], untrue: Sequence[WrittenMarkers]
    ) -> None:
        """Save, under numbers that nobody else has; another server on this database may take one in this instant."""
        for left in reversed(range(NUMBERING_TRIES)):
            if not self.stream.has_numbers_for(len(news)):
                self.stream.may_use(self._reserve(), NUMBERS_AT_ONCE)
            self.stream.number(news)
            for change in changes:
                if change.record.pk is None:
                    self._renumber(change.record, self.store.last_run_number(change.record.prompt_id))
            try:
                self.store.save(changes, durable=durable, news=news, untrue=untrue)
            except IntegrityError:
                if not left:
                    raise
                self.stream.give_back()
            else:
                break

    def _store_works(self) -> None:
        if self._troubled:
            self._troubled, self._failing_until = False, 0.0
            self.problems.solved("store")

    def _reserve(self) -> int:
        return self.store.reserve_numbers(NUMBERS_AT_ONCE, self.stream.next_number)

    def _renumber(self, record: PromptRecord, earlier: int) -> None:
        """Number the unsaved runs of an id after those in the store. `record` is one of them, or the copy of one."""
        with self.lock:
            records = [run.record for run in self.recorder.runs.of(record.prompt_id)]
            unsaved = [one for one in records if one.pk is None]
            if all(one is not record for one in unsaved):
                unsaved.append(record)
            numbers = sorted({one.run_number for one in unsaved})
            given = {number: earlier + place for place, number in enumerate(numbers, 1)}
            for one in unsaved:
                one.run_number = given[one.run_number]
            self.feed.renumber(record.prompt_id, given)

    def _store_failed(self, error: Exception) -> None:
        self._troubled = True
        self._failing_until = time.monotonic() + STORE_RETRY_SECONDS
        hint = "records can't be written now; they are kept in memory and tried again every second"
        self.problems.report("store", hint, error)
        if self.opener is None and is_corrupt(error):
            self._start_anew()

    def _start_anew(self) -> None:
        """The database has become corrupt: set it aside, and save everything that is still open to a new one."""
        try:
            aside = self.store.database.set_aside()
        except (ForeignFileError, OSError) as error:
            hint = "the database is corrupt and can't be set aside; records are kept in memory and tried again"
            self.problems.report("store corrupt", hint, error)
        else:
            name = aside.name if aside is not None else "it is"
            self.problems.report("store corrupt", f"the database was corrupt; it is kept as {name}, beside a new one")
        with self.lock:
            for run in self.recorder.runs:
                run.record.pk = None
                self.recorder.runs.touch(run)
                self._of(run).saved_nodes.clear()
        self._placed.clear()
        self._corrections.clear()
        self.opener = self._reopen
        self._failing_until = 0.0
        self.inbox.ring()

    def _reopen(self) -> None:
        self.store.database.open()
        self.stream.give_back()
        self.store.add_instance(self.instance, self.identity)
        self.store.look()
        self._environment_kept = self._environment is None

    def _shed(self) -> None:
        """Let go of the oldest ended records where the store has not taken them for too long."""
        if not self._failing_until:
            return
        with self.lock:
            ended = list(self.recorder.runs.ended)
            for run in ended[:-MAX_UNSAVED]:
                self.recorder.drop(run)
                _give_up((self._attending.pop(run, None) or Attendance()).decided)
                self.dropped += 1
        if len(ended) > MAX_UNSAVED:
            hint = f"the store could not be written for so long that the oldest of more than {MAX_UNSAVED} were let go"
            self.problems.report("records dropped", hint)

    def _forget_pending(self) -> None:
        """Note in the store that markers are in place; until then the next process would look after them."""
        placed, self._placed = self._placed, []
        if not self._write_surely(lambda: self.store.clear_pending(placed)):
            self._placed = placed + self._placed

    # ------------------------------------------------------------ markers of nodes that wait

    def _serve_ready(self, run: Run) -> None:
        with self.lock:
            waiting, run.ready_markers = run.ready_markers, []
        for event in waiting:
            try:
                decided = self._decide_ready(run, event)
            except Exception as error:  # noqa: BLE001  the node must be answered
                self._marking.failed(run.record, error)
                decided = Decided()
            self._serving.append(Serving(run, event, decided))
        self._serve_hashed()

    def _decide_ready(self, run: Run, event: MarkerRun) -> Decided:
        plan = run.record.plan or NO_PLAN
        requests = [request for request in plan.requests if request.node_id == event.node_id]
        decisions, notes = self._decide_now(self._evidence(run), requests)
        for note in notes:
            run.record.note(note)
        return self._reading(run, decisions, notes)

    def _serve_hashed(self) -> None:
        """Write the markers of the nodes that wait, and answer them; but for those whose files are still being read."""
        for serving in self._serving.copy():
            run, event = serving.run, serving.event
            if not self._has_hashes(serving.decided):
                continue
            self._serving.remove(serving)
            path = ""
            try:
                path = self._write_ready(run, serving.decided.decisions)
            except Exception as error:  # noqa: BLE001  the node must be answered
                self._marking.failed(run.record, error)
            if event.settled is not None:
                event.settled.set_result(path)
            self._touch([run])

    def _give_up_serving(self, run: Run) -> None:
        """The prompt has failed: its nodes are answered with its end, without a marker of their own."""
        for serving in [one for one in self._serving if one.run is run]:
            self._serving.remove(serving)
            _give_up(serving.decided)
            run.ready_markers.append(serving.event)

    def _write_ready(self, run: Run, decisions: list[Decision]) -> str:
        path = self._marking.write_now(run.record, decisions, self._output(run))
        if path:
            told = {"path": path, "status": "running" if path.endswith(suffix_of("running")) else "error"}
            self._untold.append(StreamEvent("marker.written", run.record.prompt_id, milliseconds(time.time()), told))
        return path

    def _decide_now(self, evidence: Evidence, requests: list[MarkerRequest]) -> tuple[list[Decision], list[str]]:
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

    # ------------------------------------------------------------ hashes

    def _reading(
        self, run: Run, decisions: list[Decision], notes: list[str], status: PromptStatus = "success"
    ) -> Decided:
        """Begin to read the files of which markers are to say the hash, at a prompt's end of this status."""
        wanted = [decision for decision in decisions if decision.wanted(status)]
        files = files_to_hash(wanted, self._output(run))
        return Decided(decisions, notes, self._hashing.begin(files) if files else None)

    def _reads(self, run: Run) -> bool:
        """Whether files of a run are still being read for their hashes."""
        decided = self._of(run).decided
        return any(one.run is run for one in self._serving) or (decided is not None and decided.is_read)

    def _has_hashes(self, decided: Decided) -> bool:
        """Whether decisions have the hashes that they are to have; once this process ends, those that there are."""
        job = decided.job
        if decided.is_read and self._patient:
            return False
        if job is not None:
            job.wait(max(0.0, self._hash_until - time.monotonic()) if decided.is_read else 0.0)
            hashes = job.give_up()
            for decision in decided.decisions:
                decision.hashes = hashes
        return True

    # ------------------------------------------------------------ the end of a prompt

    def _settle_surely(self, run: Run) -> None:
        """Settle; and where that fails again and again, let the prompt end without its markers.

        A store that can't be asked is no such failure: it is asked again until it answers.
        """
        try:
            self._settle(run)
            if self._stumbled:
                self._stumbled = False
                self.problems.solved("markers")
        except StoreAwayError:
            return
        except Exception as error:  # noqa: BLE001  a fault of ours must not keep a prompt from ending
            attendance = self._of(run)
            attendance.stumbles += 1
            hint = "the files of an ended prompt could not be looked at"
            self.problems.report("markers", hint, error)
            self._stumbled = True
            if attendance.stumbles >= MAX_STUMBLES:
                self._finish_anyhow(run)

    def _finish_anyhow(self, run: Run) -> None:
        """End a run over which we stumble again and again: without its markers, and if need be in a file alone."""
        try:
            self._finish(run, [], [UNDECIDED])
        except Exception as error:  # noqa: BLE001  this one must not keep the others from ending
            record = replace(run.record, status=run.final or "abandoned", plan=None, pending=[])
            record.note(UNDECIDED)
            self._finish_aside(Ending(run, record, Change(record), []), RecordFaultError(error))

    def _settle(self, run: Run) -> None:
        """Decide, write, commit, put in place, answer; or come back later for files that are not there or read yet."""
        decided = self._of(run).decided or self._decide_end(run)
        if decided is None:
            return
        self._of(run).decided = decided if decided.job is not None else None
        if self._has_hashes(decided) and self._finish(run, decided.decisions, decided.notes):
            _let_nodes_go(run)

    def _decide_end(self, run: Run) -> Decided | None:
        """What the markers of an ended run are to say; null where it must wait for files."""
        if run.started is None or run.final is None:
            return Decided()
        if not self._of(run).begun:
            self._attend(run)
        evidence = self._evidence(run)
        if self._of(run).waiting_since is None:
            self._look(run, evidence)
        if run.final == "success" and run.wants_marker() and self._must_wait(run, evidence):
            return None
        if run.record.plan is None:
            return Decided()
        if run.final != "success":
            self._give_up_serving(run)
        elif run.ready_markers:
            self._serve_ready(run)  # late: the store held this thread up while the prompt went on
        if any(serving.run is run for serving in self._serving):
            return None
        decisions, notes = decide(evidence, due_requests(run.record.plan, run.final), run.final)
        return self._reading(run, decisions, notes, run.final)

    def _look(self, run: Run, evidence: Evidence) -> None:
        """Find what the nodes reported; and, of nodes that were cached and said nothing, what they saved last."""
        evidence.reported = reported_files(run.reported or {})
        for file in evidence.reported:
            file.cached = file.node_id is not None and run.is_cached(file.node_id)
            look_at(file, evidence.roots)
        evidence.reported = spelled_out(evidence.reported, evidence.roots)
        self._fingerprint(run)
        if run.wants_marker() and run.final == "success" and any(node.cached for node in run.nodes.values()):
            evidence.reported += self._earlier(run, evidence)
        evidence.reported = [file for file in evidence.reported if file.stamp is not None or not file.guessed]

    def _earlier(self, run: Run, evidence: Evidence) -> list[ReportedFile]:
        """What the last run of this graph saved and this one's cached nodes don't say, as far as it lies there yet."""
        found: list[ReportedFile] = []
        if run.record.graph_digest is None:
            return found
        earlier = self._ask(self.store.outputs_of_graph, run.record.graph_digest)
        known = {(file.node_id, *file.key) for file in earlier}
        said = {(file.node_id, *file.key) for file in evidence.reported}
        ran_since = {node_id for node_id, *_ in said - known}  # in another graph: the record is of an older run
        nothing_ran = not ran_since and _nothing_ran(run)
        for file in earlier:
            if file.type != "output" or file.node_id in ran_since or (file.node_id, *file.key) in said:
                continue
            if not nothing_ran and not _was_cached(run, file):
                continue
            before, file.cached = file.stamp, True
            look_at(file, evidence.roots)
            if file.stamp is None or file.stamp != before:
                run.record.note(f"{file.filename} of an earlier prompt is no longer what it was")
                continue
            found.append(file)
        return found

    def _must_wait(self, run: Run, evidence: Evidence) -> bool:
        attendance = self._of(run)
        waiting = unready(evidence)
        if not waiting:
            return False
        now = time.monotonic()
        if attendance.waiting_since is None:
            attendance.waiting_since = now
        if self._patient and now - attendance.waiting_since < FILE_PATIENCE_SECONDS:
            return True
        for note in waiting:
            run.record.note(note)
        return False

    def _finish_unstarted(self, runs: list[Run]) -> None:
        """End what was cancelled before it started, many at once: there may be thousands."""
        for first in range(0, len(runs), ENDS_AT_ONCE):
            endings: list[Ending] = []
            for run in runs[first : first + ENDS_AT_ONCE]:
                try:
                    endings.append(self._ending_of(run, [], []))
                except Exception as error:  # noqa: BLE001  one that can't be ended must not keep the others from it
                    self.problems.report("writer", "a cancelled prompt could not be ended as others are", error)
                    self._finish_anyhow(run)
            if endings and self._finish_all(endings):
                for ending in endings:
                    _let_nodes_go(ending.run)

    def _finish(self, run: Run, decisions: list[Decision], notes: list[str]) -> bool:
        """Commit the end of a run, put its markers in place and answer; false where nothing can take it now."""
        return self._finish_all([self._ending_of(run, decisions, notes)])

    def _ending_of(self, run: Run, decisions: list[Decision], notes: list[str]) -> Ending:
        """Make up the end of a run, and write its markers' temporaries."""
        final: PromptStatus = run.final or "abandoned"
        with self.lock:
            change = self._change(run)
            record = replace(run.record, status=final, notes=list(run.record.notes), plan=None)
        record.environment_id = record.environment_id or (self.environment.id if self.environment else None)
        record.outputs = _outputs(self._of(run).evidence, decisions)
        return self._prepare(run, record, change, decisions, notes)

    def _prepare(
        self, run: Run, record: PromptRecord, change: Change, decisions: list[Decision], notes: list[str]
    ) -> Ending:
        for note in notes:
            record.note(note)
        for note in [note for note in record.notes if note in UNTOLD]:
            self.problems.report("a silent seam", f"{note}; those figures are null", passing=True)
        plan = run.record.plan or NO_PLAN
        overtaken = partial(self._overtaken, run)
        prepared = self._marking.prepare(record, plan, decisions, overtaken, self._output(run))
        self.figures.into_ended(run, record)
        return Ending(run, record, change, prepared, decisions, notes, self._news_of_end(run, record))

    def _finish_all(self, endings: list[Ending]) -> bool:
        """Make some ends certain, in the store or in the spool, and then do what follows from them."""
        try:
            committed = self._commit_ends(endings)
        except RecordFaultError as error:
            if len(endings) > 1:
                self._drop_temporaries(endings)
                return self._each(endings, lambda end: self._finish(end.run, list(end.decisions), list(end.notes)))
            return self._finish_refused(endings[0], error)
        if not committed and not self.handing_in.keep([end.kept for end in endings]):
            self._drop_temporaries(endings)
            return False
        for ending in endings:
            self._close(ending, "store" if committed else "spool")
        return True

    def _finish_refused(self, ending: Ending, error: RecordFaultError) -> bool:
        """An end that the store does not take while it takes others: certain in the spool, or in a file of its own."""
        if not error.is_final and self.handing_in.keep([ending.kept]):
            self._try_later(ending, error)
            self._close(ending, "spool")
        else:
            self._finish_aside(ending, error)
        return True

    def _finish_aside(self, ending: Ending, error: RecordFaultError) -> None:
        if not self._set_aside(ending, error):
            self._drop_temporaries([ending])
            ending.prepared = []
            ending.record.markers = [PromptMarker(path=None, status="not written") for _ in ending.record.markers]
        self._close(ending, "aside")

    def _try_later(self, ending: Ending, error: RecordFaultError) -> None:
        ending.tries += 1
        ending.not_before = time.monotonic() + _pause(ending.tries)
        self.problems.report(DELAYED, "the store does not take a record while it takes others", error.cause)

    def _set_aside(self, ending: Ending, error: RecordFaultError) -> bool:
        """Keep a record that the store does not take in a file, and in the store what it takes of it.

        False where nothing of it can be kept anywhere.
        """
        record, kept = ending.record, False
        try:
            if self.aside is None:
                raise OSError(f"there is no {ASIDE_FOLDER}")
            name = self.aside.put(record, list(ending.run.nodes.values()), self.instance, error.cause)
            record.note(f"the database does not take this record as it is; it is kept whole in {ASIDE_FOLDER}/{name}")
            kept = True
        except OSError as why:
            self.problems.report("set aside", "a record that the database does not take can't be kept in a file", why)
        bare = ending.bare
        for event in ending.news:
            event.at_ms = min(event.at_ms, LAST_MS)
        for changes in ([bare], []):
            try:
                if not self._commit(changes, durable=True, news=ending.news):
                    break
            except RecordFaultError:
                continue
            self._tell(ending.news)
            kept = kept or bool(changes)
            record.pk = bare.record.pk
            if record.pending and record.pk is not None:
                self._placed.append(record.pk)
            break
        if not kept:
            self.problems.report("record lost", "a record can't be kept anywhere, and is lost", error.cause)
            self.dropped += 1
        return kept

    def _commit_ends(self, endings: list[Ending]) -> bool:
        if not self._may_write():
            return False
        news = [event for ending in endings for event in ending.news]
        return self._commit([ending.whole for ending in endings], durable=True, news=news)

    @staticmethod
    def _each(endings: list[Ending], do: Callable[[Ending], bool]) -> bool:
        """Do it with each, whatever becomes of the others: one of them is such that no database takes it."""
        done = [do(ending) for ending in endings]
        return all(done)

    def _drop_temporaries(self, endings: list[Ending]) -> None:
        for ending in endings:
            self._marking.drop(ending.prepared)

    def _place(self, ending: Ending, where: Certain) -> None:
        """Put the markers of a certain end in place; where one can't be, the record says so from then on."""
        record = ending.record
        said = written_paths(record)
        if not ending.prepared or self._marking.place(record, ending.prepared):
            return
        untrue = said - written_paths(record)
        gone = [event for event in ending.news if event.kind == "marker.written" and event.data.get("path") in untrue]
        ending.news = [event for event in ending.news if event not in gone]
        if where == "spool":
            self.handing_in.keep([ending.kept])
        elif record.pk is not None:
            kept = record if where == "store" else ending.bare.record
            self._corrections.append(Correction(kept, untrue, gone[0].at_ms if gone else None))
            self._correct()

    def _correct(self) -> None:
        """Let the store say what became of markers that could not be put in place; what it can't take now waits."""
        while self._corrections and self._may_write():
            correction = self._corrections[0]
            try:
                if not self._commit([Change(correction.record)], durable=False, untrue=[correction.untrue]):
                    return
            except RecordFaultError as error:
                hint = "a record says of a marker that it is written, it is not, and the store takes no correction"
                self.problems.report("correction", hint, error.cause)
            self._corrections.pop(0)

    def _close(self, ending: Ending, where: Certain) -> None:
        """An end is certain: its markers go into place, it is counted, and whoever waits for it is answered."""
        run, record = ending.run, ending.record
        self._place(ending, where)
        if where == "store":
            self._told(ending)
        self.figures.forget(run)
        self.ended += 1
        if self.ended % PRUNE_EVERY == 0:
            self.upkeep_due.set()
        self.on_ended(record, list(run.nodes.values()))  # counted before anybody is told
        self.problems.prompt_passed()
        with self.lock:
            if where != "store":
                self._forget_news(ending)
            if where == "spool":
                self.handing_in.add(ending)
            self.recorder.drop(run)
            self._attending.pop(run, None)
            self._answers.add()
            self.feed.publish(prompt_of(record, {self.instance.id: self.instance}), self._answers.done)

    def _told(self, ending: Ending) -> None:
        """An end is in the store: its events are told, and its markers need no looking after any more."""
        self._tell(ending.news)
        if ending.record.pending and ending.record.pk is not None:
            self._placed.append(ending.record.pk)

    def _forget_news(self, ending: Ending) -> None:
        kept = {id(event) for event in ending.news}
        self._untold = [event for event in self._untold if id(event) not in kept]

    # ------------------------------------------------------------ what waits in the spool

    def _hand_in(self) -> None:
        """Give the store what was kept while it could not be written, and what dead processes left so."""
        while True:
            with self.lock:
                endings = self.handing_in.next_ends(time.monotonic())
            if not endings:
                break
            if not self._hand_in_some(endings):
                return
        if not any(end.tries for end in self.handing_in.ends.values()):
            self.problems.solved(DELAYED)
        try:
            self.handing_in.take_inherited(self._commit_inherited, self.adopt)
        except Exception as error:  # noqa: BLE001  whatever the database does, ComfyUI goes on
            self._store_failed(error)

    def _hand_in_some(self, endings: list[Ending]) -> bool:
        try:
            if not self._commit_ends(endings):
                return False
        except RecordFaultError as error:
            if len(endings) > 1:
                return self._each(endings, lambda end: self._hand_in_some([end]))
            if not error.is_final and endings[0].tries < MAX_TRIES:
                self._try_later(endings[0], error)
                return True
            self._set_aside(endings[0], error)
        else:
            for ending in endings:
                self._told(ending)
        with self.lock:
            self.handing_in.done(endings)
        return True

    def _commit_inherited(self, endings: list[Ending]) -> bool:
        for ending in endings:
            ending.news = _news_of_inherited(ending)
        try:
            if not self._commit_ends(endings):
                return False
        except RecordFaultError as error:
            for ending in endings:
                self._set_aside(ending, error)
            return True
        for ending in endings:
            self._tell(ending.news)
            is_anothers = ending.record.instance_id != self.instance.id  # this process counted its own when they ended
            if is_anothers and ending.record.status not in OPEN_STATUSES:
                self.on_ended(ending.record, list(ending.run.nodes.values()))
        return True

    def _news_of_end(self, run: Run, record: PromptRecord) -> list[StreamEvent]:
        """What is still to be told of a run, then its markers, then its end."""
        if run.graph or run.nodes:
            with self.lock:
                self._untold += news_of(run, self._of(run).told, time.perf_counter())
        earlier = [event for event in self._untold if event.prompt_id == record.prompt_id]
        at = record.ended_ms or milliseconds(time.time())
        written = {entry.path: entry for entry in record.markers if entry.path is not None}
        told = {event.data.get("path") for event in earlier if event.kind == "marker.written"}
        markers = [
            StreamEvent("marker.written", record.prompt_id, at, {"path": path, "status": entry.status})
            for path, entry in written.items()
            if path not in told and entry.status != "running"
        ]
        return [*earlier, *markers, StreamEvent("prompt.finished", record.prompt_id, at, end_of(record))]

    def _overtaken(self, run: Run, prefix: PrefixPath) -> bool:
        """Whether a prompt that started later has already cleared this prefix for itself."""
        with self.lock:
            known = [*self.recorder.runs.started, *self.recorder.runs.ended]
            others = [other for other in known if other is not run and self._of(other).begun]
        for other in others:
            if other.started is None or run.started is None or other.started.mono <= run.started.mono:
                continue
            if self._output(other) != self._output(run):
                continue
            plan = other.record.plan or NO_PLAN
            cleared = self._of(other).cleared
            if prefix in cleared or prefix in stale_prefixes(plan, other.started.wall, other.record.prompt_id):
                return True
        return False

    # ------------------------------------------------------------ what a dead process left

    def adopt(self, record: PromptRecord, identity: Identity) -> None:
        """Settle, as soon as it can be, what a dead process left."""
        if record.pk is not None and identity.machine is not None and identity.machine != self.identity.machine:
            self._elsewhere.add(record.pk)
        self.dead.append(record)

    def _is_ours(self, record: PromptRecord) -> bool:
        """Whether the files of a record of another process are in this process' output folder.

        A server's database may hold records of many machines, on which equal paths are different folders.
        """
        if self._many_machines and record.pk in self._elsewhere:
            return False
        return record.output_root == root_of(self.surroundings.roots()["output"])

    def _settle_dead_ones(self) -> None:
        """Settle what dead processes left; what the store does not take now is tried again."""
        left, self.dead = self.dead, []
        for record in left:
            try:
                if not self.settle_dead(self._as_it_is_now(record)):
                    self.dead.append(record)
            except Exception as error:  # noqa: BLE001  one record must not keep the others from being settled
                self.problems.report("recovery", "a prompt of a dead process could not be settled", error)

    def _as_it_is_now(self, record: PromptRecord) -> PromptRecord:
        """As the store has it: its process may have left its end in the spool, and that was handed in meanwhile."""
        return self.store.record(record.prompt_id, record.run_number) or record

    def settle_dead(self, record: PromptRecord) -> bool:
        """Settle a prompt of a process that has died: finish or drop its markers, and call it abandoned.

        Markers of another output folder are left to a process that has that one. False where the store could not take
        it, and while its files are read for their hashes: then the record is to be given again.
        """
        key = (record.prompt_id, record.run_number)
        begun = self._recovering.pop(key, None)
        ours = self._is_ours(record)
        if record.status not in OPEN_STATUSES and record.plan is None:
            if ours or record.output_root is None:  # a temporary's name is unlike any other: if it is here, it is ours
                said = written_paths(record)
                if not self._marking.finish_pending(record):
                    self._corrections.append(Correction(record, said - written_paths(record), record.ended_ms))
                if record.pk is not None:
                    self._placed.append(record.pk)
            return True
        if record.plan is not None and not ours:
            return self._leave_markers(record)
        run = begun or Run(record, {}, started=_restored(record.started_ms), final="abandoned")
        attendance = self._of(run)
        attendance.awaited = attendance.begun = attendance.fingerprinted = True
        decided = attendance.decided = attendance.decided or self._decide_dead(run)
        if decided.is_read or not self._has_hashes(decided):
            self._recovering[key] = run
            return False
        decisions, notes = decided.decisions, decided.notes
        final = replace(record, status="abandoned", plan=None, notes=list(record.notes))
        was_open = record.status in OPEN_STATUSES
        if was_open:
            final.note(DIED)
        final.outputs = _outputs(attendance.evidence, decisions)
        ending = self._prepare(run, final, Change(final), decisions, notes)
        try:
            done = self._commit_ends([ending])
        except RecordFaultError as error:
            if not self._set_aside(ending, error):
                self._drop_temporaries([ending])
                return True
            done = True
        finally:
            self._attending.pop(run, None)
        if not done:
            self._drop_temporaries([ending])
            if decided.job is not None:
                self._recovering[key], self._attending[run] = run, attendance
            return False
        self._place(ending, "store")
        self._told(ending)
        if was_open:
            self.on_ended(ending.record, ())
        return True

    def _decide_dead(self, run: Run) -> Decided:
        """What the markers of a dead process' prompt are to say."""
        plan = run.record.plan
        if plan is None or run.started is None:
            return Decided()
        evidence = self._evidence(run)
        evidence.this_process = False
        decisions, notes = decide(evidence, due_requests(plan, "abandoned"), "abandoned")
        return self._reading(run, decisions, notes, "abandoned")

    def _leave_markers(self, record: PromptRecord) -> bool:
        """Call a prompt of a dead process abandoned, and leave its markers to a process that has its output folder."""
        if record.status not in OPEN_STATUSES:
            return True
        final = replace(record, status="abandoned", notes=list(record.notes))
        final.note(DIED)
        final.note(ANOTHERS)
        run = Run(final, {}, final="abandoned")
        ending = Ending(run, final, Change(final), [])
        ending.news = _news_of_inherited(ending)
        try:
            if not self._commit_ends([ending]):
                return False
            self._tell(ending.news)
        except RecordFaultError as error:
            self._set_aside(ending, error)
        self.on_ended(final, ())
        return True

    # ------------------------------------------------------------ the end of this process

    def stop(self) -> None:
        """End what is open, and settle it: this process ends now. What the store can't take goes to the spool."""
        self._patient = False
        self._hash_until = time.monotonic() + HASH_PATIENCE_SECONDS
        self.drain()
        with self.lock:
            self.recorder.stop(Stamp(time.time(), time.perf_counter()))
        self.step()
        self._hashing.stop()


class Outstanding:
    """Sets an event once the writer is idle and everyone whom it has answered has his answer. Any thread."""

    def __init__(self, event: threading.Event) -> None:
        self._event = event
        self._lock = threading.Lock()
        self._count = 0
        self._idle = True
        self._expected = 0

    def expect_end(self) -> None:
        """An end is about to come: the writer, idle as it may be, is not done."""
        with self._lock:
            self._expected += 1
            self._event.clear()

    def end_came(self) -> None:
        """The end has come: what the writer said before it doesn't count any more."""
        with self._lock:
            self._expected = max(0, self._expected - 1)
            self._idle = False

    def add(self) -> None:
        """One more publication whose readers are to be answered."""
        with self._lock:
            self._count += 1

    def done(self) -> None:
        """The readers of one publication have their answers."""
        with self._lock:
            self._count -= 1
            self._settle()

    def writer_is(self, *, idle: bool) -> None:
        """Whether the writer has nothing more to settle."""
        with self._lock:
            self._idle = idle
            self._settle()

    def _settle(self) -> None:
        if self._idle and self._count == 0 and self._expected == 0:
            self._event.set()


def _news_of_inherited(ending: Ending) -> list[StreamEvent]:
    """What is told of a run that a dead process could not tell itself: all that the store keeps of one."""
    record = ending.record
    first = record.queued_ms or record.started_ms or 0
    news = [] if record.pk is not None else [StreamEvent("prompt.queued", record.prompt_id, first)]
    if record.status in OPEN_STATUSES:
        return news
    if record.pk is None and record.started_ms is not None:
        news.append(StreamEvent("prompt.started", record.prompt_id, record.started_ms, {"status": "running"}))
    at = record.ended_ms or first
    for entry in record.markers:
        if entry.written_at is not None:
            told = {"path": entry.path, "status": entry.status}
            news.append(StreamEvent("marker.written", record.prompt_id, at, told))
    return [*news, StreamEvent("prompt.finished", record.prompt_id, at, end_of(record))]


def _give_up(decided: Decided | None) -> None:
    """Read no more of the files of markers that will not be written."""
    if decided is not None and decided.job is not None:
        decided.job.give_up()


def _let_nodes_go(run: Run) -> None:
    """Answer the marker nodes that still wait: their prompt has ended."""
    for event in run.ready_markers:
        if event.settled is not None:
            event.settled.set_result("")


def _pause(tries: int) -> float:
    """Seconds until a record is tried again that the store has not taken so often."""
    return float(min(STORE_RETRY_SECONDS * 2 ** (tries - 1), LONGEST_PAUSE_SECONDS))


_changing: Callable[[NodeRecord], tuple[object, ...]] = attrgetter(*NODE_CHANGES)
"""What of a node may change after it was first saved."""


def _nothing_ran(run: Run) -> bool:
    """Whether all of a graph was cached but our own nodes, which never are."""
    return all(node.cached or node.class_type in OWN_CLASSES for node in run.nodes.values())


def _was_cached(run: Run, file: ReportedFile) -> bool:
    """Whether a file of an earlier run of this graph is what this run's cached nodes stand for.

    The node may have been one that a cached node of this graph expanded into, or unknown.
    """
    if file.node_id is None:
        savers = (run.record.plan or NO_PLAN).savers
        literals = [literal for node_id, literal in savers.items() if run.is_cached(node_id)]
        return any(is_resolved_from(group_of(file.filename, literal), literal) for literal in literals)
    if file.node_id in run.graph:
        return run.is_cached(file.node_id)
    roots = [node_id for node_id in run.graph if file.node_id.startswith(f"{node_id}.")]
    return bool(roots) and run.is_cached(max(roots, key=len))


def _outputs(evidence: Evidence | None, decisions: list[Decision]) -> list[ReportedFile]:
    """Everything that was reported, then what the markers found besides; a file of one node once."""
    if evidence is None:
        return []
    found = list(evidence.reported)
    known = {(*file.key, file.type) for file in found}
    for decision in decisions:
        for file in decision.files:
            if (*file.key, file.type) not in known:
                known.add((*file.key, file.type))
                found.append(file)
    return found


def _restored(started_ms: int | None) -> Stamp | None:
    """A start of another process on this one's clocks; its monotonic half is only good for comparing."""
    if started_ms is None:
        return None
    now = Stamp(time.time(), time.perf_counter())
    return Stamp(started_ms / 1000, now.mono - (now.wall - started_ms / 1000))
