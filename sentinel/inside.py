"""The sentinel as a thread inside ComfyUI, for its own output folder; the recorder tells it which prompt saved what."""

from __future__ import annotations

import atexit
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..telemetry.process.printable import logger
from .evidence import Answer, EndedPrompt, RunningPrompt, SilentError, ended_of, running_of

if TYPE_CHECKING:
    from ..telemetry.models.record import NodeRecord, PromptRecord
    from ..telemetry.record.recording import Recording
    from .callbacks import KeeperCallbacks
    from .service import Sentinel


ODD = "sentinel entry"
"""The problem that health shows while an entry of the folder is odd."""
REMEMBERED = 64
"""How many ended prompts are kept for the question that comes once their files are seen."""
STOP_SECONDS = 2.0
"""How long an ending ComfyUI waits for it, at most."""


class Recorded:
    """The recorder of this process, asked as another ComfyUI would be asked over HTTP."""

    can_wait = True

    def __init__(self, recording: Recording) -> None:
        self._reading = recording.reading
        self._ended: OrderedDict[tuple[str, int], EndedPrompt] = OrderedDict()
        self._news = threading.Condition()
        recording.when_ended(self._on_ended)

    def ask(self) -> Answer:
        """What runs, and what has ended lately. Raises SilentError where the store can't be written: no end is sure."""
        if self._reading.is_failing:
            raise SilentError("the recorder's store can't be written")
        begun = self._reading.begun()
        with self._news:
            running = [
                running_of(run.prompt_id, run.graph)
                for run in begun
                if (run.prompt_id, run.run_number) not in self._ended
            ]
            return Answer(tuple(running), tuple(self._ended.values()))

    def wait(self, running: RunningPrompt, seconds: float) -> EndedPrompt | None:
        """A running prompt's end, once it is committed; null when the time is up."""
        with self._news:
            self._news.wait_for(lambda: self._end_of(running) is not None, seconds)
            return self._end_of(running)

    def _end_of(self, running: RunningPrompt) -> EndedPrompt | None:
        return next((end for key, end in reversed(self._ended.items()) if key[0] == running.prompt_id), None)

    def _on_ended(self, record: PromptRecord, nodes: Sequence[NodeRecord]) -> None:
        try:
            graph = self._reading.graph_of(record.prompt_id, record.run_number)
            ended = ended_of(record, graph, running_of(record.prompt_id, graph))
        except Exception:  # noqa: BLE001  the recorder's thread goes on, whatever a record holds
            logger.exception("Run Recorder: the sentinel can't be told of a prompt's end")
            return
        if ended is not None:
            with self._news:
                self._ended[_key(record)] = ended
                if len(self._ended) > REMEMBERED:
                    self._ended.popitem(last=False)
                self._news.notify_all()


def _key(record: PromptRecord) -> tuple[str, int]:
    return record.prompt_id, record.run_number


def start(recording: Recording) -> None:
    """Start it, on threads of its own."""
    threading.Thread(target=_start, args=(recording,), name="run-recorder-sentinel-start", daemon=True).start()


def _start(recording: Recording) -> None:
    try:
        recording.ready.wait()
        sentinel = _sentinel(recording)
        atexit.register(sentinel.stop, STOP_SECONDS)
        sentinel.start()
    except Exception as error:  # noqa: BLE001  it costs the sentinel, and nothing else
        recording.problems.report(
            "sentinel", "it can't be started, so nothing is marked for graphs without the node", error
        )


def _sentinel(recording: Recording) -> Sentinel:
    # Imported here, on a thread of ours: ComfyUI's start need not wait for it.
    from .options import Options
    from .service import Sentinel

    folder: Path = recording.host.roots()["output"]
    return Sentinel([folder], Options(), callbacks=_callbacks(recording), comfyui=Recorded(recording))


def _callbacks(recording: Recording) -> KeeperCallbacks:
    from ..telemetry.process.printable import printable
    from .callbacks import KeeperCallbacks

    def failed(_key: object, why: str) -> None:
        recording.problems.report("sentinel", f"a marker can't be written, and is tried again: {why}")

    standing: set[Path] = set()

    def odd(path: Path, why: str | None) -> None:
        if why is not None:
            standing.add(path)
            hint = "something in the output folder can't be looked at, or is not what its name says, and has no marker"
            recording.problems.report(ODD, f"{hint}: {printable(path.name)} {printable(why)}")
            return
        standing.discard(path)
        if not standing:
            recording.problems.solved(ODD)

    return KeeperCallbacks(failed=failed, odd=odd)
