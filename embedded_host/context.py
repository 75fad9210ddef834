"""Which node is being executed: what custom nodes import as ``comfy_execution.utils``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple


class ExecutionContext(NamedTuple):
    """The prompt, the node, and the place in its list of inputs (null: not mapped over a list)."""

    prompt_id: str
    node_id: str
    list_index: int | None


_current: ContextVar[ExecutionContext | None] = ContextVar("current_executing_context", default=None)


def get_executing_context() -> ExecutionContext | None:
    """The node whose code this is; None outside one, also in plain threads that a node starts."""
    return _current.get()


@contextmanager
def executing(context: ExecutionContext) -> Iterator[None]:
    """Run the body as that node."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
