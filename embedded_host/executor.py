"""Executes prompts one after the other on the worker's thread: ``execution.PromptExecutor``."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from . import nodes
from .cache import CacheSet
from .calling import Call, finished
from .failure import describe_cycle
from .graph import DynamicPrompt
from .graph_utils import ExecutionBlocker
from .inputs import gather
from .plan import DependencyCycleError
from .progress import add_progress_handler, reset_progress_state
from .run import Messenger, NodeFailed, PromptRun
from .v3_node import ComfyNode
from .web_progress import WebProgress


class PromptExecutor:
    """Keeps results from prompt to prompt; what became of the last one stands in its attributes."""

    def __init__(self, server: Messenger) -> None:
        self.server = server
        self.reset()

    def reset(self) -> None:
        """Forget all results."""
        self.caches = CacheSet()
        self.status_messages: list[Any] = []
        self.history_result: dict[str, Any] = {}
        self.success = True

    def add_message(self, event: str, data: dict[str, Any], broadcast: bool) -> None:
        """Note what has become of the prompt, with the time in ms, and tell the page that asked for it or all."""
        stamped = {**data, "timestamp": int(time.time() * 1000)}
        self.status_messages.append((event, stamped))
        if self.server.client_id is not None or broadcast:
            self.server.send_sync(event, stamped, self.server.client_id)

    def execute(
        self,
        prompt: dict[str, Any],
        prompt_id: str,
        extra_data: dict[str, Any] | None = None,
        execute_outputs: list[str] | None = None,
    ) -> None:
        """Run a prompt to its end, however it ends; returns when it has."""
        asyncio.run(self.execute_async(prompt, prompt_id, extra_data or {}, execute_outputs or []))

    async def execute_async(
        self, prompt: dict[str, Any], prompt_id: str, extra_data: dict[str, Any], execute_outputs: list[str]
    ) -> None:
        """The same on a loop of the caller's."""
        nodes.interrupt_processing(False)
        self.server.client_id = extra_data.get("client_id")
        self.status_messages = []
        self.add_message("execution_start", {"prompt_id": prompt_id}, broadcast=False)
        run = await self._begin(DynamicPrompt(prompt), prompt_id, extra_data)
        cached = [node_id for node_id in prompt if await self.caches.outputs.get(node_id) is not None]
        self.add_message("execution_cached", {"nodes": cached, "prompt_id": prompt_id}, broadcast=False)
        for node_id in execute_outputs:
            run.plan.add(node_id)
        await self._work(run)
        self.history_result = {
            "outputs": {node_id: shown["output"] for node_id, shown in run.shown.items()},
            "meta": {node_id: shown["meta"] for node_id, shown in run.shown.items()},
        }
        self.server.last_node_id = None

    async def _begin(self, dynprompt: DynamicPrompt, prompt_id: str, extra_data: dict[str, Any]) -> PromptRun:
        reset_progress_state(prompt_id, dynprompt)
        add_progress_handler(WebProgress(self.server))
        await self.caches.outputs.open(dynprompt, _Fingerprints(dynprompt, prompt_id).of)
        self.caches.keep_objects_of(dynprompt)
        return PromptRun(self.server, self.caches, dynprompt, prompt_id, extra_data)

    async def _work(self, run: PromptRun) -> None:
        try:
            while run.plan:
                node_id = await run.plan.next()
                self.success = False
                await run.step(node_id)
                self.success = True
                self.caches.outputs.drop_unused()
        except NodeFailed as failure:
            self._tell_failure(run, failure.node_id, failure.details)
        except DependencyCycleError as cycle:
            # `success` stays as it is: the real one, too, says success in its history and error in its message
            self._tell_failure(run, cycle.node_id, describe_cycle(cycle))
        else:
            self.add_message("execution_success", {"prompt_id": run.prompt_id}, broadcast=False)

    def _tell_failure(self, run: PromptRun, node_id: str, details: dict[str, Any] | None) -> None:
        known = list(run.dynprompt.original_prompt)
        node_type = run.dynprompt.original_prompt[node_id]["class_type"]
        whose = {"prompt_id": run.prompt_id, "node_id": node_id, "node_type": node_type}
        whose["executed"] = list(run.executed)
        if details is None:
            self.add_message("execution_interrupted", whose, broadcast=True)
        else:
            self.add_message("execution_error", {**whose, **details, "current_outputs": known}, broadcast=False)


class _Fingerprints:
    """What the nodes of a prompt say when asked whether they must run again; each is asked once."""

    def __init__(self, dynprompt: DynamicPrompt, prompt_id: str) -> None:
        self._dynprompt = dynprompt
        self._prompt_id = prompt_id
        self._told: dict[str, Any] = {}

    async def of(self, node_id: str) -> Any:
        if node_id not in self._told:
            self._told[node_id] = await self._ask(node_id)
        return self._told[node_id]

    async def _ask(self, node_id: str) -> Any:
        node = self._dynprompt.get_node(node_id)
        node_class = nodes.NODE_CLASS_MAPPINGS[node["class_type"]]
        method = "IS_CHANGED"
        if issubclass(node_class, ComfyNode) and node_class.overrides("fingerprint_inputs"):
            method = "fingerprint_inputs"
        if not hasattr(node_class, method):
            return False
        try:
            gathered = gather(node_class, node_id, node["inputs"])
            answers = await finished(await Call(node_class, method, self._prompt_id, node_id).over(gathered))
        except Exception as error:  # noqa: BLE001 - a node that can't say is taken as changed
            logging.warning("WARNING: %s", error)
            return float("nan")
        return [None if isinstance(answer, ExecutionBlocker) else answer for answer in answers]
