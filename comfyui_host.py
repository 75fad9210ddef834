"""The only file that touches ComfyUI's internals: turns what happens there into plain events.

Every place where ComfyUI is observed (a *seam*) is wrapped on its class, whatever its signature has become, and
calls one hook of `Host` under one guard: a hook that fails is counted, told once in the log, shown in health, and
costs the prompt nothing. What a missing or silent seam would have told stays null.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import inspect
import ipaddress
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from time import perf_counter
from time import time as wall_time
from types import ModuleType
from typing import Any

import psutil

from .comfyui_seams import Wrapping
from .telemetry.gpu.node_memory import Border
from .telemetry.gpu.sampler import make_sampler
from .telemetry.gpu.session import Session
from .telemetry.gpu.torch_devices import HostDevice
from .telemetry.models.environment import Environment
from .telemetry.models.health import Seam, Worker
from .telemetry.models.prompt import CurrentNode
from .telemetry.models.text import clean, clean_or_none, id_note, kept_id
from .telemetry.models.times import Stamp, iso, milliseconds
from .telemetry.process.environment import gather, nvidia_driver_version
from .telemetry.record.events import (
    ExpandedNode,
    NodeFinished,
    NodeStarted,
    PromptCached,
    PromptDone,
    PromptMet,
    PromptOutcome,
    PromptQueued,
    PromptStarted,
    PromptUnqueued,
)
from .telemetry.record.host import HostProcess
from .telemetry.record.recording import Recording

COSTS = {
    "on_prompt": "markers that ComfyUI refused are not noted",
    "validate": "outputs that ComfyUI refused while it ran the others are not known",
    "put": "the time of queueing, the graph's fingerprints and marker requests are not known before the start",
    "delete_queue_item": "prompts deleted from the queue are not seen to be cancelled",
    "wipe_queue": "prompts cleared from the queue are not seen to be cancelled",
    "add_message": "start, node times, errors and interrupts are not known",
    "progress": "nodes, their times and steps are not known",
    "task_done": "outputs are known only from the disk, and prompts end up to 5 s late",
    "gpu": "peaks of nodes, or the whole prompt's figures of GPU and memory, are not known",
    "gc": "after a long prompt its end is told up to a second late",
}
"""Every seam, and what it costs where it is missing."""
ERROR_TEXT = 16_000
REQUESTS_KEPT = 256
SETTLE_SECONDS = 0.05
"""How long a garbage collection on the executing thread waits for the ended prompt to be settled."""
STOP_SECONDS = 2.0
"""How long an ending process waits, at most, for the recorder to save what it has."""
SYSTEM_FOLDER = "run_recorder"
_OUTCOMES = {"execution_success": "success", "execution_error": "error", "execution_interrupted": "interrupted"}
_MARK = "__run_recorder__"
_event = tuple.__new__
"""Makes a node's event without the named tuple's own constructor, a Python function: a fifth of what a hook costs."""


def is_comfyui() -> bool:
    """Whether ComfyUI is loading us: its server exists, and it has loaded what we observe."""
    server = sys.modules.get("server")
    instance = getattr(getattr(server, "PromptServer", None), "instance", None)
    return instance is not None and "execution" in sys.modules and "folder_paths" in sys.modules


class Host:
    """The hooks. Each runs on the thread on which ComfyUI does the thing, under `guarded`."""

    HOOKS = (
        "on_request",
        "on_validated",
        "on_put",
        "on_put_failed",
        "on_put_done",
        "on_unqueued",
        "on_message",
        "on_execute",
        "on_node_start",
        "on_node_progress",
        "on_node_finish",
        "on_task_done",
        "on_done",
        "on_garbage",
        "on_sampling",
        "on_sampled",
    )
    """The names of all hooks; a test makes each of them raise."""

    def __init__(self, recording_host: Callable[[Host], HostProcess]) -> None:
        self.recording = Recording(recording_host(self))
        self.inbox = self.recording.inbox
        self.problems = self.recording.problems
        self.cost = self.recording.cost
        self.torch = Torch()
        self.sampler = make_sampler(self.torch, self.problems)
        self.recording.add_metrics = self._add_metrics
        self._border: Callable[[str | None, bool], None] | None = None
        """Reads and resets torch's peaks; null where ComfyUI's device has none, and then nodes cost nothing more."""
        self.seams: dict[str, Seam] = {name: Seam(installed=False) for name in COSTS}
        self.folder = Path(__file__).parent
        self.seen: dict[str, float] = {}
        """When each seam last told something, in seconds since 1970."""
        self._worker: threading.Thread | None = None
        self._executor: Any = None
        self._posted = False
        self._requests: deque[tuple[Any, bool]] = deque(maxlen=REQUESTS_KEPT)
        self._verdicts: deque[tuple[Any, Mapping[Any, Any]]] = deque(maxlen=REQUESTS_KEPT)
        self._wrapping = Wrapping()
        self._handler_class: type[Any] | None = None
        self._add_handler: Callable[[Any], None] | None = None
        self._choices: dict[str, frozenset[str]] = {}
        self._loopback_only: bool | None = None

    # ------------------------------------------------------------ the guard

    def guarded(self, seam: str, hook: Callable[..., Any], *args: Any) -> Any:
        """Call a hook; whatever it raises stays here. Null where it failed."""
        try:
            self.seen[seam] = time.time()
            return hook(*args)
        except Exception as error:  # noqa: BLE001  a fault of ours never reaches a prompt
            self.hook_failed(seam, error)
            return None

    def hook_failed(self, seam: str, error: Exception) -> None:
        """Count a hook's fault, and tell it once. Raises nothing."""
        with contextlib.suppress(Exception):
            hint = f"our hook failed: {COSTS.get(seam, 'some figures are missing')}"
            self.problems.report(f"hook {seam}", hint, error, passing=True)

    def note_second_copy(self, folder: str) -> None:
        """Another copy of this package was loaded, and does nothing. Called by that copy."""
        name = Path(folder).name
        hint = f"custom_nodes holds this package twice; only {self.folder.name!r} is used, remove {name!r}"
        self.problems.report("installed twice", hint)

    def listens_on_loopback_only(self) -> bool | None:
        """Whether ComfyUI's server can be reached from this machine alone; null while it doesn't listen.

        Asked of the system, since ComfyUI keeps but one of its addresses.
        """
        if self._loopback_only is None:
            self._loopback_only = loopback_only(port())
        return self._loopback_only

    # ------------------------------------------------------------ the queue

    def on_request(self, data: Any) -> None:
        """A prompt was posted; nothing is known of it yet but whether it restricts its targets.

        By the first one every pack is loaded, so what they have put over our functions since is wrapped, too.
        """
        if not self._posted:
            self._posted = True
            self._wrap_all()
        if isinstance(data, dict) and isinstance(data.get("prompt"), dict):
            self._requests.append(
                (data["prompt"], "partial_execution_targets" in data and bool(data["partial_execution_targets"]))
            )

    def on_validated(self, graph: Any, verdict: Any) -> None:
        """ComfyUI has checked a graph: good or not, an error of all, the outputs that it runs, the errors by node."""
        if isinstance(verdict, (tuple, list)) and len(verdict) > 3 and verdict[0] is True:
            self._verdicts.append((graph, verdict[3] if isinstance(verdict[3], Mapping) else {}))

    def on_put(self, item: Any) -> PromptQueued:
        """A prompt is being put into the queue."""
        event = self._queued_event(item)
        self.inbox.urge(event)
        return event

    def on_put_done(self, event: PromptQueued) -> None:
        """The prompt is in the queue, and its client is about to be told so.

        What a client was told must not be lost by a kill, so its record is committed first, or synced to the spool;
        this thread is the server's, not the executing one, and it waits for a few milliseconds, never long.
        """
        self.recording.make_certain(event)

    def _queued_event(self, item: Any) -> PromptQueued:
        number, prompt_id, graph = item[0], item[1], item[2]
        extra = item[3] if len(item) > 3 and isinstance(item[3], Mapping) else {}
        accepted = frozenset(str(node_id) for node_id in item[4]) if len(item) > 4 else frozenset()
        restricted = next((restricted for asked, restricted in reversed(self._requests) if asked is graph), None)
        node_errors = next((errors for asked, errors in reversed(self._verdicts) if asked is graph), None)
        batch = extra.get("run_recorder")
        return PromptQueued(
            prompt_id=kept_id(prompt_id),
            at=_now(),
            number=number,
            graph=graph,
            accepted=accepted,
            restricted=restricted,
            client_id=clean_or_none(extra.get("client_id")),
            workflow_name=_workflow_name(extra),
            batch=batch if isinstance(batch, Mapping) else None,
            node_errors=node_errors,
            id_note=id_note(prompt_id),
        )

    def on_put_failed(self, queue: Any, item: Any) -> None:
        """The queue refused a prompt, and the client is told 500.

        Where two entries can't be ordered (same number, same id) the heap has taken the second all the same: then
        it will run, and its record stands.
        """
        if any(other is item for other in queue.queue):
            return
        self.inbox.urge(PromptUnqueued(kept_id(item[1]), _now(), item[2], "refused"))

    def queued_ids(self) -> frozenset[str] | None:
        """The ids of the prompts that ComfyUI's queue holds or runs; null where it can't be asked. Any thread."""
        queue = _prompt_queue()
        try:
            items = [*list(queue.queue), *list(queue.currently_running.values())]
            return frozenset(kept_id(item[1]) for item in items)
        except (AttributeError, TypeError, LookupError, RuntimeError):
            return None

    def waiting(self, prompt_id: str | None = None) -> list[PromptMet]:
        """The prompts, or those of one id, that wait in ComfyUI's queue; none where it can't be asked. Any thread."""
        with contextlib.suppress(AttributeError, TypeError, LookupError, RuntimeError):
            items = sorted(_prompt_queue().queue, key=lambda item: item[0])
            return [PromptMet(self._queued_event(item)) for item in items if prompt_id in (None, kept_id(item[1]))]
        return []

    def in_history(self, prompt_id: str, number: float | None) -> PromptDone | None:
        """The end of a prompt as ComfyUI's history has it; null where it hasn't. Any thread."""
        entry = getattr(_prompt_queue(), "history", {}).get(prompt_id)
        if not isinstance(entry, Mapping) or entry["prompt"][0] != number:
            return None
        status = entry.get("status") or {}
        return PromptDone(prompt_id, _now(), entry.get("outputs") or {}, status.get("status_str") == "success")

    def on_unqueued(self, queue: Any, before: list[Any]) -> None:
        """The queue has become shorter by other means than its worker: what is gone was cancelled."""
        left = {id(item) for item in queue.queue}
        for item in before:
            if id(item) not in left:
                self.inbox.urge(PromptUnqueued(kept_id(item[1]), _now(), item[2]))

    # ------------------------------------------------------------ a prompt's run

    def on_message(self, executor: Any, event: str, data: Mapping[str, Any]) -> None:
        """The executor said something about the prompt that it runs."""
        if event == "execution_start":
            self._started(executor, data)
        elif event == "execution_cached":
            self._cached(data)
        elif event in _OUTCOMES:
            self._ended(_OUTCOMES[event], data)

    def _started(self, executor: Any, data: Mapping[str, Any]) -> None:
        self.guarded("execute", self.on_execute, executor)
        self._worker, self._executor = threading.current_thread(), executor
        prompt_id = kept_id(data["prompt_id"])
        item = self._running_item(executor, data["prompt_id"])
        found = self._queued_event(item) if item is not None else None
        number = item[0] if item is not None else None
        at = _now()
        session = self.guarded("gpu", self.on_sampling, prompt_id, at.mono)
        self.inbox.urge(PromptStarted(prompt_id, at, number, found, session))

    def _add_metrics(self, registry: Any) -> None:
        from .telemetry.gpu.metrics import GpuMetrics

        registry.register(GpuMetrics(self.sampler.now, self.sampler.models))

    def on_sampling(self, prompt_id: str, mono: float) -> Session:
        """A prompt starts: read figures from now on, and torch's peaks at the borders of its nodes."""
        self._border = None
        session = self.sampler.begin(prompt_id, mono)
        if self.sampler.is_on:
            self._border = self.torch.peak_reader(session.nodes.borders)
        if self._border is not None:
            self._border(None, True)
        return session

    def on_sampled(self, mono: float) -> None:
        """The prompt has ended."""
        border, self._border = self._border, None
        if border is not None:
            border(None, False)
        self.sampler.end(mono)

    def _running_item(self, executor: Any, prompt_id: Any) -> Any:
        queue = getattr(getattr(executor, "server", None), "prompt_queue", None)
        running = getattr(queue, "currently_running", {})
        return next((item for item in list(running.values()) if item[1] == prompt_id), None)

    def _cached(self, data: Mapping[str, Any]) -> None:
        prompt_id = kept_id(data["prompt_id"])
        self.inbox.append(PromptCached(prompt_id, frozenset(str(node_id) for node_id in data.get("nodes") or ())))
        if self._handler_class is not None and self._add_handler is not None:
            self._add_handler(self._handler_class(self, prompt_id))

    def _ended(self, status: str, data: Mapping[str, Any]) -> None:
        self.guarded("gpu", self.on_sampled, time.perf_counter())
        message = data.get("exception_message")
        outcome = PromptOutcome(
            kept_id(data["prompt_id"]),
            _now(),
            status,
            node_id=clean_or_none(data.get("node_id")),
            class_type=clean_or_none(data.get("node_type")),
            exception_type=clean_or_none(data.get("exception_type"), 200),
            message=clean(str(message), ERROR_TEXT).strip() if message is not None else None,
        )
        if self.seams["task_done"].installed:
            self.inbox.append(outcome)
        else:
            self.inbox.urge(outcome)

    def on_node_start(self, handler: Any, node_id: str, mono: float) -> None:
        """A node starts, or is staged again."""
        expanded = None if node_id in handler.graph else handler.expanded(node_id)
        self.inbox.append(_event(NodeStarted, (handler.prompt_id, node_id, mono, expanded)))
        if self._border is not None:
            self.guarded("gpu", self._border, node_id, True)

    def on_node_progress(self, handler: Any, node_id: str | None, value: float, most: float) -> None:
        """A node told how far it is; from any thread, and without its id where the thread doesn't know it."""
        if node_id is not None:
            self.inbox.progress(handler.prompt_id, node_id, value, most)

    def on_node_finish(self, handler: Any, node_id: str, mono: float) -> None:
        """A node is done; one that never started was cached."""
        if self._border is not None:
            self.guarded("gpu", self._border, node_id, False)
        expanded = None if node_id in handler.graph else handler.expanded(node_id)
        self.inbox.append(_event(NodeFinished, (handler.prompt_id, node_id, mono, expanded)))

    def on_task_done(self, queue: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> PromptDone | None:
        """The queue is about to file a prompt; what it made is known."""
        self._worker = threading.current_thread()
        if self.sampler.is_sampling:
            self.guarded("gpu", self.on_sampled, time.perf_counter())
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
        done = PromptDone(kept_id(item[1]), _now(), {**missing, **outputs} if missing else outputs, completed)
        self.recording.ending()
        return done

    def on_done(self, done: PromptDone) -> None:
        """The queue has filed a prompt: history has it."""
        self.inbox.urge(done)

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

    # ------------------------------------------------------------ garbage

    def on_garbage(self, phase: str, info: Mapping[str, Any]) -> None:
        """Python collects garbage.

        ComfyUI makes a full collection on its worker's thread right after a long prompt's end; it holds the GIL
        for up to a second, and nobody would hear of that end before it is over. So it waits until the prompt is
        settled.
        """
        if phase != "start" or info.get("generation") != 2 or threading.current_thread() is not self._worker:
            return
        self.recording.wait_settled(SETTLE_SECONDS)

    # ------------------------------------------------------------ what is asked of the host

    def worker_alive(self) -> bool | None:
        """Whether ComfyUI's worker thread lives; null until it has been seen."""
        return None if self._worker is None else self._worker.is_alive()

    def worker(self) -> Worker:
        """The worker thread's health."""
        alive = self.worker_alive()
        if alive is False:
            self.note_dead_worker()
        return Worker(alive=alive, died_in=self._died_in, prompt_id=self._died_with)

    _died_in: CurrentNode | None = None
    _died_with: str | None = None

    def note_dead_worker(self) -> None:
        """Say in health that the queue is dead, and what killed it."""
        if self._died_with is None:
            self._died_with, self._died_in = self.recording.running_node()
        hint = "ComfyUI's worker thread has ended, so its queue is dead: restart ComfyUI"
        self.problems.report("worker died", hint)

    def seam_health(self) -> dict[str, Seam]:
        """Each seam: whether it is installed, and when it last told something."""
        for name, at in list(self.seen.items()):
            if name in self.seams:
                self.seams[name].last_seen = iso(milliseconds(at))
        return {name: seam.model_copy() for name, seam in self.seams.items()}

    def check_alive(self) -> bool | None:
        """As `worker_alive`; and where it is dead, health says so from now on."""
        alive = self.worker_alive()
        if alive is False:
            self.note_dead_worker()
        return alive

    def is_choice(self, class_type: str, input_name: str) -> bool:
        """Whether a node's input is a choice from a list."""
        if class_type not in self._choices:
            self._choices[class_type] = _choices_of(class_type)
        return input_name in self._choices[class_type]

    def executing(self, unique_id: object) -> tuple[str, str]:
        """The prompt and the node that this thread executes."""
        prompt_id, node_id = None, clean_or_none(unique_id)
        with contextlib.suppress(ImportError, AttributeError):
            context = importlib.import_module("comfy_execution.utils").get_executing_context()
            if context is not None:
                prompt_id, node_id = context.prompt_id, context.node_id
        if prompt_id is None:
            prompt_id = sys.modules["server"].PromptServer.instance.last_prompt_id
        return kept_id(prompt_id), str(node_id)

    def show_text(self, unique_id: object, text: str) -> None:
        """Show a line on the node that this thread executes, in ComfyUI's page, where ComfyUI can do that."""
        server = sys.modules["server"].PromptServer.instance
        send = getattr(server, "send_progress_text", None)
        if send is not None:
            send(text, self.executing(unique_id)[1], server.client_id)

    # ------------------------------------------------------------ installing

    def install(self) -> None:
        """Wrap every seam that this ComfyUI has; say what the others cost."""
        server = sys.modules["server"].PromptServer.instance
        self._wrap_all()
        self._try("progress", self._prepare_progress)
        self._try("on_prompt", lambda: server.add_on_prompt_handler(self._on_prompt))
        self._try("gpu", self.sampler.start)
        self._try("gc", lambda: gc.callbacks.append(self._on_gc))
        self.recording.start()

    def _wrap_all(self, executor: Any = None) -> None:
        """Wrap what ComfyUI calls, as far as that isn't done; again once it runs, as others may have come since."""
        execution, queue, wrap = sys.modules["execution"], _prompt_queue(), self._wrapping.wrap_called
        queues, executors = getattr(execution, "PromptQueue", None), getattr(execution, "PromptExecutor", None)
        self._try("validate", lambda: self._wrapping.wrap(execution, "validate_prompt", self._wrap_validate))
        self._try("put", lambda: wrap(queue, queues, "put", self._wrap_put))
        for name in ("delete_queue_item", "wipe_queue"):
            wrapper = functools.partial(self._wrap_removal, name)
            self._try(name, functools.partial(wrap, queue, queues, name, wrapper))
        self._try("task_done", lambda: wrap(queue, queues, "task_done", self._wrap_task_done))
        self._try("add_message", lambda: wrap(executor, executors, "add_message", self._wrap_add_message))
        with contextlib.suppress(AttributeError):
            self._wrapping.wrap(executors, "execute", self._wrap_execute)

    def on_execute(self, executor: Any) -> None:
        """An executor is about to run a prompt; of one that is new to us, what is called of it is looked at again."""
        if executor is not self._executor:
            self._executor = executor
            self._wrap_all(executor)
            for met in self.waiting():
                self.inbox.urge(met)

    def _try(self, seam: str, install: Callable[[], object]) -> None:
        try:
            install()
        except Exception as error:  # noqa: BLE001  an older or newer ComfyUI may lack it
            self.problems.report(f"seam {seam}", f"this ComfyUI lacks it: {COSTS[seam]}", error)
        else:
            self.seams[seam].installed = True

    def _wrap_put(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def put(*args: Any, **kwargs: Any) -> Any:
            item = args[1] if len(args) > 1 else kwargs.get("item")
            with self._wrapping.call("put", _id_of(item)) as first:
                if not first:
                    return original(*args, **kwargs)
                event = self.guarded("put", self.on_put, item)
                try:
                    result = original(*args, **kwargs)
                except BaseException:
                    self.guarded("put", self.on_put_failed, args[0], item)
                    raise
                if event is not None:
                    self.guarded("put", self.on_put_done, event)
                return result

        return put

    def _wrap_validate(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def told(args: tuple[Any, ...], kwargs: Mapping[str, Any], verdict: Any) -> Any:
            graph = next((one for one in (*args, *kwargs.values()) if isinstance(one, dict)), None)
            self.guarded("validate", self.on_validated, graph, verdict)
            return verdict

        async def awaited(args: tuple[Any, ...], kwargs: Mapping[str, Any], verdict: Any) -> Any:
            return told(args, kwargs, await verdict)

        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            return told(args, kwargs, await original(*args, **kwargs))

        def function(*args: Any, **kwargs: Any) -> Any:
            verdict = original(*args, **kwargs)
            return (awaited if inspect.isawaitable(verdict) else told)(args, kwargs, verdict)

        return coroutine if inspect.iscoroutinefunction(original) else function

    def _wrap_removal(self, seam: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def remove(*args: Any, **kwargs: Any) -> Any:
            queue = args[0]
            with self._wrapping.call("removal") as first, _held(queue):
                if not first:
                    return original(*args, **kwargs)
                before = self.guarded(seam, lambda: list(queue.queue))
                try:
                    return original(*args, **kwargs)
                finally:
                    if before:
                        self.guarded(seam, self.on_unqueued, queue, before)

        return remove

    def _wrap_add_message(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def add_message(*args: Any, **kwargs: Any) -> Any:
            event = args[1] if len(args) > 1 else kwargs.get("event")
            data = args[2] if len(args) > 2 else kwargs.get("data")
            about = data.get("prompt_id") if isinstance(data, dict) else None
            with self._wrapping.call("add_message", event, about) as first:
                if first:
                    self.guarded("add_message", self.on_message, args[0], event, data)
                return original(*args, **kwargs)

        return add_message

    def _wrap_execute(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def execute(*args: Any, **kwargs: Any) -> Any:
            self.guarded("execute", self.on_execute, args[0])
            return original(*args, **kwargs)

        return execute

    def _wrap_task_done(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def task_done(*args: Any, **kwargs: Any) -> Any:
            with self._wrapping.call("task_done") as first:
                if not first:
                    return original(*args, **kwargs)
                done = self.guarded("task_done", self.on_task_done, args[0], args[1:], kwargs)
                try:
                    return original(*args, **kwargs)
                finally:
                    if done is not None:
                        self.guarded("task_done", self.on_done, done)

        return task_done

    def _prepare_progress(self) -> None:
        progress = importlib.import_module("comfy_execution.progress")
        self._handler_class = _handler_class(progress)
        self._add_handler = progress.add_progress_handler

    def _on_prompt(self, data: Any) -> Any:
        self.guarded("on_prompt", self.on_request, data)
        return data

    def _on_gc(self, phase: str, info: dict[str, int]) -> None:
        try:
            if phase == "start":
                self.on_garbage(phase, info)
        except Exception as error:  # noqa: BLE001  a fault of ours never reaches ComfyUI
            self.hook_failed("gc", error)


def _now() -> Stamp:
    return Stamp(time.time(), time.perf_counter())


def _prompt_queue() -> Any:
    """ComfyUI's queue; null where its server has none of this name."""
    return getattr(sys.modules["server"].PromptServer.instance, "prompt_queue", None)


def _id_of(item: Any) -> Any:
    return item[1] if isinstance(item, tuple) and len(item) > 1 else None


@contextlib.contextmanager
def _held(queue: Any) -> Iterator[None]:
    """Hold the queue's own lock, where it is one that its holder may take again."""
    mutex = getattr(queue, "mutex", None)
    with mutex if isinstance(mutex, type(threading.RLock())) else contextlib.nullcontext():
        yield


def _workflow_name(extra: Mapping[str, Any]) -> str | None:
    """The workflow's name, where the client gives one; nothing else of the workflow is looked at."""
    png_info = extra.get("extra_pnginfo")
    workflow = png_info.get("workflow") if isinstance(png_info, Mapping) else None
    if not isinstance(workflow, Mapping):
        return None
    more = workflow.get("extra")
    places = [workflow, more if isinstance(more, Mapping) else {}]
    names = (place.get(key) for place in places for key in ("name", "title", "workflow_name"))
    return next((clean(name, 200) for name in names if isinstance(name, str) and name), None)


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


def _choices_of(class_type: str) -> frozenset[str]:
    """The names of a class' inputs that are choices from a list."""
    try:
        mapping: Mapping[str, Any] = sys.modules["nodes"].NODE_CLASS_MAPPINGS
        groups = mapping[class_type].INPUT_TYPES()
    except Exception:  # noqa: BLE001  a node pack's own code
        return frozenset()
    found = set()
    for group in ("required", "optional"):
        for name, declared in (groups.get(group) or {}).items():
            kind = declared[0] if isinstance(declared, (list, tuple)) and declared else declared
            if isinstance(kind, (list, tuple)) or kind == "COMBO":
                found.add(name)
    return frozenset(found)


def _handler_class(progress: ModuleType) -> type[Any]:
    """Our progress handler; made here because its base class is ComfyUI's."""

    class RecorderHandler(progress.ProgressHandler):  # type: ignore[misc, name-defined]
        """Tells the host of each node of one prompt.

        A node's start and finish are the only code of ours that ComfyUI's executing thread runs for every node, so
        they carry their guard themselves, and count what they cost.
        """

        def __init__(self, host: Host, prompt_id: str) -> None:
            super().__init__("run-recorder")
            self.host = host
            self.cost = host.cost
            self.prompt_id = prompt_id
            self.dynprompt: Any = None
            self.graph: Mapping[str, Any] = {}

        def set_registry(self, registry: Any) -> None:
            self.dynprompt = getattr(registry, "dynprompt", None)
            self.graph = getattr(self.dynprompt, "original_prompt", None) or {}

        def expanded(self, node_id: str) -> ExpandedNode | None:
            if self.dynprompt is None:
                return None
            node = self.dynprompt.get_node(node_id)
            meta = node.get("_meta")
            return ExpandedNode(
                clean_or_none(node.get("class_type"), 200),
                clean_or_none(meta.get("title"), 200) if isinstance(meta, Mapping) else None,
                self.dynprompt.get_display_node_id(node_id),
                self.dynprompt.get_parent_node_id(node_id),
            )

        def start_handler(self, node_id: str, *args: Any, **kwargs: Any) -> None:
            began = perf_counter()
            host = self.host
            try:
                host.seen["progress"] = wall_time()
                host.on_node_start(self, node_id, began)
            except Exception as error:  # noqa: BLE001  as in `guarded`
                host.hook_failed("progress", error)
            self.cost.seconds += perf_counter() - began

        def update_handler(
            self, node_id: str | None, value: float, max_value: float, *args: Any, **kwargs: Any
        ) -> None:
            self.host.guarded("progress", self.host.on_node_progress, self, node_id, value, max_value)

        def finish_handler(self, node_id: str, *args: Any, **kwargs: Any) -> None:
            began = perf_counter()
            host = self.host
            try:
                host.seen["progress"] = wall_time()
                host.on_node_finish(self, node_id, began)
            except Exception as error:  # noqa: BLE001  as in `guarded`
                host.hook_failed("progress", error)
            cost = self.cost
            cost.nodes += 1
            cost.seconds += perf_counter() - began

    return RecorderHandler


# ---------------------------------------------------------------- what the recorder is told of this process


def private_folder() -> Path:
    """A folder of ours that ComfyUI's own HTTP API never serves."""
    folder_paths = sys.modules["folder_paths"]
    named = getattr(folder_paths, "get_system_user_directory", None)
    if named is not None:
        return Path(named(SYSTEM_FOLDER))
    return Path(folder_paths.get_user_directory()) / f"__{SYSTEM_FOLDER}"


def roots() -> dict[str, Path]:
    """The folders of `output`, `temp` and `input`, as they are now."""
    folder_paths = sys.modules["folder_paths"]
    return {
        "output": Path(folder_paths.get_output_directory()),
        "temp": Path(folder_paths.get_temp_directory()),
        "input": Path(folder_paths.get_input_directory()),
    }


def port() -> int | None:
    """The port that the server listens on; null until it does."""
    value = getattr(sys.modules["server"].PromptServer.instance, "port", None)
    return value if isinstance(value, int) else None


def loopback_only(listening_on: int | None) -> bool | None:
    """Whether this process listens on a port on loopback addresses alone; null where that can't be told."""
    try:
        sockets = psutil.Process().net_connections(kind="tcp")
    except (AttributeError, OSError, psutil.Error):  # AttributeError: psutil before 6
        return _told_loopback_only()
    addresses = [one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN and one.laddr.port == listening_on]
    return all(_is_loopback(address) for address in addresses) if addresses else None


def _told_loopback_only() -> bool | None:
    """The same as far as ComfyUI's options tell it."""
    told = getattr(getattr(sys.modules.get("comfy.cli_args"), "args", None), "listen", None)
    return all(_is_loopback(one.strip()) for one in told.split(",")) if isinstance(told, str) else None


def _is_loopback(address: str) -> bool:
    with contextlib.suppress(ValueError):
        found = ipaddress.ip_address(address)
        return (getattr(found, "ipv4_mapped", None) or found).is_loopback
    return address == "localhost"


def comfyui_version() -> str | None:
    """ComfyUI's version; null where it doesn't say."""
    with contextlib.suppress(ImportError):
        return clean_or_none(getattr(importlib.import_module("comfyui_version"), "__version__", None), 80)
    return None


def environment() -> Environment:
    """What prompts of this process run on."""
    folder_paths = sys.modules["folder_paths"]
    return gather(
        comfyui_version=comfyui_version(),
        arguments=sys.argv[1:],
        node_folders=[Path(folder) for folder in folder_paths.get_folder_paths("custom_nodes")],
        devices=_device_names(),
        driver_version=nvidia_driver_version(),
    )


def _device_names() -> list[str]:
    management = sys.modules.get("comfy.model_management")
    try:
        device = management.get_torch_device()  # type: ignore[union-attr]
        return [clean(str(management.get_torch_device_name(device)), 200)]  # type: ignore[union-attr]
    except Exception:  # noqa: BLE001  a driver's or torch's own trouble
        return []


class Torch:
    """What torch and ComfyUI's model management tell of devices and of loaded models. Imports neither."""

    def devices(self, with_memory: bool) -> list[HostDevice]:
        """ComfyUI's devices, the one that it computes on first."""
        management = sys.modules["comfy.model_management"]
        current = management.get_torch_device()
        every = getattr(management, "get_all_torch_devices", lambda: [current])()
        others = [device for device in every if device != current]
        return [self._device(management, device, with_memory) for device in [current, *others]]

    def _device(self, management: ModuleType, device: Any, with_memory: bool) -> HostDevice:
        kind = str(getattr(device, "type", "directml"))
        backend = self._backend(device)
        if backend is None:
            return HostDevice(kind, getattr(device, "index", None), str(management.get_torch_device_name(device)))
        if kind == "mps":
            allocated, reserved = backend.current_allocated_memory(), backend.driver_allocated_memory()
            return HostDevice(kind, None, "Apple GPU", allocated=allocated, reserved=reserved)
        about = backend.get_device_properties(device)
        found = HostDevice(
            "rocm" if kind == "cuda" and sys.modules["torch"].version.hip else kind,
            device.index if device.index is not None else backend.current_device(),
            about.name,
            str(about.uuid) if getattr(about, "uuid", None) is not None else None,
            _pci_address(about),
        )
        if with_memory and hasattr(backend, "mem_get_info"):
            found.vram_free, found.vram_total = backend.mem_get_info(device)
        stats = backend.memory_stats_as_nested_dict(device)
        if stats:
            found.allocated = stats["allocated_bytes"]["all"]["current"]
            found.reserved = stats["reserved_bytes"]["all"]["current"]
        return found

    def _backend(self, device: Any) -> Any:
        """Torch's module for a device; null for a processor, and for what torch has no counters of."""
        kind = getattr(device, "type", None)
        return getattr(sys.modules.get("torch"), kind, None) if kind in ("cuda", "xpu", "mps") else None

    def loaded_models(self) -> frozenset[int] | None:
        """Marks of the models that are loaded now."""
        loaded = getattr(sys.modules["comfy.model_management"], "current_loaded_models", None)
        if not isinstance(loaded, list):
            return None
        models = [entry.model for entry in list(loaded)]
        return frozenset(id(model) for model in models if model is not None)

    def peak_reader(self, borders: deque[Border]) -> Callable[[str | None, bool], None] | None:
        """What the executing thread calls at each border of a node; null where the device has no peaks to reset.

        Takes the node's id, null for the prompt itself, and whether it begins.
        """
        device = sys.modules["comfy.model_management"].get_torch_device()
        backend = self._backend(device)
        if not hasattr(backend, "reset_peak_memory_stats"):
            return None
        read, reset = backend.memory_stats_as_nested_dict, backend.reset_peak_memory_stats

        def border(node_id: str | None, begins: bool) -> None:
            stats = read(device)
            if not stats:
                return
            allocated, reserved = stats["allocated_bytes"]["all"], stats["reserved_bytes"]["all"]
            borders.append(Border(node_id, begins, allocated["current"], allocated["peak"], reserved["peak"]))
            reset(device)

        return border


def _pci_address(about: Any) -> str | None:
    bus, device = getattr(about, "pci_bus_id", None), getattr(about, "pci_device_id", None)
    if not isinstance(bus, int) or not isinstance(device, int):
        return None
    return f"{getattr(about, 'pci_domain_id', 0):04x}:{bus:02x}:{device:02x}.0"


def _recording_host(host: Host) -> HostProcess:
    return HostProcess(
        private_folder=private_folder(),
        roots=roots,
        worker_alive=host.check_alive,
        queued_ids=host.queued_ids,
        waiting=host.waiting,
        in_history=host.in_history,
        is_choice=host.is_choice,
        port=port,
        environment=environment,
        database_url=os.environ.get("RUN_RECORDER_DATABASE_URL", "").strip() or None,
    )


def install() -> Host | None:
    """Install the recorder in this ComfyUI; null where another copy of this package has done so."""
    queue = getattr(sys.modules["execution"], "PromptQueue", None)
    first = getattr(queue, _MARK, None)
    if first is not None:
        first.note_second_copy(str(Path(__file__).parent))
        return None
    host = Host(_recording_host)
    host.install()
    atexit.register(host.recording.stop, STOP_SECONDS)
    atexit.register(host.sampler.stop, STOP_SECONDS)
    if queue is not None:
        setattr(queue, _MARK, host)
    return host
