"""What the routes answer where something is wrong."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from .base import Model


class ErrorBody(Model):
    """What went wrong with a request."""

    type: Literal["invalid_parameter", "unauthorized", "forbidden", "not_found", "conflict", "internal", "unavailable"]
    message: str
    field: str | None = None
    id: str | None = Field(
        default=None, description="Of `internal` alone, else left out: the fault, as the log has it."
    )

    @model_serializer(mode="wrap")
    def _without_empty_id(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        told: dict[str, Any] = serialize(self)
        if self.id is None:
            told.pop("id", None)
        return told


class ErrorAnswer(Model):
    """Every error that the routes answer."""

    error: ErrorBody
