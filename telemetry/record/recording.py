"""The recorder as a whole: one object that the border feeds and the routes ask.

Its thread opens the store, settles what dead processes left, and then serves the writer until the process ends.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..files.temporaries import sweep
from ..live.feed import Feed
from ..markers.prefix import SIZE_TOKENS, PrefixError, parse_prefix, resolve_tokens
from ..models.health import StoreHealth
from ..models.prompt import CurrentNode
from ..process.cost import RecordCost
from ..process.hidden_url import without_password
from ..process.problems import Problems
from ..store.store import Store
from .acknowledging import Acknowledging
from .context import Context, OnEnded
from .events import MarkerRun, PromptQueued
from .host import HostProcess
from .inbox import Inbox
from .opening import Opening
from .reading import Reading
from .store_health import StoreCondition
from .upkeep import Upkeep
from .writer import Writer

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from ..live.metrics import Metrics


class NotReadyError(RuntimeError):
    """The store is not open, or can't be."""


class Recording:
    """Start it once; feed `inbox` from any thread; ask `reading` from any thread but ComfyUI's executing one."""

    def __init__(self, host: HostProcess) -> None:
        self.host = host
        self.inbox = Inbox()
        self.problems = Problems()
        self.problems.hide = functools.partial(without_password, url=host.database_url)
        self.cost = RecordCost()
        self.add_metrics: Callable[[CollectorRegistry], None] = lambda registry: None
        """Called once, with the registry of metrics, where there is one: adds what others than the recorder count."""
        self.ready = threading.Event()
        """Set once the store is open and what dead processes left is settled, or the store has failed."""
        self.metrics: Metrics | None = None
        """Null until the store is looked for, and where prometheus-client can't be used."""
        self.store_condition = StoreCondition(self.problems)
        """What health says of the store."""
        self._feed = Feed()
        self._opening = Opening(host, self.problems)
        self._acknowledging = Acknowledging()
        self._context: Context | None = None
        self._writer: Writer | None = None
        self._reading: Reading | None = None
        self._upkeep: Upkeep | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="run-recorder", daemon=True)

    def start(self) -> None:
        """Start the recorder's thread."""
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Take in what has come, end what is open, save it, and end the thread."""
        self._stopping = True
        self.inbox.ring()
        if self._upkeep is not None:
            self._upkeep.stop()
        self._thread.join(timeout)

    @property
    def reading(self) -> Reading:
        """The one door for questions. Raises NotReadyError where the store is not open."""
        if self._reading is None:
            raise NotReadyError("the store is not open; /telemetry/health says why")
        return self._reading

    @property
    def store(self) -> Store:
        """The store itself, for those who try it. Raises NotReadyError as `reading` does."""
        return self._known_context().store

    def when_ended(self, listener: OnEnded) -> None:
        """Have each end told, from now on. Raises NotReadyError."""
        self._known_context().on_ended.append(listener)

    def _known_context(self) -> Context:
        if self._context is None:
            raise NotReadyError("the store is not open; /telemetry/health says why")
        return self._context

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            context, writer = self._begin()
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
        try:
            writer.stop()  # a clean stop settles what is open: nobody has to find out that this process is gone
        except Exception as error:  # noqa: BLE001  then the next process finds it
            self.problems.report("writer", "what was open at the stop could not be ended", error)
        self._opening.close(context)

    def _begin(self) -> tuple[Context, Writer]:
        context = self._opening.context(self.inbox, self._feed)
        writer = Writer(context)
        self.store_condition.begin(context, writer)
        reading = Reading(context, writer, self._acknowledging)
        self._count_ended(context, reading)
        self._opening.equip(context, writer)
        self._upkeep = Upkeep(context, writer)
        self._acknowledging.begin(context, writer)
        self._context, self._writer, self._reading = context, writer, reading
        self._acknowledging.saved()
        writer.step()
        return context, writer

    def _step(self, writer: Writer) -> None:
        self._acknowledging.steps(now=True)
        try:
            writer.step()
        except Exception as error:  # noqa: BLE001  the thread must live; the next step tries again
            hint = "the recorder stumbled; it goes on with the next event"
            self.problems.report("writer", hint, error, passing=True)
            time.sleep(0.05)
        self._acknowledging.steps(now=False)

    def _count_ended(self, context: Context, reading: Reading) -> None:
        """Count what ends for /telemetry/metrics. Imported here, on our thread, since ComfyUI's start need not wait."""
        try:
            from ..live.metrics import Metrics
        except Exception as error:  # noqa: BLE001  it costs the metrics, and nothing else
            hint = "nothing is counted for /telemetry/metrics: pip install prometheus-client"
            self.problems.report("metrics", hint, error)
            return
        self.metrics = Metrics(reading.queue_depth, self.problems, self.cost)
        self.add_metrics(self.metrics.registry)
        context.on_ended.append(self.metrics.ended)

    def _look_around(self, writer: Writer) -> None:
        """What takes its time: the environment, and temporaries that a killed process left."""
        try:
            writer.runs_on(self.host.environment())
        except Exception as error:  # noqa: BLE001
            self.problems.report("environment", "what prompts run on is not known", error)
        with contextlib.suppress(OSError):
            sweep(self.host.roots()["output"], recursive=True)
        if self._upkeep is not None:
            self._upkeep.run()

    # ------------------------------------------------------------ what the border asks

    def make_certain(self, event: PromptQueued) -> bool:
        """Wait a moment until a queued prompt is in the store, else sync it to the spool; false where neither works."""
        return self._acknowledging.make_certain(event)

    def ending(self) -> None:
        """A prompt is about to end: from now on `wait_settled` waits, until its marker and its waiters are served."""
        if self._context is not None:
            self._context.outstanding.expect_end()

    def wait_settled(self, timeout: float) -> bool:
        """Wait, at most `timeout` seconds, until no ended prompt is unsettled; true where there is none.

        Does not wait for a store that can't be written.
        """
        context, writer = self._context, self._writer
        if context is None or writer is None:
            return True
        return not writer.is_failing and context.outstanding.settled.wait(timeout)

    def store_health(self) -> StoreHealth:
        """How the store is, as last known; waits for nobody."""
        return self.store_condition.health(len(self.inbox))

    def running_node(self) -> tuple[str | None, CurrentNode | None]:
        """The running prompt and its node, for a worker that is found dead; null while that can't be told at once."""
        return self._reading.running_node() if self._reading is not None else (None, None)

    # ------------------------------------------------------------ what the node asks

    def marker_path(self, prompt_id: str, filename_prefix: str) -> str:
        """Where a running prompt's marker will be, relative to the output folder; empty where that can't be told."""
        if not filename_prefix or any(token in filename_prefix for token in SIZE_TOKENS):
            return ""
        started: float | None = None
        if self._reading is not None and "%" in filename_prefix:
            started = self._reading.started_at(prompt_id)
        try:
            resolved = resolve_tokens(filename_prefix, time.time() if started is None else started, prompt_id)
            return f"{parse_prefix(resolved)}.done"
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
