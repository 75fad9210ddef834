"""Looks after what nobody tells: a worker that died, prompts that left the queue unseen, the port, the environment."""

from __future__ import annotations

from ..models.environment import Environment
from .context import Context
from .events import PromptUnqueued, WorkerDied
from .prompt import OpenPrompt
from .store_access import StoreAccess

LOOK_SECONDS, GONE_SECONDS = 2.0, 3.0
"""How often ComfyUI's queue is looked at while prompts wait, and how long one is missed there before it is gone."""
LIFE_SECONDS = 1.0
"""A running prompt is saved so often at least: its record says until when its process lived."""


class Watching:
    """Looks, now and then, at the process that the recorder lives in. The writer's thread alone."""

    def __init__(self, context: Context, access: StoreAccess) -> None:
        self._context = context
        self._access = access
        self._clock = context.clock
        self._next_look = 0.0
        """When ComfyUI's queue is looked at next, on `Clock.mono`."""
        self._missing: dict[OpenPrompt, float] = {}
        """Queued runs that ComfyUI's queue doesn't have, and since when."""
        self._kept: Environment | None = None
        """What the store has of what prompts run on."""
        access.on_replaced.append(self._keep_anew)

    @property
    def is_behind(self) -> bool:
        """Whether what prompts run on is known, and the store doesn't have it yet."""
        return self._context.environment is not self._kept

    def keep_environment(self) -> None:
        """Let the store have what prompts run on, once that is known."""
        environment = self._context.environment
        if environment is None or not self.is_behind or not self._access.may_write():
            return
        servers, own = self._context.store.servers, self._context.instance.id
        if self._access.write(lambda: servers.add_environment(environment, own)):
            self._kept = environment

    def learn_port(self) -> None:
        """ComfyUI listens only after custom nodes have been loaded."""
        instance = self._context.instance
        if instance.port is not None or not self._access.may_write():
            return
        port = self._context.host.port()
        if port is not None and self._access.write(lambda: self._context.store.servers.set_port(instance.id, port)):
            instance.port = port

    def watch_worker(self) -> None:
        """End what runs where the thread that ran it is gone."""
        context = self._context
        with context.lock:
            run = context.recorder.running()
        if run is not None and context.host.worker_alive() is False:
            context.take_in()
            with context.lock:
                context.recorder.apply(WorkerDied(self._clock.stamp(), run.record.prompt_id))

    def watch_queue(self) -> None:
        """End what is neither queued nor running any more, and was not seen to leave: as history has it, or cancelled.

        Other node packs empty ComfyUI's queue, replace it, or let a prompt into it only by name.
        """
        context, now = self._context, self._clock.mono()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        with context.lock:
            waiting = [run for run in context.recorder.runs if run.started is None and run.final is None]
        held = context.host.queued_ids() if waiting else None
        if held is None:
            self._missing = {}
            return
        self._missing = {run: self._missing.get(run, now) for run in waiting if run.record.prompt_id not in held}
        gone = [run for run, since in self._missing.items() if now - since >= GONE_SECONDS]
        if gone:
            context.take_in()
        for run in gone:
            del self._missing[run]
            record, at = run.record, self._clock.stamp()
            ended = context.host.in_history(record.prompt_id, record.queue_number)
            with context.lock:
                context.recorder.apply(ended or PromptUnqueued(record.prompt_id, at, run.graph, "vanished"))

    def show_life(self) -> None:
        """Let a running prompt be saved now and then, though nothing of it changed."""
        context, now = self._context, self._clock.mono()
        with context.lock:
            for run in context.recorder.runs.started:
                if now - run.store.at >= LIFE_SECONDS:
                    context.recorder.runs.touch(run)

    def _keep_anew(self) -> None:
        self._kept = None
