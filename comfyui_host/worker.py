"""ComfyUI's worker thread: whether it lives. Nobody else tells when it has died, and its queue is dead with it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread

from ..telemetry.models.health import Worker
from ..telemetry.models.prompt import CurrentNode
from ..telemetry.process.problems import Problems


class WorkerWatch:
    """Any thread may ask."""

    def __init__(
        self,
        problems: Problems,
        worker: Callable[[], Thread | None],
        running_node: Callable[[], tuple[str | None, CurrentNode | None]],
    ) -> None:
        self._problems = problems
        self._worker = worker
        self._running_node = running_node
        self._died_with: str | None = None
        self._died_in: CurrentNode | None = None

    def is_alive(self) -> bool | None:
        """Whether it lives; null until it has been seen. Where it is dead, health says so from now on."""
        worker = self._worker()
        alive = None if worker is None else worker.is_alive()
        if alive is False:
            self._note_dead()
        return alive

    def health(self) -> Worker:
        """The worker thread's health; and where it is dead, the prompt and the node that killed it."""
        alive = self.is_alive()
        return Worker(alive=alive, died_in=self._died_in, prompt_id=self._died_with)

    def _note_dead(self) -> None:
        if self._died_with is None:
            self._died_with, self._died_in = self._running_node()
        hint = "ComfyUI's worker thread has ended, so its queue is dead: restart ComfyUI"
        self._problems.report("worker died", hint)
