"""What ComfyUI runs: the executor's messages, nodes, and the queue's filing of a prompt that has ended."""

from __future__ import annotations

import contextlib
import importlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..telemetry.models.text import clean, clean_or_none, kept_id
from ..telemetry.record.events import (
    NodeFinished,
    NodeStarted,
    PromptCached,
    PromptDone,
    PromptOutcome,
    PromptStarted,
)
from ..telemetry.record.recording import Recording
from .conditions import host_state
from .moment import now
from .progress import handler_class
from .queue import QueueSeams, prompt_queue
from .sampling import Sampling
from .seams import Seams
from .wrapping import Wrapping

ERROR_TEXT = 16_000
"""Characters of an error's text that are kept."""
_OUTCOMES = {"execution_success": "success", "execution_error": "error", "execution_interrupted": "interrupted"}
_event = tuple.__new__
"""Makes a node's event without the named tuple's own constructor, a Python function: a fifth of what a hook costs."""


class ExecutionSeams:
    """The hooks around a prompt's run. They run on ComfyUI's executing thread, each under the guard."""

    HOOKS = (
        "on_message",
        "on_execute",
        "on_node_start",
        "on_node_progress",
        "on_node_finish",
        "on_task_done",
        "on_done",
    )
    """A test makes each of them raise."""

    def __init__(
        self,
        recording: Recording,
        queue: QueueSeams,
        sampling: Sampling,
        seams: Seams,
        wrapping: Wrapping,
        when_new: Callable[[Any], None],
    ) -> None:
        self._recording = recording
        self._inbox = recording.inbox
        self.cost = recording.cost
        """What recording costs the executing thread; counted by the handler of progress."""
        self._queue = queue
        self._sampling = sampling
        self.seams = seams
        self._guarded = seams.guarded
        self._wrapping = wrapping
        self._when_new = when_new
        """Called with an executor that is new to us, before it runs its first prompt."""
        self.worker: threading.Thread | None = None
        """The thread that runs prompts; null until it has been seen."""
        self._executor: Any = None
        self._handler_class: type[Any] | None = None
        self._add_handler: Callable[[Any], None] | None = None

    def install(self, execution: Any, executor: Any) -> None:
        """Wrap what ComfyUI calls of a run, as far as that isn't done; `executor` is the one that runs, or null."""
        queues, executors = getattr(execution, "PromptQueue", None), getattr(execution, "PromptExecutor", None)
        wrap, install = self._wrapping.wrap_called, self.seams.install
        install("task_done", lambda: wrap(prompt_queue(), queues, "task_done", self._wrap_task_done))
        install("add_message", lambda: wrap(executor, executors, "add_message", self._wrap_add_message))
        with contextlib.suppress(AttributeError):
            self._wrapping.wrap(executors, "execute", self._wrap_execute)

    def install_progress(self) -> None:
        """Be ready to be told of each node of each prompt, by the public way for that."""
        self.seams.install("progress", self._prepare_progress)

    def _prepare_progress(self) -> None:
        progress = importlib.import_module("comfy_execution.progress")
        self._handler_class = handler_class(progress)
        self._add_handler = progress.add_progress_handler

    # ------------------------------------------------------------ the hooks

    def on_message(self, executor: Any, event: str, data: Mapping[str, Any]) -> None:
        """The executor said something about the prompt that it runs."""
        if event == "execution_start":
            self._started(executor, data)
        elif event == "execution_cached":
            self._cached(data)
        elif event in _OUTCOMES:
            self._ended(_OUTCOMES[event], data)

    def _started(self, executor: Any, data: Mapping[str, Any]) -> None:
        self._guarded("execute", self.on_execute, executor)
        self.worker, self._executor = threading.current_thread(), executor
        prompt_id = kept_id(data["prompt_id"])
        item = self._running_item(executor, data["prompt_id"])
        found = self._queue.queued_event(item) if item is not None else None
        number = item[0] if item is not None else None
        at = now()
        session = self._guarded("gpu", self._sampling.on_sampling, prompt_id, at.mono)
        self._inbox.urge(PromptStarted(prompt_id, at, number, found, session, self._guarded("gpu", host_state)))

    def _running_item(self, executor: Any, prompt_id: Any) -> Any:
        queue = getattr(getattr(executor, "server", None), "prompt_queue", None)
        running = getattr(queue, "currently_running", {})
        return next((item for item in list(running.values()) if item[1] == prompt_id), None)

    def _cached(self, data: Mapping[str, Any]) -> None:
        prompt_id = kept_id(data["prompt_id"])
        self._inbox.append(PromptCached(prompt_id, frozenset(str(node_id) for node_id in data.get("nodes") or ())))
        if self._handler_class is not None and self._add_handler is not None:
            self._add_handler(self._handler_class(self, prompt_id))

    def _ended(self, status: str, data: Mapping[str, Any]) -> None:
        self._guarded("gpu", self._sampling.on_sampled, time.perf_counter())
        message = data.get("exception_message")
        outcome = PromptOutcome(
            kept_id(data["prompt_id"]),
            now(),
            status,
            node_id=clean_or_none(data.get("node_id")),
            class_type=clean_or_none(data.get("node_type")),
            exception_type=clean_or_none(data.get("exception_type"), 200),
            message=clean(str(message), ERROR_TEXT).strip() if message is not None else None,
            state=self._guarded("gpu", host_state),
        )
        if self.seams.is_installed("task_done"):
            self._inbox.append(outcome)
        else:
            self._inbox.urge(outcome)

    def on_node_start(self, handler: Any, node_id: str, mono: float) -> None:
        """A node starts, or is staged again."""
        expanded = None if node_id in handler.graph else handler.expanded(node_id)
        self._inbox.append(_event(NodeStarted, (handler.prompt_id, node_id, mono, expanded)))
        if self._sampling.boundary is not None:
            self._guarded("gpu", self._sampling.boundary, node_id, True)

    def on_node_progress(self, handler: Any, node_id: str | None, value: float, most: float) -> None:
        """A node told how far it is; from any thread, and without its id where the thread doesn't know it."""
        if node_id is not None:
            self._inbox.progress(handler.prompt_id, node_id, value, most)

    def on_node_finish(self, handler: Any, node_id: str, mono: float) -> None:
        """A node is done; one that never started was cached."""
        if self._sampling.boundary is not None:
            self._guarded("gpu", self._sampling.boundary, node_id, False)
        expanded = None if node_id in handler.graph else handler.expanded(node_id)
        self._inbox.append(_event(NodeFinished, (handler.prompt_id, node_id, mono, expanded)))

    def on_task_done(self, queue: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> PromptDone | None:
        """The queue is about to file a prompt; what it made is known."""
        self.worker = threading.current_thread()
        if self._sampling.sampler.is_sampling:
            self._guarded("gpu", self._sampling.on_sampled, time.perf_counter())
        item_id = args[0] if args else kwargs["item_id"]
        result = args[1] if len(args) > 1 else kwargs.get("history_result")
        status = args[2] if len(args) > 2 else kwargs.get("status")
        item = queue.currently_running.get(item_id)
        if item is None:
            return None
        outputs = result.get("outputs") if isinstance(result, Mapping) else None
        outputs = outputs if isinstance(outputs, Mapping) else {}
        missing = self._cached_outputs(item[2], outputs)
        completed = getattr(status, "completed", None)
        done = PromptDone(kept_id(item[1]), now(), {**missing, **outputs} if missing else outputs, completed)
        self._recording.ending()
        return done

    def on_done(self, done: PromptDone) -> None:
        """The queue has filed a prompt: history has it."""
        self._inbox.urge(done)

    def _cached_outputs(self, graph: Mapping[str, Any], outputs: Mapping[Any, Any]) -> dict[str, Any]:
        """What cached savers reported when they ran, where ComfyUI leaves that out of history."""
        cache = getattr(getattr(self._executor, "caches", None), "outputs", None)
        if cache is None:
            return {}
        found: dict[str, Any] = {}
        for node_id, node in graph.items():
            if node_id in outputs or "filename_prefix" not in node.get("inputs", {}):
                continue
            entry = _now_or_never(cache.get(node_id))
            ui = getattr(entry, "ui", None)
            if isinstance(ui, Mapping) and isinstance(ui.get("output"), Mapping):
                found[node_id] = ui["output"]
        return found

    def on_execute(self, executor: Any) -> None:
        """An executor is about to run a prompt; of one that is new to us, what is called of it is looked at again."""
        if executor is not self._executor:
            self._executor = executor
            self._when_new(executor)
            for met in self._queue.waiting():
                self._inbox.urge(met)

    # ------------------------------------------------------------ the wrappers

    def _wrap_add_message(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def add_message(*args: Any, **kwargs: Any) -> Any:
            event = args[1] if len(args) > 1 else kwargs.get("event")
            data = args[2] if len(args) > 2 else kwargs.get("data")
            about = data.get("prompt_id") if isinstance(data, dict) else None
            with self._wrapping.call("add_message", event, about) as first:
                if first:
                    self._guarded("add_message", self.on_message, args[0], event, data)
                return original(*args, **kwargs)

        return add_message

    def _wrap_execute(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def execute(*args: Any, **kwargs: Any) -> Any:
            self._guarded("execute", self.on_execute, args[0])
            return original(*args, **kwargs)

        return execute

    def _wrap_task_done(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def task_done(*args: Any, **kwargs: Any) -> Any:
            with self._wrapping.call("task_done") as first:
                if not first:
                    return original(*args, **kwargs)
                done = self._guarded("task_done", self.on_task_done, args[0], args[1:], kwargs)
                try:
                    return original(*args, **kwargs)
                finally:
                    if done is not None:
                        self._guarded("task_done", self.on_done, done)

        return task_done


def _now_or_never(value: Any) -> Any:
    """The result of a coroutine that doesn't have to wait for anything; null for one that does."""
    if not hasattr(value, "send"):
        return value
    try:
        value.send(None)
    except StopIteration as end:
        return end.value
    value.close()
    return None
