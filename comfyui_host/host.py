"""The recorder inside one ComfyUI: everything that observes it, and what nodes and routes ask of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..telemetry.models.health import Seam, Worker
from ..telemetry.process.settings import misspelt, server_settings
from ..telemetry.record.host import HostProcess
from ..telemetry.record.recording import Recording
from . import process
from .choices import Choices
from .execution import ExecutionSeams
from .garbage import GarbageSeam
from .queue import QueueSeams
from .sampling import Sampling
from .seams import Seams
from .worker import WorkerWatch
from .wrapping import Wrapping

PACKAGE = Path(__file__).parents[1]
"""This package's own folder."""
STOP_SECONDS = 2.0
"""How long an ending process waits, at most, for the recorder to save what it has."""
HOOKS: tuple[tuple[type[Any], str], ...] = tuple(
    (owner, name) for owner in (QueueSeams, ExecutionSeams, Sampling, GarbageSeam) for name in owner.HOOKS
)
"""Every hook that runs on a thread of ComfyUI's; a test makes each of them raise."""


class Host:
    """One per process. Nodes and routes are given it."""

    def __init__(self, process_of: Callable[[Host], HostProcess]) -> None:
        self.settings, wrong = server_settings()
        """What the environment says; read once."""
        self.recording = Recording(process_of(self))
        self.inbox = self.recording.inbox
        self.problems = self.recording.problems
        self.problems.wrong_settings([*wrong, *misspelt()])
        self.cost = self.recording.cost
        self._choices = Choices()
        self.is_choice = self._choices.is_choice
        self.executing, self.show_text = process.executing, process.show_text
        self._seams = Seams(self.problems)
        self.guarded = self._seams.guarded
        wrapping = Wrapping()
        self._sampling = Sampling(self.problems, self.settings)
        self.sampler = self._sampling.sampler
        self.recording.add_metrics = self._sampling.add_metrics
        self.queue = QueueSeams(self.inbox, self._seams, wrapping, self.recording.make_certain, self._wrap_all)
        self.execution = ExecutionSeams(
            self.recording, self.queue, self._sampling, self._seams, wrapping, self._wrap_all
        )
        self._garbage = GarbageSeam(self._seams, lambda: self.execution.worker, self.recording.wait_settled)
        self._worker = WorkerWatch(self.problems, lambda: self.execution.worker, self.recording.running_node)
        self._loopback_only: bool | None = None

    def install(self) -> None:
        """Observe every seam that this ComfyUI has; say what the others cost."""
        self._wrap_all()
        self.execution.install_progress()
        self.queue.install_request()
        self._seams.install("gpu", self.sampler.start)
        self._garbage.install()
        self.recording.start()

    def stop(self) -> None:
        """The process ends."""
        self.sampler.stop(STOP_SECONDS)
        self.recording.stop(STOP_SECONDS)

    def _wrap_all(self, executor: Any = None) -> None:
        """Wrap what ComfyUI calls, as far as that isn't done; again once it runs, as others may have come since."""
        execution = sys.modules["execution"]
        self.queue.install(execution)
        self.execution.install(execution, executor)

    def note_second_copy(self, folder: str) -> None:
        """Another copy of this package was loaded, and does nothing. Called by that copy."""
        name = Path(folder).name
        hint = f"custom_nodes holds this package twice; only {PACKAGE.name!r} is used, remove {name!r}"
        self.problems.report("installed twice", hint)

    def worker_alive(self) -> bool | None:
        """Whether ComfyUI's worker thread lives; null until it has been seen."""
        return self._worker.is_alive()

    def worker(self) -> Worker:
        """The worker thread's health."""
        return self._worker.health()

    def seam_health(self) -> dict[str, Seam]:
        """Each seam: whether it is installed, and when it last told something."""
        return self._seams.health()

    def listens_on_loopback_only(self) -> bool | None:
        """Whether ComfyUI's server can be reached from this machine alone; null while it doesn't listen.

        Asked of the system, since ComfyUI keeps but one of its addresses.
        """
        if self._loopback_only is None:
            self._loopback_only = process.loopback_only(process.port())
        return self._loopback_only


def process_of(host: Host) -> HostProcess:
    """What the recorder is told of the ComfyUI that it lives in."""
    return HostProcess(
        private_folder=process.private_folder(),
        roots=process.roots,
        worker_alive=lambda: host.worker_alive(),
        queued_ids=lambda: host.queue.queued_ids(),
        waiting=lambda prompt_id: host.queue.waiting(prompt_id),
        in_history=lambda prompt_id, number: host.queue.in_history(prompt_id, number),
        is_choice=lambda class_type, name, value: host.is_choice(class_type, name, value),
        pack_of=process.pack_of,
        port=process.port,
        environment=process.environment,
        settings=host.settings,
    )
