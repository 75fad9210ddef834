"""What the verbs of the recorder share: the open prompts and their lock, the store, and whom to tell."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from ..live.feed import Feed
from ..live.stream import Stream
from ..models.environment import Environment
from ..models.prompt import Instance, Prompt
from ..models.record import NodeRecord, PromptRecord
from ..models.view import prompt_of
from ..process.identity import UNKNOWN, Identity
from ..process.problems import Problems
from ..process.redact import redact
from ..store.store import Store
from .clock import Clock
from .events import PromptDone
from .host import HostProcess
from .inbox import Inbox
from .kept_ends import KeptEnds
from .outstanding import Outstanding
from .recorder import Recorder

OnEnded = Callable[[PromptRecord, Sequence[NodeRecord]], None]
"""Called on the recorder's thread for each run whose end is certain, with the nodes that this process saw; before
anybody is told. Raises nothing.
"""


class Context:
    """One per recorder. Readers and the recorder's thread share it; `lock` guards `recorder` and `kept`."""

    def __init__(
        self,
        inbox: Inbox,
        store: Store,
        feed: Feed,
        problems: Problems,
        host: HostProcess,
        instance: Instance,
        identity: Identity = UNKNOWN,
        *,
        digest_key: bytes = b"",
        clean: Callable[[str], str] = redact,
        clock: Clock | None = None,
    ) -> None:
        self.inbox = inbox
        self.store = store
        self.feed = feed
        self.problems = problems
        self.host = host
        self.instance = instance
        self.identity = identity
        """How others can tell whether this process lives, and which machine's its output folder is."""
        self.many_machines = store.database.backend != "sqlite"
        """A server's database may hold records of many machines, on which equal paths are different folders."""
        self.digest_key = digest_key
        """What digests of graphs are keyed with."""
        self.clock = clock or Clock()
        self.lock = threading.RLock()
        """Around `recorder` and `kept`: the recorder's thread and readers both take events in."""
        self.kept = KeptEnds(problems)
        """What is certain, and not in the store yet."""
        self.recorder = Recorder(instance.id, self.kept.last_run_number, clean)
        """Numbers runs by what it knows of; those in the store are counted in when a run is saved, without the lock."""
        self.outstanding = Outstanding()
        self.stream = Stream()
        self.environment: Environment | None = None
        """What prompts of this process run on; null until it is known."""
        self.begun = 0
        """How many runs have begun."""
        self.ended = 0
        """How many runs have ended."""
        self.dropped = 0
        """Records that were lost for good, because nothing could take them."""
        self.stopping = False
        """True once this process ends: then no file is waited for."""
        self.upkeep_due = threading.Event()
        """Set each time so much was written that it is worth looking after the store."""
        self.on_ended: list[OnEnded] = []

    def take_in(self) -> None:
        """Apply what has happened to the open prompts; any thread."""
        with self.lock:
            for event in self.inbox.take():
                try:
                    self.recorder.apply(event)
                except Exception as error:  # noqa: BLE001  one event that we misread must not cost the others
                    hint = f"an event was not understood: {type(event).__name__}"
                    self.problems.report("recorder", hint, error, passing=True)
                if isinstance(event, PromptDone):
                    self.outstanding.end_came()

    def output_folder(self) -> Path:
        """ComfyUI's output folder as it is now."""
        return self.host.roots()["output"]

    def served(self, record: PromptRecord) -> Prompt:
        """A record of this process as it is served."""
        return prompt_of(record, {self.instance.id: self.instance})

    def tell_ended(self, record: PromptRecord, nodes: Sequence[NodeRecord]) -> None:
        """Tell those who count ends of one."""
        for listener in self.on_ended:
            listener(record, nodes)
