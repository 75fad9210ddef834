"""The recorder as a whole: one object that the border feeds and the routes ask.

Its thread opens the store, settles what dead processes left, and then serves the writer until the process ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import ArgumentError, DBAPIError

from ..files.guarded_files import read_regular, write_whole
from ..files.temporaries import sweep
from ..gpu.session import Session
from ..live.feed import Feed, Waiter
from ..live.stream import Stream
from ..markers.prefix import SIZE_TOKENS, PrefixError, parse_prefix, resolve_tokens
from ..models.base import OPEN_STATUSES
from ..models.environment import Environment
from ..models.health import StoreHealth
from ..models.node import Node
from ..models.prompt import CurrentNode, Instance, Prompt
from ..models.record import PromptRecord
from ..models.view import node_of, prompt_of
from ..process.cost import RecordCost
from ..process.hidden_url import without_password
from ..process.identity import UNKNOWN, this_process
from ..process.problems import Problems
from ..process.redact import redact
from ..process.settings import misspelt
from ..store.database import Database, default_url, is_corrupt
from ..store.database_file import make_private_folder
from ..store.figures import Looks
from ..store.instance import InstanceLocks
from ..store.patience import patience
from ..store.retention import Retention, erase_until, prune
from ..store.rows import search_text
from ..store.search import Filter
from ..store.store import Position, Store
from ..store.sure_time import DOUBTFUL_MS, SureTime
from ..store.upkeep import forget_words, keep_up
from .events import MarkerRun, PromptDone, PromptMet, PromptQueued
from .figures import FigureKeeper
from .fingerprint import IsChoice
from .inbox import Inbox
from .names_given import SECONDS as NAMING_SECONDS
from .names_given import Naming
from .recorder import Run, current_node, refresh
from .set_aside import FOLDER as ASIDE_FOLDER
from .set_aside import SetAside
from .spool import FOLDER as SPOOL_FOLDER
from .spool import Kept, Spool, left_in, owner_of
from .writer import PRUNE_EVERY, Surroundings, Writer

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from ..live.metrics import Metrics

KEY_FILE = "digest.key"
KEY_BYTES = 32
FLUSH_SECONDS = 2.0
AGE_SECONDS = 3600.0
"""How often is looked what has become too old, where records are kept for a time."""
POST_SECONDS = 0.05
"""How long the answer to a posted prompt waits, at most, until its record is committed; then it goes to the spool."""
POST_SECONDS_OPENING = 2.0
"""The same while the store has not been opened yet."""
POST_SECONDS_SERVER = 0.005
"""The same where the database is a server."""
HEALTH_SECONDS = 2.0
"""How long a look on behalf of health waits for each answer of a database server."""
LOCK_SECONDS = 0.05
"""How long health waits for what the writer may be changing."""
UNREAD = "store read"
MOST_DAMAGED = 20
"""Rows of the store that can't be read, or not whole, and are named in health one by one."""
URL_SETTING = "RUN_RECORDER_DATABASE_URL"
UNCOMMITTED = "the store can't be written now, so this end is not committed and its markers are not written"


class NotReadyError(RuntimeError):
    """The store is not open, or can't be."""


def _nothing_is_known(*_asked: object) -> None:
    return None


def _none_waits(_prompt_id: str) -> list[PromptMet]:
    return []


@dataclass(frozen=True, slots=True)
class Host:
    """What the border tells the recorder of the process that it lives in."""

    private_folder: Path
    roots: Callable[[], dict[str, Path]]
    worker_alive: Callable[[], bool | None]
    is_choice: IsChoice
    port: Callable[[], int | None]
    environment: Callable[[], Environment]
    database_url: str | None = None
    held: Callable[[], frozenset[str] | None] = _nothing_is_known
    """The ids of the prompts that ComfyUI's queue holds or runs; null where it can't be asked."""
    waiting: Callable[[str], list[PromptMet]] = _none_waits
    """The prompts of an id that wait in ComfyUI's queue."""
    in_history: Callable[[str, float | None], PromptDone | None] = _nothing_is_known
    """The end of a prompt, by its id and number, as ComfyUI's history has it."""


