"""Calling a node: once, or once for each element of its longest list of inputs."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import nodes
from .context import ExecutionContext, executing
from .graph_utils import ExecutionBlocker, GraphBuilder
from .inputs import Gathered
from .v3_node import ComfyNode

Blocked = Callable[[ExecutionBlocker], ExecutionBlocker]


@dataclass
class Call:
    """One method of one node, to be called over its inputs.

    ``on_block`` is told of a blocker among the inputs. ``interruptible`` calls notice an interrupt; ``expandable``
    ones may build graphs.
    """

    target: Any
    method: str
    prompt_id: str
    node_id: str
    on_block: Blocked | None = None
    interruptible: bool = False
    expandable: bool = False

    async def over(self, gathered: Gathered) -> list[Any]:
        """The answer of each call; a coroutine that isn't done yet stands there as its task."""
        values = gathered.values
        if getattr(self.target, "INPUT_IS_LIST", False):
            return [await self._once(values, 0, gathered.hidden)]
        rounds = max((len(column) for column in values.values()), default=0)
        if not rounds:  # empty lists only: ComfyUI calls with nothing at all
            return [await self._once({}, None, gathered.hidden)]
        return [await self._once(_row(values, i), i, gathered.hidden) for i in range(rounds)]

    async def _once(self, inputs: dict[str, Any], index: int | None, hidden: dict[str, Any]) -> Any:
        if self.interruptible:
            nodes.before_node_execution()
        if (blocker := self._blocker(inputs)) is not None:
            return self.on_block(blocker) if self.on_block is not None else blocker
        if self.expandable and index is not None:
            GraphBuilder.set_default_prefix(self.node_id, index, 0)
        function = self._function(hidden)
        context = ExecutionContext(self.prompt_id, self.node_id, index)
        if not inspect.iscoroutinefunction(function):
            with executing(context):
                return function(**inputs)
        return await self._started(function, inputs, context)

    def _blocker(self, inputs: dict[str, Any]) -> ExecutionBlocker | None:
        whole = getattr(self.target, "INPUT_IS_LIST", False)
        for value in inputs.values():
            for candidate in value if whole else [value]:
                if isinstance(candidate, ExecutionBlocker):
                    return candidate
        return None

    def _function(self, hidden: dict[str, Any]) -> Any:
        node_class = self.target if inspect.isclass(self.target) else type(self.target)
        if issubclass(node_class, ComfyNode):
            return getattr(node_class.prepare(hidden), self.method)
        return getattr(self.target, self.method)

    async def _started(self, function: Any, inputs: dict[str, Any], context: ExecutionContext) -> Any:
        async def as_node() -> Any:
            with executing(context):
                return await function(**inputs)

        task = asyncio.create_task(as_node())
        await asyncio.sleep(0)  # one that needn't wait is done by now
        return task.result() if task.done() else task


def _row(values: dict[str, list[Any]], index: int) -> dict[str, Any]:
    """The inputs of one call: shorter lists repeat their last element."""
    return {name: column[min(index, len(column) - 1)] for name, column in values.items()}


def unfinished(answers: list[Any]) -> list[asyncio.Task[Any]]:
    """Those answers that are still being worked out."""
    return [answer for answer in answers if isinstance(answer, asyncio.Task) and not answer.done()]


async def finished(answers: list[Any]) -> list[Any]:
    """The answers, waited for; raises what the first failing one raised."""
    if waiting := unfinished(answers):
        await asyncio.gather(*waiting)
    return [answer.result() if isinstance(answer, asyncio.Task) else answer for answer in answers]
