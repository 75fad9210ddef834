"""Which nodes there are: what custom nodes import as ``nodes``."""

from __future__ import annotations

from typing import Any

from . import model_management

NODE_CLASS_MAPPINGS: dict[str, type[Any]] = {}
NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {}
EXTENSION_WEB_DIRS: dict[str, str] = {}


def interrupt_processing(value: bool = True) -> None:
    """Ask the running prompt to stop, or take the request back."""
    model_management.interrupt_current_processing(value)


def before_node_execution() -> None:
    """Called before each call of a node: here an interrupt is noticed."""
    model_management.throw_exception_if_processing_interrupted()