class Recording:
    """Start it once; feed `inbox` from any thread; ask it from any thread but ComfyUI's executing one."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.inbox = Inbox()
        self.feed = Feed()
        self.problems = Problems()
        self.problems.hide = functools.partial(without_password, url=host.database_url)
        self.cost = RecordCost()
        self.add_metrics: Callable[[CollectorRegistry], None] = lambda registry: None
        """Called once, with the registry of metrics, where there is one: adds what others than the recorder count."""
        self.figures = FigureKeeper()
        """What the sampler has of the open runs."""
        self.ready = threading.Event()
        """Set once the store is open and what dead processes left is settled, or the store has failed."""
        self.metrics: Metrics | None = None
        """Null until the store is looked for, and where prometheus-client can't be used."""
        self._writer: Writer | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="run-recorder", daemon=True)
        self._locks: InstanceLocks | None = None
        self._spool_locks: InstanceLocks | None = None
        self._unread = False
        self._damaged: set[str] = set()
        self._looks = Looks()
        self._flushed = threading.Condition()
        self._stepping = False

    def start(self) -> None:
        """Start the recorder's thread."""
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Take in what has come, end what is open, save it, and end the thread."""
        self._stopping = True
        self.inbox.ring()
        if self._writer is not None:
            self._writer.upkeep_due.set()
        self._thread.join(timeout)

    @property
    def stream(self) -> Stream:
        """The events. Raises NotReadyError as `writer` does."""
        return self.writer.stream

    @property
    def writer(self) -> Writer:
        """The writer. Raises NotReadyError where the store is not open."""
        if self._writer is None:
            raise NotReadyError("the store is not open; /telemetry/health says why")
        return self._writer

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            writer = self._open()
        except Exception as error:  # noqa: BLE001  ComfyUI goes on without records, and health says so
            hint = "the store can't be opened, so nothing is recorded and no markers are written"
            self.problems.report("store", hint, error)
            self.inbox.close()
            self.ready.set()
            return
        self.ready.set()
        threading.Thread(target=self._look_around, args=(writer,), name="run-recorder-start", daemon=True).start()
        while not self._stopping:
            self.inbox.wait(writer.timeout())
            self._step(writer)
        self._step(writer)
        self._end_open(writer)
        writer.store.database.close()
        if writer.handing_in.spool is not None:
            writer.handing_in.spool.close()
        for locks in (self._locks, self._spool_locks):
            if locks is not None:
                locks.end()

    def _end_open(self, writer: Writer) -> None:
        """A clean stop settles what is open by itself: nobody has to find out later that this process is gone."""
        try:
            writer.stop()
        except Exception as error:  # noqa: BLE001  then the next process finds it
            self.problems.report("writer", "what was open at the stop could not be ended", error)

    def _step(self, writer: Writer) -> None:
        self._stepping = True
        try:
            writer.step()
        except Exception as error:  # noqa: BLE001  the thread must live; the next step tries again
            hint = "the recorder stumbled; it goes on with the next event"
            self.problems.report("writer", hint, error, passing=True)
            time.sleep(0.05)
        with self._flushed:
            self._stepping = False
            self._flushed.notify_all()

    def _open(self) -> Writer:
        folder = self.host.private_folder
        with contextlib.suppress(OSError):
            make_private_folder(folder)
        database = self._database(folder)
        beside = database.file.parent if database.file is not None else folder
        self._locks = InstanceLocks(beside, shared_with_all=database.file is not None)
        instance = self._locks.without_lock(self.host.port())
        host = self.host
        surroundings = Surroundings(
            host.roots,
            host.worker_alive,
            host.is_choice,
            host.port,
            self._redact,
            digest_key(folder),
            host.held,
            host.in_history,
        )
        writer = Writer(self.inbox, Store(database), self.feed, self.problems, surroundings, instance, this_process())
        writer.on_saved = self._saved
        writer.store.on_damaged = self._met_damaged
        writer.figures = self.figures
        self._count_ended(writer)
        writer.opener = functools.partial(self._open_store, writer, self._locks)
        self._keep_spool(writer, folder / SPOOL_FOLDER)
        writer.aside = SetAside(folder / ASIDE_FOLDER, self.problems)
        self._writer = writer
        self._saved()
        writer.step()
        return writer

    def _keep_spool(self, writer: Writer, folder: Path) -> None:
        """Be ready to keep what the store can't take; and take over what dead processes left of that."""
        locks = InstanceLocks(folder)
        try:
            owner = locks.begin(None)
        except OSError as error:
            self.problems.report("spool", "what the store can't take at once is not safe from a kill", error)
            return
        self._spool_locks = locks
        writer.handing_in.spool = Spool(folder, owner.id, writer.instance, writer.identity)
        dead: dict[str, bool] = {owner.id: False}
        for left, file in left_in(folder):
            owned = owner_of(file)
            if left not in dead and locks.is_dead(left, owned[1] if owned is not None else UNKNOWN):
                dead[left] = True
                writer.handing_in.inherit(file)
        locks.sweep(dead)

    def _count_ended(self, writer: Writer) -> None:
        """Count what ends for /telemetry/metrics. Imported here, on our thread, since ComfyUI's start need not wait."""
        try:
            from ..live.metrics import Metrics
        except Exception as error:  # noqa: BLE001  it costs the metrics, and nothing else
            hint = "nothing is counted for /telemetry/metrics: pip install prometheus-client"
            self.problems.report("metrics", hint, error)
            return
        self.metrics = Metrics(lambda: list(writer.recorder.runs), self.problems, self.cost)
        self.add_metrics(self.metrics.registry)
        writer.on_ended = self.metrics.ended

    def _database(self, folder: Path) -> Database:
        """The configured database; the default one where the setting is of no use."""
        url = self.host.database_url
        if url is not None:
            try:
                return Database(url)
            except (ArgumentError, ImportError, ValueError) as error:
                self.problems.report(
                    f"setting {URL_SETTING}", f"{URL_SETTING} can't be used; the default takes its place", error
                )
        return Database(default_url(folder))

    def _open_store(self, writer: Writer, locks: InstanceLocks) -> None:
        database = writer.store.database
        self._open_database(database)
        if database.on_network:
            hint = "the database is on a network file system: slower, and without WAL; set RUN_RECORDER_DATABASE_URL"
            self.problems.report("store on a network file system", hint)
        try:
            locks.hold(writer.instance)  # only now: a file that isn't ours gets nothing beside it
        except OSError as error:
            self.problems.report("instance", "this process can't be told from a dead one by others", error)
        writer.store.add_instance(writer.instance, writer.identity)
        writer.store.look()
        writer.opener = None
        writer.stream.begin(writer.store.events())
        self._settle_dead(writer, locks)
        self.problems.solved("store")
        writer.upkeep_due.set()

    def _open_database(self, database: Database) -> None:
        """Open it; a corrupt one is set aside, never deleted, and a new one takes its place."""
        try:
            database.open()
        except DBAPIError as error:
            aside = database.set_aside() if is_corrupt(error) else None
            if aside is None:
                raise
            hint = f"the database was corrupt; it is kept as {aside.name} beside the new one"
            self.problems.report("store corrupt", hint, error)
            database.open()

    def _redact(self, text: str) -> str:
        return redact(text, [str(folder) for folder in self.host.roots().values()])

    def _settle_dead(self, writer: Writer, locks: InstanceLocks) -> None:
        dead: dict[str, bool] = {writer.instance.id: False}
        unsettled = writer.store.unsettled()
        known = writer.store.identities({record.instance_id for record in unsettled})
        for record in unsettled:
            owner = record.instance_id
            if owner not in dead:
                dead[owner] = locks.is_dead(owner, known.get(owner, UNKNOWN))
            if dead[owner]:
                writer.adopt(record, known.get(owner, UNKNOWN))
        locks.sweep(dead)

    def _look_around(self, writer: Writer) -> None:
        """What takes its time: the environment, and temporaries that a killed process left."""
        try:
            writer.environment = self.host.environment()
        except Exception as error:  # noqa: BLE001
            self.problems.report("environment", "what prompts run on is not known", error)
        with contextlib.suppress(OSError):
            sweep(self.host.roots()["output"], recursive=True)
        self._keep_up(writer)

    def _keep_up(self, writer: Writer) -> None:
        """Look after the store now, and whenever enough was written; sleeps without a timer in between."""
        kept, wrong = Retention.of()
        self.problems.wrong_settings([*wrong, *misspelt()])
        pruned_at: int | None = None
        sure = SureTime()
        while not self._stopping:
            try:
                if writer.opener is None:
                    if pruned_at is None or writer.ended - pruned_at >= PRUNE_EVERY:
                        prune(writer.store, kept, now_ms=None if kept.days is None else self._sure_now(writer, sure))
                        pruned_at = writer.ended
                    keep_up(writer.store)
                    forget_words(writer.store)
                    self.problems.solved("upkeep")
            except Exception as error:  # noqa: BLE001  tried again when more has come in
                self.problems.report("upkeep", "old records can't be removed, or the store not be put in order", error)
            if not writer.upkeep_due.wait(None if kept.days is None else AGE_SECONDS):
                pruned_at = None
            writer.upkeep_due.clear()

    def _sure_now(self, writer: Writer, sure: SureTime) -> int:
        """What time it surely is, as records of other processes tell; a clock that is far ahead of that is told."""
        now_ms = sure.now_ms(lambda until_ms: writer.store.newest_ms(until_ms, but_of=writer.instance.id))
        if sure.doubt_ms() <= DOUBTFUL_MS:
            self.problems.solved("clock")
            return now_ms
        days = round(sure.doubt_ms() / 86_400_000)
        hint = f"the clock is {days} days ahead of the newest record; until it has run for a day without a jump"
        self.problems.report("clock", f"{hint}, records are forgotten by age as of that record")
        return now_ms

    # ------------------------------------------------------------ questions

    def flush(self) -> None:
        """Wait until everything that has happened is in the store, as far as it can be written."""
        deadline = time.monotonic() + FLUSH_SECONDS
        with self._flushed:
            while self._is_behind(self.writer) and time.monotonic() < deadline:
                self.inbox.ring()
                self._flushed.wait(0.05)

    def make_certain(self, event: PromptQueued) -> bool:
        """Wait a moment until a queued prompt is in the store, else sync it to the spool; false where neither works.

        How long: POST_SECONDS once the store is open, POST_SECONDS_OPENING before, POST_SECONDS_SERVER for a server;
        not at all for a store that can't be written.
        """
        deadline = time.monotonic() + self._patience()
        with self._flushed:
            while not self._has(event):
                writer = self._writer
                left = deadline - time.monotonic()
                if left <= 0 or (writer is not None and writer.is_failing):
                    break
                self._flushed.wait(left)
            else:
                return True
        return self._spool(event)

    def _patience(self) -> float:
        writer = self._writer
        if writer is None or not writer.store.database.opened:
            return POST_SECONDS_OPENING
        return POST_SECONDS_SERVER if writer.store.database.backend == "postgresql" else POST_SECONDS

    def _spool(self, event: PromptQueued) -> bool:
        writer = self._writer
        if writer is None:
            return False
        writer.drain()
        with writer.lock:
            run = self._run_of(writer, event)
            if run is None or run.record.pk is not None:
                return True
            return writer.handing_in.keep([Kept(run.record)])

    def _has(self, event: PromptQueued) -> bool:
        """Whether a queued prompt is in the store: its run is there with a key, or is over already."""
        writer = self._writer
        if writer is None:
            return False
        with writer.lock:
            run = self._run_of(writer, event)
            taken_in = event not in self.inbox
        return taken_in and (run is None or run.record.pk is not None)

    @staticmethod
    def _run_of(writer: Writer, event: PromptQueued) -> Run | None:
        of_id = writer.recorder.runs.of(event.prompt_id)
        return next((run for run in reversed(of_id) if run.graph is event.graph), None)

    def _saved(self) -> None:
        with self._flushed:
            self._flushed.notify_all()

    def _is_behind(self, writer: Writer) -> bool:
        """Whether a prompt may have been queued, started or cancelled that the store doesn't have."""
        with writer.lock:
            waiting = bool(self.inbox) or any(run.urgent and run.final is None for run in writer.recorder.runs.changed)
        return (waiting or self._stepping) and not writer.is_failing

    def prompt(self, prompt_id: str, run_number: int | None = None) -> Prompt | None:
        """A prompt as it is now; null where it was never seen."""
        writer = self.writer
        writer.drain()
        with writer.lock:
            run = writer.recorder.find(prompt_id, run_number)
            if run is not None:
                return self._view(run)
            kept = writer.handing_in.find(prompt_id, run_number)
            if kept is not None:
                return self._view_of(kept.record)
        record = writer.store.record(prompt_id, run_number)
        if record is None:
            return self.prompt(prompt_id, run_number) if self._meets(prompt_id, run_number) else None
        return prompt_of(record, self._instances([record.instance_id]))

    def _meets(self, prompt_id: str, run_number: int | None) -> bool:
        """Whether a prompt of which nothing told waits in ComfyUI's queue; from now on it is known."""
        writer = self.writer
        with writer.lock:  # so that none that starts meanwhile is over, and forgotten, before it is met
            met = self.host.waiting(prompt_id)
            for event in met:
                self.inbox.urge(event)
        if not met:
            return False
        writer.drain()
        with writer.lock:
            return writer.recorder.find(prompt_id, run_number) is not None

    def _view_of(self, record: PromptRecord) -> Prompt:
        """An ended prompt of this process that is certain and not in the store yet."""
        instance = self.writer.instance
        return prompt_of(record, {instance.id: instance})

    def _view(self, run: Run) -> Prompt:
        refresh(run)
        instance = self.writer.instance
        record = replace(run.record, figures=self.figures.figures(run))
        if run.final is not None and self.writer.is_failing:
            record = replace(record, status=run.final, notes=[*record.notes, UNCOMMITTED])
        return prompt_of(record, {instance.id: instance})

    def _instances(self, ids: list[str]) -> dict[str, Instance]:
        return self.writer.store.instances(ids)

    def wait(
        self, prompt_id: str, run_number: int | None, loop: asyncio.AbstractEventLoop
    ) -> tuple[Prompt | None, Waiter | None]:
        """A prompt as it is now, and, where it has not ended, a waiter that will be told its end."""
        writer = self.writer
        found: Prompt | None = None
        while True:
            writer.drain()
            with writer.lock:
                run = writer.recorder.find(prompt_id, run_number)
                if run is not None:
                    key = run.record.prompt_id, run.record.run_number
                    return self._view(run), self.feed.wait_for(key, loop)
            if found is not None:
                return found, None
            found = self.prompt(prompt_id, run_number)
            if found is None or found.status not in OPEN_STATUSES:
                return found, None

    def nodes(self, prompt_id: str, run_number: int | None = None) -> list[Node] | None:
        """A prompt's nodes in the order in which they ran; null where the prompt was never seen."""
        writer = self.writer
        writer.drain()
        with writer.lock:
            run = writer.recorder.find(prompt_id, run_number)
            if run is not None:
                return [node_of(node) for node in run.nodes.values()]
            kept = writer.handing_in.find(prompt_id, run_number)
            if kept is not None:
                return [node_of(node) for node in kept.run.nodes.values()]
        record = writer.store.record(prompt_id, run_number)
        if record is None:
            return self.nodes(prompt_id, run_number) if self._meets(prompt_id, run_number) else None
        if record.pk is None:
            return None
        return [node_of(node) for node in writer.store.nodes(record.pk)]

    def page(self, wanted: Filter, limit: int, after: Position | None) -> tuple[list[Prompt], Position | None]:
        """At most `limit` prompts, newest first, and where the next page begins; null on the last."""
        self.flush()
        store = self.writer.store
        if not store.database.is_open:
            return self._page_of_memory(wanted, limit), None
        unsaved = self._page_of_memory(wanted, limit - 1, unsaved=True) if after is None else []
        room = limit - len(unsaved)
        records = store.page(wanted, room + 1, after)
        more = len(records) > room
        records = records[:room]
        instances = self._instances([record.instance_id for record in records])
        items = unsaved + [self._current(prompt_of(record, instances)) for record in records]
        last = records[-1].pk if records and more else None
        return items, store.position(last) if last is not None else None

    def _page_of_memory(self, wanted: Filter, limit: int, *, unsaved: bool = False) -> list[Prompt]:
        """What is in memory, newest first: all there is while the store is closed; or what the store doesn't have."""
        writer = self.writer
        writer.drain()
        with writer.lock:
            runs = [run for run in reversed(writer.recorder.runs) if not (unsaved and run.record.pk is not None)]
            views = [self._view(run) for run in runs if matches(wanted, run)][:limit]
            ends = [end for end in reversed(writer.handing_in.ends.values()) if end.record.pk is None or not unsaved]
            views += [self._view_of(end.record) for end in ends if matches(wanted, end.run, end.record)]
            views.sort(key=_listed_at, reverse=True)
            return views[:limit]

    def _current(self, prompt: Prompt) -> Prompt:
        if prompt.status not in OPEN_STATUSES:
            return prompt
        writer = self.writer
        with writer.lock:
            kept = writer.handing_in.find(prompt.prompt_id, prompt.run_number)
            if kept is not None:
                return self._view_of(kept.record)
            run = writer.recorder.find(prompt.prompt_id, prompt.run_number)
            return self._view(run) if run is not None else prompt

    def environment(self, environment_id: str) -> Environment | None:
        """What prompts ran on; null where it is not known."""
        return self.writer.store.environment(environment_id)

    def is_open(self, prompt_id: str, run_number: int | None = None) -> bool:
        """True where a run (that one, or any) of this id is queued or running here."""
        writer = self.writer
        writer.drain()
        with writer.lock:
            runs = [run.record for run in writer.recorder.runs.of(prompt_id)]
        return any(run_number in (None, record.run_number) for record in runs)

    def is_open_anywhere(self, prompt_id: str, run_number: int | None = None) -> bool:
        """The same, or on another server of this database."""
        return self.is_open(prompt_id, run_number) or self.writer.store.has_open(prompt_id, run_number)

    def delete(self, prompt_id: str, run_number: int | None = None) -> int:
        """Erase an ended prompt; how many runs were there."""
        store = self.writer.store
        gone = store.erase_prompt(prompt_id, run_number)
        store.forget_log()
        self._forget_erased()
        return gone

    def delete_until(self, until_ms: int) -> int:
        """Erase all ended prompts that were queued before a time; how many there were."""
        self.flush()
        gone = erase_until(self.writer.store, until_ms)
        self._forget_erased()
        return gone

    def _forget_erased(self) -> None:
        """Tell nobody any more of prompts that are neither open nor in the store."""
        writer = self.writer
        ids = writer.stream.prompt_ids()
        known = writer.store.known(ids)
        with writer.lock:
            known.update(run.record.prompt_id for run in writer.recorder.runs)
        writer.stream.forget(ids - known)
        writer.upkeep_due.set()

    def follow(self, session: Session) -> None:
        """The sampler reads for a prompt that starts now: its figures are to come into that prompt's record."""
        self.figures.follow(session)

    def name(self, prompt_id: str, run_number: int | None, name: str) -> bool:
        """Call a prompt by a name, unless it has one; false where it was never seen.

        Raises TimeoutError or StoreClosedError where it can't be kept now, AnothersPromptError where it is open on
        another server.
        """
        naming = Naming(prompt_id, run_number, name)
        self.writer.names.add(naming)
        self.inbox.ring()
        try:
            return naming.known.result(NAMING_SECONDS)
        except FutureTimeoutError:
            raise TimeoutError("the name was not written in time") from None

    def ending(self) -> None:
        """A prompt is about to end: from now on `wait_settled` waits, until its marker and its waiters are served."""
        if self._writer is not None:
            self._writer.end_comes()

    def wait_settled(self, timeout: float) -> bool:
        """Wait, at most `timeout` seconds, until no ended prompt is unsettled; true where there is none.

        Does not wait for a store that can't be written.
        """
        writer = self._writer
        if writer is not None and writer.is_failing:
            return False
        return writer is None or writer.settled.wait(timeout)

    def store_health(self) -> StoreHealth:
        """How the store is, as last known; waits for nobody. What is told next is found out meanwhile."""
        writer = self._writer
        depth = len(self.inbox)
        if writer is None:
            return StoreHealth(backend=None, prompts=None, bytes=None, queue_depth=depth, dropped=0)
        self._looks.ask(functools.partial(self.look_at_store, writer.store))
        store, known = writer.store, writer.store.figures
        prompts, size = (known.prompts, known.bytes) if writer.opener is None else (None, None)
        return StoreHealth(
            backend=store.database.backend, prompts=prompts, bytes=size, queue_depth=depth, dropped=writer.dropped
        )

    def look_at_store(self, store: Store) -> None:
        """Ask the store what health tells of it."""
        try:
            with patience(HEALTH_SECONDS):
                store.look()
            self.store_read()
        except Exception as error:  # noqa: BLE001  health answers whatever is broken
            if self._writer is not None and self._writer.opener is None:
                self.store_unread(error)

    def store_unread(self, error: Exception) -> None:
        """A question was not answered by the store; `store_read` takes it back."""
        self._unread = True
        self.problems.report(UNREAD, "the store can't be read now, or not in time", error)

    def _met_damaged(self, which: str, what: str) -> None:
        """A row of the store is damaged; whoever asked has been given the others."""
        name = which.partition(",")[0]  # what follows may be a prompt's id, which is no name for a problem
        if name not in self._damaged and len(self._damaged) >= MOST_DAMAGED:
            name = "more records"
        self._damaged.add(name)
        self.problems.report(name, f"damaged in the store: {which}: {what}", passing=True)

    def store_read(self) -> None:
        """A question was answered."""
        if self._unread:
            self._unread = False
            self.problems.solved(UNREAD)

    def died_in(self) -> tuple[str | None, CurrentNode | None]:
        """The running prompt and its node, for a worker that is found dead; null while that can't be told at once."""
        writer = self._writer
        if writer is None:
            return None, None
        if not writer.lock.acquire(timeout=LOCK_SECONDS):
            return None, None
        try:
            writer.drain()
            run = writer.recorder.running()
            return (run.record.prompt_id, current_node(run)) if run is not None else (None, None)
        finally:
            writer.lock.release()

    # ------------------------------------------------------------ what the node asks

    def marker_path(self, prompt_id: str, filename_prefix: str) -> str:
        """Where a running prompt's marker will be, relative to the output folder; empty where that can't be told."""
        if not filename_prefix or any(token in filename_prefix for token in SIZE_TOKENS):
            return ""
        writer = self._writer
        started = time.time()
        if writer is not None and "%" in filename_prefix:
            writer.drain()
            with writer.lock:
                run = writer.recorder.running(prompt_id)
                if run is not None and run.started is not None:
                    started = run.started.wall
        try:
            return f"{parse_prefix(resolve_tokens(filename_prefix, started, prompt_id))}.done"
        except PrefixError:
            return ""

    def marker_ran(self, event: MarkerRun) -> None:
        """Take note that a marker node ran; wakes the writer only where the node waits for it."""
        if event.settled is None:
            self.inbox.append(event)
        elif self._writer is None and self.ready.is_set():
            event.settled.set_result("")
        else:
            self.inbox.urge(event)


