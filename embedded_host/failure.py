"""What is told of a node that failed: ``execution_error`` and ``execution_interrupted``."""

from __future__ import annotations

import traceback
from typing import Any


def full_type_name(kind: type[Any]) -> str:
    """An exception's name with its module, plain for Python's own."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def describe(error: BaseException, inputs: dict[str, list[Any]]) -> dict[str, Any]:
    """The fields that an ``execution_error`` has besides those of an interrupt."""
    return {
        "exception_message": f"{error}\n",
        "exception_type": full_type_name(type(error)),
        "traceback": traceback.format_tb(error.__traceback__),
        "current_inputs": {name: [_plain(value) for value in values] for name, values in inputs.items()},
    }


def describe_cycle(error: Exception) -> dict[str, Any]:
    """The same for a circle that an expansion closed; no node raised it."""
    return {
        "exception_message": str(error),
        "exception_type": "graph.DependencyCycleError",
        "traceback": [],
        "current_inputs": [],
    }


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (int, float, str)) else str(value)
