"""One prompt being executed: node after node, until all are done or one fails."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from . import nodes
from .answers import Answers, merge
from .cache import CacheEntry, CacheSet
from .calling import Call, finished, unfinished
from .failure import describe
from .graph import DynamicPrompt
from .graph_utils import ExecutionBlocker, is_link
from .inputs import Gathered, gather
from .model_management import InterruptProcessingException
from .plan import Plan
from .progress import get_progress_state
from .v3_node import ComfyNode


class Messenger(Protocol):
    """The server, as far as a run needs it."""

    client_id: str | None
    last_node_id: str | None

    def send_sync(self, event: str, data: Any, sid: str | None = None) -> None:
        """Tell the page."""


class NodeFailed(Exception):  # noqa: N818 - it says what happened
    """A node has raised. ``details`` is None for an interrupt."""

    def __init__(self, node_id: str, details: dict[str, Any] | None) -> None:
        super().__init__(node_id)
        self.node_id = node_id
        self.details = details


class PromptRun:
    """The state of one prompt while it runs."""

    def __init__(
        self,
        server: Messenger,
        caches: CacheSet,
        dynprompt: DynamicPrompt,
        prompt_id: str,
        extra_data: dict[str, Any],
    ) -> None:
        self.server = server
        self.caches = caches
        self.dynprompt = dynprompt
        self.prompt_id = prompt_id
        self.extra_data = extra_data
        self.plan = Plan(dynprompt, lambda node_id: self._result(node_id) is not None)
        self.executed: set[str] = set()
        self.shown: dict[str, dict[str, Any]] = {}
        self._results: dict[str, CacheEntry] = {}
        self._tasks: dict[str, list[Any]] = {}
        self._expanded: dict[str, Answers] = {}

    async def step(self, node_id: str) -> None:
        """Stage one node. It stays in the plan if it turns out to wait for something."""
        if (entry := await self.caches.outputs.get(node_id)) is not None:
            self._repeat(node_id, entry)
        elif await self._execute(node_id):
            self.executed.add(node_id)
        else:
            return
        self.plan.close(node_id)

    def _result(self, node_id: str) -> CacheEntry | None:
        return self._results.get(node_id) or self.caches.outputs.get_local(node_id)

    def _repeat(self, node_id: str, entry: CacheEntry) -> None:
        """A node whose result is known: show again what it showed."""
        if entry.ui is not None:
            self.shown[node_id] = entry.ui
        self._tell("executed", node_id, output=(entry.ui or {}).get("output"))
        get_progress_state().finish_progress(node_id)
        self._results[node_id] = entry

    async def _execute(self, node_id: str) -> bool:
        gathered = Gathered()
        try:
            done = await self._advance(node_id, gathered)
        except InterruptProcessingException as interrupt:
            logging.info("Processing interrupted")
            raise NodeFailed(self.dynprompt.get_real_node_id(node_id), None) from interrupt
        except Exception as error:
            logging.error("!!! Exception during processing !!! %s", error, exc_info=error)
            real = self.dynprompt.get_real_node_id(node_id)
            raise NodeFailed(real, describe(error, gathered.values)) from error
        if done:
            get_progress_state().finish_progress(node_id)
        return done

    async def _advance(self, node_id: str, gathered: Gathered) -> bool:
        """Take a node one step further. False: it now waits."""
        node_class = self._class_of(node_id)
        if node_id in self._expanded:
            await self._keep(node_id, self._resolved(self._expanded.pop(node_id), node_class))
            return True
        if node_id in self._tasks:
            returned = [a.result() if isinstance(a, asyncio.Task) else a for a in self._tasks.pop(node_id)]
        else:
            answers = await self._start(node_id, gathered)
            if answers is None:
                return False
            returned = answers
        return await self._settle(node_id, node_class, Answers.read(returned, node_class))

    async def _start(self, node_id: str, gathered: Gathered) -> list[Any] | None:
        """Call the node. None: it waits for lazy inputs, or for its coroutines."""
        get_progress_state().start_progress(node_id)
        node = self.dynprompt.get_node(node_id)
        node_class = self._class_of(node_id)
        fresh = gather(node_class, node_id, node["inputs"], self._result, self.dynprompt, self.extra_data)
        gathered.values, gathered.missing, gathered.hidden = fresh.values, fresh.missing, fresh.hidden
        self._announce(node_id)
        target = self.caches.node_object(node_id, node["class_type"])
        if wanted := await self._lazy_wishes(target, node_id, gathered):
            for name in wanted:
                self.plan.require_input(node_id, name)
            return None
        call = Call(target, node_class.FUNCTION, self.prompt_id, node_id, self._on_block(node_id), True, True)
        answers = await call.over(gathered)
        if waiting := unfinished(answers):
            self._tasks[node_id] = answers
            self._await(waiting, self.plan.hold(node_id))
            return None
        return [a.result() if isinstance(a, asyncio.Task) else a for a in answers]

    def _await(self, waiting: list[asyncio.Task[Any]], free: Any) -> None:
        together = asyncio.gather(*waiting, return_exceptions=True)
        together.add_done_callback(lambda _: free())

    async def _lazy_wishes(self, target: Any, node_id: str, gathered: Gathered) -> list[str]:
        """The inputs that the node says it needs and that aren't there yet."""
        node_class = type(target)
        if issubclass(node_class, ComfyNode):
            if not node_class.overrides("check_lazy_status"):
                return []
        elif not hasattr(target, "check_lazy_status"):
            return []
        call = Call(target, "check_lazy_status", self.prompt_id, node_id, interruptible=True)
        answers = await finished(await call.over(gathered))
        named = dict.fromkeys(name for answer in answers if isinstance(answer, list) for name in answer)
        return [name for name in named if name not in gathered.values or name in gathered.missing]

    async def _settle(self, node_id: str, node_class: type[Any], answers: Answers) -> bool:
        """What a node has given: keep it, or wait for the graph that it expands into."""
        if shown := answers.shown():
            self.shown[node_id] = {"meta": self._meta(node_id), "output": shown}
            self._tell("executed", node_id, output=shown)
        if not answers.expands():
            await self._keep(node_id, answers.outputs(node_class))
            return True
        for answer in answers.calls:
            await self._expand(node_id, answer.graph or {})
        for answer in answers.calls:
            for value in answer.result or () if answer.graph is not None else ():
                if is_link(value):
                    self.plan.require(node_id, value[0])
        self._expanded[node_id] = answers
        return False

    async def _expand(self, parent: str, graph: dict[str, Any]) -> None:
        for node_id, info in graph.items():
            self.dynprompt.add_ephemeral_node(node_id, info, parent, info.get("override_display_id", parent))
        await self.caches.outputs.add(list(graph), parent)
        for node_id in graph:
            if getattr(self._class_of(node_id), "OUTPUT_NODE", False):
                self.plan.add(node_id)

    def _resolved(self, answers: Answers, node_class: type[Any]) -> list[list[Any]]:
        """An expanded node's outputs: those of the inner nodes that its answer links to."""
        results = []
        for call in answers.calls:
            if call.graph is None:
                results.append(call.result)
            else:
                results.append([value for entry in call.result or () for value in self._behind(entry)])
        return merge(results, node_class)

    def _behind(self, value: Any) -> list[Any]:
        if not is_link(value):
            return [value]
        entry = self._result(value[0])
        assert entry is not None, "the plan runs an expansion's nodes before their parent"
        found: list[Any] = entry.outputs[value[1]]
        return found

    async def _keep(self, node_id: str, outputs: list[Any]) -> None:
        entry = CacheEntry(self.shown.get(node_id), outputs)
        for slot in self.plan.wanted_outputs(node_id):
            outputs[slot]  # one that isn't there is this node's failure, not the next one's
        self._results[node_id] = entry
        await self.caches.outputs.set(node_id, entry)

    def _on_block(self, node_id: str) -> Any:
        """A block with a message is told to the page, and to nobody else."""

        def told(blocker: ExecutionBlocker) -> ExecutionBlocker:
            if blocker.message is None:
                return blocker
            class_type = self.dynprompt.get_node(node_id)["class_type"]
            error = {"exception_message": f"Execution Blocked: {blocker.message}", "traceback": []}
            error |= {"exception_type": "ExecutionBlocked", "current_inputs": [], "current_outputs": []}
            whose = {"prompt_id": self.prompt_id, "node_id": node_id, "node_type": class_type}
            message = {**whose, "executed": list(self.executed), **error}
            self.server.send_sync("execution_error", message, self.server.client_id)
            return ExecutionBlocker(None)

        return told

    def _announce(self, node_id: str) -> None:
        if self.server.client_id is not None:
            self.server.last_node_id = self.dynprompt.get_display_node_id(node_id)
            self._tell("executing", node_id)

    def _tell(self, event: str, node_id: str, **more: Any) -> None:
        if self.server.client_id is None:
            return
        display = self.dynprompt.get_display_node_id(node_id)
        data = {"node": node_id, "display_node": display, **more, "prompt_id": self.prompt_id}
        self.server.send_sync(event, data, self.server.client_id)

    def _meta(self, node_id: str) -> dict[str, Any]:
        return {
            "node_id": node_id,
            "display_node": self.dynprompt.get_display_node_id(node_id),
            "parent_node": self.dynprompt.get_parent_node_id(node_id),
            "real_node_id": self.dynprompt.get_real_node_id(node_id),
        }

    def _class_of(self, node_id: str) -> type[Any]:
        return nodes.NODE_CLASS_MAPPINGS[self.dynprompt.get_node(node_id)["class_type"]]
