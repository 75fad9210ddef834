"""The recorder as a whole: one object that the border feeds and the routes ask.

Its thread opens the store, settles what dead processes left, and then serves the writer until the process ends. What
needs SQLAlchemy is imported on that thread: ComfyUI's start does not wait for it.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..markers.prefix import SIZE_TOKENS, PrefixError, parse_prefix, resolve_tokens
from ..models.health import StoreHealth
from ..models.prompt import CurrentNode
from ..process.cost import RecordCost
from ..process.hidden_url import without_password
from ..process.problems import Problems
from .acknowledging import Acknowledging
from .errors import NotReadyError
from .events import MarkerRun, PromptQueued
from .host import HostProcess
from .inbox import Inbox
from .store_health import StoreCondition

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from ..live.metrics import Metrics
    from ..store.store import Store
    from .assembly import Assembly
    from .context import OnEnded
    from .reading import Reading


class Recording:
    """Start it once; feed `inbox` from any thread; ask `reading` from any thread but ComfyUI's executing one."""

    def __init__(self, host: HostProcess) -> None:
        self.host = host
        self.inbox = Inbox()
        self.problems = Problems()
        self.problems.hide = functools.partial(without_password, url=host.settings.database_url)
        self.cost = RecordCost()
        self.add_metrics: Callable[[CollectorRegistry], None] = lambda registry: None
        """Called once, with the registry of metrics, where there is one: adds what others than the recorder count."""
        self.ready = threading.Event()
        """Set once the store is open and what dead processes left is settled, or the store has failed."""
        self.metrics: Metrics | None = None
        """Null until the store is looked for, and where prometheus-client can't be used."""
        self.store_condition = StoreCondition(self.problems)
        """What health says of the store."""
        self._acknowledging = Acknowledging()
        self._assembly: Assembly | None = None
        """Null until the store is looked for."""
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="run-recorder", daemon=True)

    def start(self) -> None:
        """Start the recorder's thread."""
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Take in what has come, end what is open, save it, and end the thread."""
        self._stopping = True
        self.inbox.ring()
        if self._assembly is not None:
            self._assembly.upkeep.stop()
        self._thread.join(timeout)

    @property
    def reading(self) -> Reading:
        """The one door for questions. Raises NotReadyError where the store is not open."""
        return self._assembled().reading

    @property
    def store(self) -> Store:
        """The store itself, for those who try it. Raises NotReadyError as `reading` does."""
        return self._assembled().context.store

    def when_ended(self, listener: OnEnded) -> None:
        """Have each end told, from now on. Raises NotReadyError."""
        self._assembled().context.on_ended.append(listener)

    def _assembled(self) -> Assembly:
        if self._assembly is None:
            raise NotReadyError("the store is not open; /telemetry/health says why")
        return self._assembly

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            assembly = self._begin()
        except Exception as error:  # noqa: BLE001  ComfyUI goes on without records, and health says so
            hint = "the store can't be opened, so nothing is recorded and no markers are written"
            self.problems.report("store", hint, error)
            self.inbox.close()
            self.ready.set()
            return
        self.ready.set()
        threading.Thread(target=assembly.look_around, name="run-recorder-start", daemon=True).start()
        while not self._stopping:
            self.inbox.wait(assembly.writer.timeout())
            assembly.step()
        assembly.step()
        assembly.stop()

    def _begin(self) -> Assembly:
        from .assembly import Assembly

        assembly = Assembly(self.host, self.inbox, self.problems, self.store_condition, self._acknowledging)
        self._count_ended(assembly)
        assembly.begin()
        self._assembly = assembly
        self._acknowledging.saved()
        assembly.writer.step()
        return assembly

    def _count_ended(self, assembly: Assembly) -> None:
        """Count what ends for /telemetry/metrics."""
        try:
            from ..live.metrics import Metrics
        except Exception as error:  # noqa: BLE001  it costs the metrics, and nothing else
            hint = "nothing is counted for /telemetry/metrics: pip install prometheus-client"
            self.problems.report("metrics", hint, error)
            return
        self.metrics = Metrics(assembly.reading.queue_depth, self.problems, self.cost)
        self.add_metrics(self.metrics.registry)
        assembly.context.on_ended.append(self.metrics.ended)

    # ------------------------------------------------------------ what the border asks

    def make_certain(self, event: PromptQueued) -> bool:
        """Wait a moment until a queued prompt is in the store, else sync it to the spool; false where neither works."""
        return self._acknowledging.make_certain(event)

    def ending(self) -> None:
        """A prompt is about to end: from now on `wait_settled` waits, until its marker and its waiters are served."""
        if self._assembly is not None:
            self._assembly.context.outstanding.expect_end()

    def wait_settled(self, timeout: float) -> bool:
        """Wait, at most `timeout` seconds, until no ended prompt is unsettled; true where there is none.

        Does not wait for a store that can't be written.
        """
        assembly = self._assembly
        if assembly is None:
            return True
        return not assembly.writer.is_failing and assembly.context.outstanding.settled.wait(timeout)

    def store_health(self) -> StoreHealth:
        """How the store is, as last known; waits for nobody."""
        return self.store_condition.health(len(self.inbox))

    def running_node(self) -> tuple[str | None, CurrentNode | None]:
        """The running prompt and its node, for a worker that is found dead; null while that can't be told at once."""
        return self._assembly.reading.running_node() if self._assembly is not None else (None, None)

    # ------------------------------------------------------------ what the node asks

    def marker_path(self, prompt_id: str, filename_prefix: str) -> str:
        """Where a running prompt's marker will be, relative to the output folder; empty where that can't be told."""
        if not filename_prefix or any(token in filename_prefix for token in SIZE_TOKENS):
            return ""
        started: float | None = None
        if self._assembly is not None and "%" in filename_prefix:
            started = self._assembly.reading.started_at(prompt_id)
        try:
            resolved = resolve_tokens(filename_prefix, time.time() if started is None else started, prompt_id)
            return f"{parse_prefix(resolved)}.done"
        except PrefixError:
            return ""

    def marker_ran(self, event: MarkerRun) -> None:
        """Take note that a marker node ran; wakes the writer only where the node waits for it."""
        if event.settled is None:
            self.inbox.append(event)
        elif self._assembly is None and self.ready.is_set():
            event.settled.set_result("")
        else:
            self.inbox.urge(event)
