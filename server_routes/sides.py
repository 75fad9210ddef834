"""All that is known of a prompt, for what is said of prompts beside each other."""

from __future__ import annotations

from ..telemetry.models.prompt import Prompt
from ..telemetry.record.reading import Reading
from ..telemetry.why.comparing import Side
from .prompts import unknown


def known(reading: Reading, prompt_id: str, run: int | None) -> Side:
    """Of one that is asked for. Raises ApiError 404."""
    prompt = reading.prompt(prompt_id, run)
    if prompt is None:
        raise unknown(prompt_id, run)
    return side_of(reading, prompt)


def side_of(reading: Reading, prompt: Prompt) -> Side:
    """Of a prompt whose record is at hand."""
    key = prompt.prompt_id, prompt.run_number
    return Side(
        prompt,
        reading.nodes(*key) or [],
        reading.settings(*key),
        reading.environment(prompt.environment_id) if prompt.environment_id is not None else None,
    )
