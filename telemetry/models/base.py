"""What every model of the contract begins with: its base, the states of a prompt and of a marker, and common types.

Names, units and null-when follow `docs/http-api.md` and `docs/done-marker.md`. A reader ignores fields
that it doesn't know, so models accept and drop them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

PromptStatus = Literal["queued", "running", "success", "error", "interrupted", "cancelled", "refused", "abandoned"]
"""Every state of a prompt; the last six are final."""
OPEN_STATUSES: tuple[PromptStatus, ...] = ("queued", "running")
MarkerStatus = Literal["success", "running", "error", "interrupted", "abandoned"]
"""What a marker file says of its prompt."""
MarkerProducer = Literal["node", "sentinel", "runner", "cli"]
Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
"""UTC, ISO 8601, milliseconds and Z."""
Word = Annotated[str, Field(max_length=200)]
Figure = Annotated[float, Field(allow_inf_nan=False)]


class Model(BaseModel):
    """Base of every model in the contract."""

    model_config = ConfigDict(extra="ignore", defer_build=True)