def _listed_at(prompt: Prompt) -> str:
    return prompt.queued_at or prompt.started_at or ""


def matches(wanted: Filter, run: Run, record: PromptRecord | None = None) -> bool:
    """Whether a run in memory is asked for; the same question as the store's, asked of one, or of its final record."""
    record = record or run.record
    queued = record.queued_ms if record.queued_ms is not None else record.started_ms or 0
    classes = {node.class_type or "" for node in run.nodes.values()}
    return (
        (not wanted.statuses or record.status in wanted.statuses)
        and (wanted.since_ms is None or queued >= wanted.since_ms)
        and (wanted.until_ms is None or queued < wanted.until_ms)
        and (
            wanted.q is None
            or any(wanted.q.lower() in text for text in (search_text(record), *map(str.lower, classes)))
        )
        and (wanted.class_type is None or wanted.class_type in classes)
        and (wanted.output is None or any(file.filename == wanted.output for file in record.outputs))
    )


def digest_key(folder: Path) -> bytes:
    """The key of graph digests, made on the first start; kept beside the database, readable by its user alone.

    What lies in its place and is no key of ours is left as it is; then the key lives as long as this process.
    """
    path = folder / KEY_FILE
    key = secrets.token_bytes(KEY_BYTES)
    try:
        kept = read_regular(path, KEY_BYTES)
    except FileNotFoundError:
        kept = b""
    except OSError:
        return key
    if len(kept) == KEY_BYTES:
        return kept
    if not kept:
        with contextlib.suppress(OSError):
            write_whole(path, key, mode=0o600)
    return key
