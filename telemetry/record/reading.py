"""The one door for readers: what is open, what is kept for the store, and what the store has, as one answer.

Every question may be asked on any thread but the recorder's and ComfyUI's executing one, and may raise what the store
raises.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass

from ..live.feed import Waiter
from ..live.stream import Stream
from ..models.base import OPEN_STATUSES
from ..models.environment import Environment
from ..models.gpu import SampleColumns
from ..models.listing import Filter, Position
from ..models.node import Node
from ..models.prompt import CurrentNode, Prompt
from ..models.settings import SettingsList, settings_list
from ..models.view import node_of, prompt_of
from ..store.retention import erase_until
from .acknowledging import Acknowledging
from .context import Context
from .figures import columns_of, curve_of
from .memory_views import MemoryViews
from .names_given import SECONDS as NAMING_SECONDS
from .names_given import Naming
from .writer import Writer

LOCK_SECONDS = 0.05
"""How long health waits for what the writer may be changing."""


@dataclass(frozen=True, slots=True)
class BegunPrompt:
    """A run that has started and whose end is not told yet."""

    prompt_id: str
    run_number: int
    graph: Mapping[str, object]


class Reading:
    """Asks for routes, commands, metrics, the sentinel and tests."""

    def __init__(self, context: Context, writer: Writer, acknowledging: Acknowledging) -> None:
        self._context = context
        self._writer = writer
        self._acknowledging = acknowledging
        self._memory = MemoryViews(context, writer)

    # ------------------------------------------------------------ one prompt

    def prompt(self, prompt_id: str, run_number: int | None = None) -> Prompt | None:
        """A prompt as it is now; null where it was never seen."""
        context = self._context
        context.take_in()
        with context.lock:
            run = context.recorder.find(prompt_id, run_number)
            if run is not None:
                return self._memory.view(run)
            kept = context.kept.find(prompt_id, run_number)
            if kept is not None:
                return context.served(kept.record)
        record = context.store.prompts.record(prompt_id, run_number)
        if record is None:
            return self.prompt(prompt_id, run_number) if self._meets(prompt_id, run_number) else None
        return prompt_of(record, context.store.servers.instances([record.instance_id]))

    def nodes(self, prompt_id: str, run_number: int | None = None) -> list[Node] | None:
        """A prompt's nodes in the order in which they ran; null where the prompt was never seen."""
        context = self._context
        context.take_in()
        with context.lock:
            run = context.recorder.find(prompt_id, run_number)
            if run is not None:
                return [node_of(node) for node in run.nodes.values()]
            kept = context.kept.find(prompt_id, run_number)
            if kept is not None:
                return [node_of(node) for node in kept.run.nodes.values()]
        record = context.store.prompts.record(prompt_id, run_number)
        if record is None:
            return self.nodes(prompt_id, run_number) if self._meets(prompt_id, run_number) else None
        if record.pk is None:
            return None
        return [node_of(node) for node in context.store.prompts.nodes(record.pk)]

    def samples(self, prompt_id: str, run_number: int | None = None) -> SampleColumns | None:
        """A prompt's curve, of one that runs as it is now. Null where the prompt was never seen."""
        context = self._context
        context.take_in()
        with context.lock:
            run = context.recorder.find(prompt_id, run_number)
            kept = context.kept.find(prompt_id, run_number) if run is None else None
        if run is not None:
            return columns_of(curve_of(run))
        if kept is not None:
            return columns_of(kept.record.samples)
        record = context.store.prompts.record(prompt_id, run_number)
        if record is None or record.pk is None:
            return None
        return columns_of(context.store.prompts.samples(record.pk))

    def settings(self, prompt_id: str, run_number: int | None = None) -> SettingsList | None:
        """The settings of a prompt's graph. Null where the prompt was never seen."""
        context = self._context
        context.take_in()
        with context.lock:
            run = context.recorder.find(prompt_id, run_number)
            kept = context.kept.find(prompt_id, run_number) if run is None else None
            held = run or kept
            record = held.record if held is not None else None
        record = record or context.store.prompts.record(prompt_id, run_number)
        if record is None:
            return None
        known = record.settings
        if known is None and record.settings_id is not None:
            known = context.store.prompts.settings(record.settings_id)
        return settings_list(record.settings_id, known)

    def wait(
        self, prompt_id: str, run_number: int | None, loop: asyncio.AbstractEventLoop
    ) -> tuple[Prompt | None, Waiter | None]:
        """A prompt as it is now, and, where it has not ended, a waiter that will be told its end."""
        context = self._context
        found: Prompt | None = None
        while True:
            context.take_in()
            with context.lock:
                run = context.recorder.find(prompt_id, run_number)
                if run is not None:
                    return self._memory.view(run), context.feed.wait_for(run.key, loop)
            if found is not None:
                return found, None
            found = self.prompt(prompt_id, run_number)
            if found is None or found.status not in OPEN_STATUSES:
                return found, None

    def _meets(self, prompt_id: str, run_number: int | None) -> bool:
        """Whether a prompt of which nothing told waits in ComfyUI's queue; from now on it is known."""
        context = self._context
        with context.lock:  # so that none that starts meanwhile is over, and forgotten, before it is met
            met = context.host.waiting(prompt_id)
            for event in met:
                context.inbox.urge(event)
        if not met:
            return False
        context.take_in()
        with context.lock:
            return context.recorder.find(prompt_id, run_number) is not None

    # ------------------------------------------------------------ many prompts

    def flush(self) -> None:
        """Wait, not for long, until everything that has happened is in the store, as far as it can be written."""
        self._acknowledging.flush()

    def page(self, wanted: Filter, limit: int, after: Position | None) -> tuple[list[Prompt], Position | None]:
        """At most `limit` prompts, newest first, and where the next page begins; null on the last."""
        self.flush()
        store = self._context.store
        if not store.database.is_open:
            return self._memory.page(wanted, limit), None
        unsaved = self._memory.page(wanted, limit - 1, unsaved=True) if after is None else []
        room = limit - len(unsaved)
        records = store.prompts.page(wanted, room + 1, after)
        more = len(records) > room
        records = records[:room]
        instances = store.servers.instances([record.instance_id for record in records])
        items = unsaved + [self._memory.current(prompt_of(record, instances)) for record in records]
        last = records[-1].pk if records and more else None
        return items, store.prompts.position(last) if last is not None else None

    def is_open(self, prompt_id: str, run_number: int | None = None) -> bool:
        """True where a run (that one, or any) of this id is queued or running here."""
        context = self._context
        context.take_in()
        with context.lock:
            runs = [run.record for run in context.recorder.runs.of(prompt_id)]
        return any(run_number in (None, record.run_number) for record in runs)

    def is_open_anywhere(self, prompt_id: str, run_number: int | None = None) -> bool:
        """The same, or on another server of this database."""
        return self.is_open(prompt_id, run_number) or self._context.store.history.has_open(prompt_id, run_number)

    # ------------------------------------------------------------ what is told while it happens

    @property
    def stream(self) -> Stream:
        """The events."""
        return self._context.stream

    def forget_waiter(self, waiter: Waiter) -> None:
        """Take a waiter back that has been answered or whose time is up."""
        self._context.feed.forget(waiter)

    @property
    def is_failing(self) -> bool:
        """True while the store can't be written: no end is sure."""
        return self._writer.is_failing

    def begun(self) -> list[BegunPrompt]:
        """The runs that have started and whose end is not told yet. Asks no store."""
        context = self._context
        with context.lock:
            runs = context.recorder.runs
            begun = [*runs.started, *(run for run in runs.ended if run.started is not None)]
            return [BegunPrompt(*run.key, run.graph) for run in begun]

    def graph_of(self, prompt_id: str, run_number: int) -> Mapping[str, object]:
        """The graph of an open run; empty where it is not open. Asks no store."""
        with self._context.lock:
            run = self._context.recorder.find(prompt_id, run_number)
        return run.graph if run is not None else {}

    def queue_depth(self) -> tuple[int, int]:
        """How many prompts wait, and how many run. Waits for nobody."""
        return self._context.recorder.runs.depth()

    def running_node(self) -> tuple[str | None, CurrentNode | None]:
        """The running prompt and its node; null where none runs, and while that can't be told at once."""
        context = self._context
        if not context.lock.acquire(timeout=LOCK_SECONDS):
            return None, None
        try:
            context.take_in()
            run = context.recorder.running()
            return (run.record.prompt_id, run.current_node()) if run is not None else (None, None)
        finally:
            context.lock.release()

    def started_at(self, prompt_id: str) -> float | None:
        """When a running prompt started, in seconds since 1970; null where it does not run."""
        context = self._context
        context.take_in()
        with context.lock:
            run = context.recorder.running(prompt_id)
        return run.started.wall if run is not None and run.started is not None else None

    def environment(self, environment_id: str) -> Environment | None:
        """What prompts ran on; null where it is not known."""
        return self._context.store.servers.environment(environment_id)

    # ------------------------------------------------------------ what readers may change

    def delete(self, prompt_id: str, run_number: int | None = None) -> int:
        """Erase an ended prompt; how many runs were there."""
        store = self._context.store
        gone = store.erasing.erase_prompt(prompt_id, run_number)
        store.erasing.forget_log()
        self._forget_erased()
        return gone

    def delete_until(self, until_ms: int) -> int:
        """Erase all ended prompts that were queued before a time; how many there were."""
        self.flush()
        gone = erase_until(self._context.store, until_ms)
        self._forget_erased()
        return gone

    def _forget_erased(self) -> None:
        """Tell nobody any more of prompts that are neither open nor in the store."""
        context = self._context
        ids = context.stream.prompt_ids()
        known = context.store.history.known(ids)
        with context.lock:
            known.update(run.record.prompt_id for run in context.recorder.runs)
        context.stream.forget(ids - known)
        context.upkeep_due.set()

    def name(self, prompt_id: str, run_number: int | None, name: str) -> bool:
        """Call a prompt by a name, unless it has one; false where it was never seen.

        Raises TimeoutError or StoreClosedError where it can't be kept now, AnothersPromptError where it is open on
        another server.
        """
        naming = Naming(prompt_id, run_number, name)
        self._writer.names.add(naming)
        self._context.inbox.ring()
        try:
            return naming.known.result(NAMING_SECONDS)
        except FutureTimeoutError:
            raise TimeoutError("the name was not written in time") from None
