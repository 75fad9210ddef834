"""A writer with everything around it, for the tests of what it does step by step."""

import atexit
import functools
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from run_recorder.telemetry.live.feed import Feed
from run_recorder.telemetry.markers.file import read_marker
from run_recorder.telemetry.models.environment import Environment
from run_recorder.telemetry.models.marker import DoneMarker
from run_recorder.telemetry.models.prompt import Instance
from run_recorder.telemetry.models.times import Stamp
from run_recorder.telemetry.process.identity import UNKNOWN
from run_recorder.telemetry.process.problems import Problems
from run_recorder.telemetry.record.clock import Clock
from run_recorder.telemetry.record.context import Context
from run_recorder.telemetry.record.events import (
    Event,
    NodeFinished,
    NodeStarted,
    PromptDone,
    PromptOutcome,
    PromptQueued,
    PromptStarted,
)
from run_recorder.telemetry.record.host import HostProcess
from run_recorder.telemetry.record.inbox import Inbox
from run_recorder.telemetry.record.set_aside import FOLDER as ASIDE
from run_recorder.telemetry.record.set_aside import SetAside
from run_recorder.telemetry.record.writer import Writer
from run_recorder.telemetry.store.database import Database, default_url
from run_recorder.telemetry.store.store import Store

from .support import image, marker_node, node, saver, write

GRAPH = {"1": node("EmptyImage"), "3": saver("shot/a"), "9": marker_node()}


def now() -> Stamp:
    return Stamp(time.time(), time.perf_counter())


@functools.cache
def _migrated() -> Path:
    """An empty database at the newest revision, made once a process: to migrate takes ten times what to open does."""
    folder = Path(tempfile.mkdtemp(prefix="run-recorder-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    database = Database(default_url(folder))
    database.open()
    database.close()
    (made,) = folder.glob("*.sqlite3")
    return made


def empty_database(folder: Path) -> str:
    """The URL of the default database of a folder; where there is none yet, an empty one that needs no migration."""
    place = folder / _migrated().name
    if not place.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        shutil.copyfile(_migrated(), place)
        place.chmod(0o600)
    return str(default_url(folder))


class Desk:
    """A writer with everything around it, on real files and a real database."""

    def __init__(self, folder: Path, instance_id: str = "me") -> None:
        self.folder = folder
        self.roots = {name: folder / name for name in ("output", "temp", "input")}
        for root in self.roots.values():
            root.mkdir(exist_ok=True)
        self.output = self.roots["output"]
        self.inbox, self.feed, self.problems = Inbox(), Feed(), Problems()
        self.database = Database(empty_database(folder / "private"))
        self.database.open()
        self.store = Store(self.database)
        self.alive: bool | None = True
        self.port: int | None = 8188
        self.mono = 1_000.0
        """What the writer counts deadlines by, in seconds: it stands until a test turns it on."""
        self.wall: Callable[[], float] = time.time
        self.perf: Callable[[], float] = time.perf_counter
        """The other two run, as those of the files and the events do; a test puts another in their place."""
        self.held: frozenset[str] | None = None
        self.history: dict[str, PromptDone] = {}
        host = HostProcess(
            private_folder=folder / "private",
            roots=lambda: self.roots,
            worker_alive=lambda: self.alive,
            is_choice=lambda *_: False,
            port=lambda: self.port,
            environment=lambda: Environment(id="e"),
            queued_ids=lambda: self.held,
            in_history=lambda prompt_id, _number: self.history.get(prompt_id),
        )
        instance = Instance(id=instance_id, port=8188)
        self.store.servers.add_instance(instance)
        clock = Clock(wall=lambda: self.wall(), mono=lambda: self.mono, perf=lambda: self.perf())
        self.context = Context(
            self.inbox, self.store, self.feed, self.problems, host, instance, digest_key=b"key", clock=clock
        )
        self.settled = self.context.outstanding.settled
        self.runs = self.context.recorder.runs
        self.writer = Writer(self.context)
        self.aside = folder / "private" / ASIDE
        self.writer.set_aside_in(SetAside(self.aside, self.problems))

    def step(self, *events: Event) -> None:
        for event in events:
            self.inbox.append(event)
        self.writer.step()

    def queue(self, prompt_id: str = "p", graph: dict[str, Any] = GRAPH, **more: Any) -> None:
        given = {"number": 1, "accepted": frozenset(graph), "restricted": False, **more}
        self.step(PromptQueued(prompt_id, now(), graph=graph, **given))

    def begin(self, prompt_id: str = "p", graph: dict[str, Any] = GRAPH, **more: Any) -> None:
        """Queue and start a prompt, and let the writer see both before the first node."""
        self.queue(prompt_id, graph, **more)
        self.step(PromptStarted(prompt_id, now()))

    def ran(self, *node_ids: str, prompt_id: str = "p") -> list[Event]:
        made: list[Event] = []
        for node_id in node_ids:
            made += [NodeStarted(prompt_id, node_id, now().mono), NodeFinished(prompt_id, node_id, now().mono)]
        return made

    def end(self, prompt_id: str = "p", status: str = "success", outputs: Any = (), **more: Any) -> None:
        told = {} if outputs == () else outputs
        self.step(
            PromptOutcome(prompt_id, now(), status, **more), PromptDone(prompt_id, now(), told, status == "success")
        )

    def whole(self, prompt_id: str = "p", files: tuple[str, ...] = ("shot/a_00001_.png",), **more: Any) -> None:
        """A prompt whose saver writes and reports some files."""
        self.begin(prompt_id, **more)
        for name in files:
            write(self.output / name)
        self.step(*self.ran("1", "3", prompt_id=prompt_id))
        entries = [image(Path(one).name, str(Path(one).parent))["images"][0] for one in files]
        self.end(prompt_id, outputs={"3": {"images": entries}})

    def adopt_dead(self) -> None:
        """Take over what the processes before this one left."""
        for record in self.store.history.unsettled():
            self.writer.adopt(record, UNKNOWN)

    def later(self, seconds: float = 2.0) -> None:
        """Turn the clock on: by so much that a store which failed is tried again."""
        self.mono += seconds

    def rung(self) -> None:
        """Wait until the writer is rung for, and let it do what there is to do then."""
        self.inbox.wait(10)
        self.step()

    def record(self, prompt_id: str = "p", number: int | None = None) -> Any:
        return self.store.prompts.record(prompt_id, number)

    def marker(self, path: str = "shot/a.done") -> DoneMarker:
        return read_marker(self.output / path)

    def names(self, path: str = "shot/a.done") -> list[str]:
        return [file.Name for file in self.marker(path).Files]

    def hints(self) -> dict[str, str]:
        return {problem.what: problem.hint for problem in self.problems.all()}
