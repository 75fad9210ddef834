"""ComfyUI's queue: what is posted, checked, queued, refused and taken out again, and what waits there."""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ..telemetry.models.conditions import Client
from ..telemetry.models.text import clean, clean_or_none, id_note, kept_id
from ..telemetry.record.events import PromptDone, PromptMet, PromptQueued, PromptRefused, PromptUnqueued
from ..telemetry.record.inbox import Inbox
from .moment import now
from .process import server
from .seams import Seams
from .wrapping import Wrapping

REQUESTS_KEPT = 256
"""So many posted requests wait to be joined with what is put into the queue."""


def prompt_queue() -> Any:
    """ComfyUI's queue; null where its server has none of this name."""
    return getattr(server(), "prompt_queue", None)


class _Request(NamedTuple):
    """What a client posted, until it is known what became of it."""

    graph: Mapping[str, Any]
    restricted: bool | None
    """Whether it names its targets; null where the request was not seen."""
    prompt_id: Any
    client_id: Any
    workflow_name: str | None
    batch: Any
    has_workflow: bool
    """Of its `extra_data`, which may be large, no more than these three are held."""


class QueueSeams:
    """The hooks around the queue. They run on the server's event loop, each under the guard."""

    HOOKS = ("on_request", "on_validated", "on_put", "on_put_failed", "on_put_done", "on_unqueued")
    """A test makes each of them raise."""

    def __init__(
        self,
        inbox: Inbox,
        seams: Seams,
        wrapping: Wrapping,
        make_certain: Callable[[PromptQueued], object],
        when_first_posted: Callable[[], None],
    ) -> None:
        self._inbox = inbox
        self._seams = seams
        self._guarded = seams.guarded
        self._wrapping = wrapping
        self._make_certain = make_certain
        self._when_first_posted = when_first_posted
        self._posted = False
        self._requests: deque[_Request] = deque(maxlen=REQUESTS_KEPT)
        self._verdicts: deque[tuple[Any, Mapping[Any, Any]]] = deque(maxlen=REQUESTS_KEPT)

    def install(self, execution: Any) -> None:
        """Wrap what ComfyUI calls of the queue, as far as that isn't done; `execution` is its module of that name."""
        queue, queues, wrap = prompt_queue(), getattr(execution, "PromptQueue", None), self._wrapping.wrap_called
        install = self._seams.install
        install("validate", lambda: self._wrapping.wrap(execution, "validate_prompt", self._wrap_validate))
        install("put", lambda: wrap(queue, queues, "put", self._wrap_put))
        for name in ("delete_queue_item", "wipe_queue"):
            wrapper = functools.partial(self._wrap_removal, name)
            install(name, functools.partial(wrap, queue, queues, name, wrapper))

    def install_request(self) -> None:
        """Be told of what is posted, by the server's own public way."""
        self._seams.install("on_prompt", lambda: server().add_on_prompt_handler(self._on_prompt))

    def _on_prompt(self, data: Any) -> Any:
        self._guarded("on_prompt", self.on_request, data)
        return data

    # ------------------------------------------------------------ the hooks

    def on_request(self, data: Any) -> None:
        """A prompt was posted; nothing is known of it yet but whether it restricts its targets.

        By the first one every pack is loaded, so what they have put over our functions since is wrapped, too.
        """
        if not self._posted:
            self._posted = True
            self._when_first_posted()
        if isinstance(data, dict) and isinstance(data.get("prompt"), dict):
            extra = data.get("extra_data")
            self._requests.append(
                _Request(
                    graph=data["prompt"],
                    restricted="partial_execution_targets" in data and bool(data["partial_execution_targets"]),
                    prompt_id=data.get("prompt_id"),
                    client_id=data.get("client_id"),
                    **_told_beside(extra),
                )
            )

    def on_validated(self, prompt_id: str | None, graph: Any, verdict: Any) -> None:
        """ComfyUI has checked a graph: good or not, an error of all, the outputs that it runs, the errors by node.

        `prompt_id` is null where this version checks without one.
        """
        if not isinstance(verdict, (tuple, list)) or len(verdict) < 4:
            return
        node_errors = verdict[3] if isinstance(verdict[3], Mapping) else {}
        if verdict[0] is True:
            self._verdicts.append((graph, node_errors))
        elif verdict[0] is False:
            self._refused(prompt_id, graph, verdict[1], node_errors)

    def _refused(self, prompt_id: str | None, graph: Any, error: Any, node_errors: Mapping[Any, Any]) -> None:
        """All outputs of a graph are refused. Recorded where it was posted: others may only ask whether it is good."""
        request = self._posted_with(graph)
        if request is None:
            return
        self._requests = deque((one for one in self._requests if one is not request), REQUESTS_KEPT)
        told = prompt_id or request.prompt_id
        as_queued = self._event(told if isinstance(told, str) else str(uuid.uuid4()), None, request, node_errors)
        self._inbox.urge(PromptRefused(as_queued, error if isinstance(error, Mapping) else None))

    def _posted_with(self, graph: Any) -> _Request | None:
        """The newest request that posted this very graph."""
        return next((request for request in reversed(self._requests) if request.graph is graph), None)

    def on_put(self, item: Any) -> PromptQueued:
        """A prompt is being put into the queue."""
        event = self.queued_event(item)
        self._inbox.urge(event)
        return event

    def on_put_done(self, event: PromptQueued) -> None:
        """The prompt is in the queue, and its client is about to be told so.

        What a client was told must not be lost by a kill, so its record is committed first, or synced to the spool;
        this thread is the server's, not the executing one, and it waits for a few milliseconds, never long.
        """
        self._make_certain(event)

    def queued_event(self, item: Any) -> PromptQueued:
        """What an item of the queue says of its prompt, as if it were queued now."""
        number, prompt_id, graph = item[0], item[1], item[2]
        extra = item[3] if len(item) > 3 and isinstance(item[3], Mapping) else {}
        accepted = frozenset(str(node_id) for node_id in item[4]) if len(item) > 4 else frozenset()
        posted = self._posted_with(graph)
        restricted = posted.restricted if posted is not None else None
        request = _Request(graph, restricted, prompt_id, extra.get("client_id"), **_told_beside(extra))
        node_errors = next((errors for asked, errors in reversed(self._verdicts) if asked is graph), None)
        return self._event(prompt_id, number, request, node_errors, accepted)

    def _event(
        self,
        prompt_id: Any,
        number: float | None,
        request: _Request,
        node_errors: Mapping[Any, Any] | None,
        accepted: frozenset[str] = frozenset(),
    ) -> PromptQueued:
        return PromptQueued(
            prompt_id=kept_id(prompt_id),
            at=now(),
            number=number,
            graph=request.graph,
            accepted=accepted,
            restricted=request.restricted,
            client_id=clean_or_none(request.client_id),
            workflow_name=request.workflow_name,
            batch=request.batch if isinstance(request.batch, Mapping) else None,
            node_errors=node_errors,
            client=_client(request),
            id_note=id_note(prompt_id),
        )

    def on_put_failed(self, queue: Any, item: Any) -> None:
        """The queue refused a prompt, and the client is told 500.

        Where two entries can't be ordered (same number, same id) the heap has taken the second all the same: then
        it will run, and its record stands.
        """
        if any(other is item for other in queue.queue):
            return
        self._inbox.urge(PromptUnqueued(kept_id(item[1]), now(), item[2], "refused"))

    def queued_ids(self) -> frozenset[str] | None:
        """The ids of the prompts that ComfyUI's queue holds or runs; null where it can't be asked. Any thread."""
        queue = prompt_queue()
        try:
            items = [*list(queue.queue), *list(queue.currently_running.values())]
            return frozenset(kept_id(item[1]) for item in items)
        except (AttributeError, TypeError, LookupError, RuntimeError):
            return None

    def waiting(self, prompt_id: str | None = None) -> list[PromptMet]:
        """The prompts, or those of one id, that wait in ComfyUI's queue; none where it can't be asked. Any thread."""
        with contextlib.suppress(AttributeError, TypeError, LookupError, RuntimeError):
            items = sorted(prompt_queue().queue, key=lambda item: item[0])
            return [PromptMet(self.queued_event(item)) for item in items if prompt_id in (None, kept_id(item[1]))]
        return []

    def in_history(self, prompt_id: str, number: float | None) -> PromptDone | None:
        """The end of a prompt as ComfyUI's history has it; null where it hasn't. Any thread."""
        entry = getattr(prompt_queue(), "history", {}).get(prompt_id)
        if not isinstance(entry, Mapping) or entry["prompt"][0] != number:
            return None
        status = entry.get("status") or {}
        return PromptDone(prompt_id, now(), entry.get("outputs") or {}, status.get("status_str") == "success")

    def on_unqueued(self, queue: Any, before: list[Any]) -> None:
        """The queue has become shorter by other means than its worker: what is gone was cancelled."""
        left = {id(item) for item in queue.queue}
        for item in before:
            if id(item) not in left:
                self._inbox.urge(PromptUnqueued(kept_id(item[1]), now(), item[2]))

    # ------------------------------------------------------------ the wrappers

    def _wrap_put(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def put(*args: Any, **kwargs: Any) -> Any:
            item = args[1] if len(args) > 1 else kwargs.get("item")
            with self._wrapping.call("put", _id_of(item)) as first:
                if not first:
                    return original(*args, **kwargs)
                event = self._guarded("put", self.on_put, item)
                try:
                    result = original(*args, **kwargs)
                except BaseException:
                    self._guarded("put", self.on_put_failed, args[0], item)
                    raise
                if event is not None:
                    self._guarded("put", self.on_put_done, event)
                return result

        return put

    def _wrap_validate(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def told(args: tuple[Any, ...], kwargs: Mapping[str, Any], verdict: Any) -> Any:
            given = (*args, *kwargs.values())
            graph = next((one for one in given if isinstance(one, dict)), None)
            prompt_id = next((one for one in given if isinstance(one, str)), None)
            self._guarded("validate", self.on_validated, prompt_id, graph, verdict)
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
                before = self._guarded(seam, lambda: list(queue.queue))
                try:
                    return original(*args, **kwargs)
                finally:
                    if before:
                        self._guarded(seam, self.on_unqueued, queue, before)

        return remove


def _id_of(item: Any) -> Any:
    return item[1] if isinstance(item, tuple) and len(item) > 1 else None


@contextlib.contextmanager
def _held(queue: Any) -> Iterator[None]:
    """Hold the queue's own lock, where it is one that its holder may take again."""
    mutex = getattr(queue, "mutex", None)
    with mutex if isinstance(mutex, type(threading.RLock())) else contextlib.nullcontext():
        yield


def _client(request: _Request) -> Client:
    """ComfyUI's page sends its workflow along, which no script has reason to."""
    if isinstance(request.batch, Mapping):
        return "runner"
    return "web page" if request.has_workflow and request.client_id else "api"


def _told_beside(extra: Any) -> dict[str, Any]:
    """What the `extra_data` of a request says of a prompt."""
    given = extra if isinstance(extra, Mapping) else {}
    png_info = given.get("extra_pnginfo")
    has_workflow = isinstance(png_info, Mapping) and isinstance(png_info.get("workflow"), Mapping)
    return {
        "workflow_name": _workflow_name(given),
        "batch": given.get("run_recorder"),
        "has_workflow": has_workflow,
    }


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
