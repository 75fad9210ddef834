"""What custom nodes import as ``execution``."""

from __future__ import annotations

from .executor import PromptExecutor
from .prompt_queue import MAXIMUM_HISTORY_SIZE, PromptQueue
from .validation import validate_prompt

__all__ = ["MAXIMUM_HISTORY_SIZE", "PromptExecutor", "PromptQueue", "validate_prompt"]
