"""The query parameters, as models: checked by them, and documented from them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from ..telemetry.models.base import PromptStatus
from ..telemetry.models.listing import Filter, Position
from ..telemetry.models.times import parse
from .route import Parameters

MAX_WAIT_SECONDS = 300
MAX_PAGE = 500


def _milliseconds(value: Any) -> int:
    try:
        return parse(str(value))
    except (ValueError, OverflowError):
        raise ValueError("this is no ISO 8601 time, such as 2026-08-01T10:20:30.000Z") from None


def _finite(value: float) -> float:
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError("this is no finite number")
    return value


def _text(value: str) -> str:
    if "\0" in value:
        raise ValueError("this holds a NUL character, which no name does")
    return value


CURSOR = "[0-9]{1,15}-[0-9]{1,18}"
"""How a cursor looks; every text of this form is one, so that the documentation promises nothing that is refused."""


def encode_cursor(position: Position) -> str:
    """Where the next page begins, as text that need mean nothing to its holder."""
    return f"{position.sort_ms}-{position.pk}"


def _decode_cursor(value: Any) -> Position:
    if not re.fullmatch(CURSOR, str(value)):
        raise ValueError("this is no cursor that a page gave")
    sort_ms, _, key = str(value).partition("-")
    return Position(int(sort_ms), int(key))


Moment = Annotated[
    int,
    BeforeValidator(_milliseconds, json_schema_input_type=str),
    Field(json_schema_extra={"type": "string", "format": "date-time"}),
]
Text = Annotated[str, AfterValidator(_text), Field(json_schema_extra={"pattern": r"^[^\u0000]*$"})]
"""What is looked for in the store: text that a database takes, so that every database answers alike."""


class RunNumber(Parameters):
    """Which run of a prompt id; the newest where it is not given, or the running one."""

    run: Annotated[int | None, Field(None, ge=1, le=2**31 - 1, description="The Nth run of this id, from 1.")] = None


class Wait(RunNumber):
    """How long to wait."""

    timeout: Annotated[float, AfterValidator(_finite)] = Field(
        60, ge=0, le=MAX_WAIT_SECONDS, description="Seconds, 0 to 300."
    )


class Listing(Parameters):
    """Which prompts, newest first."""

    status: tuple[PromptStatus, ...] = Field((), max_length=8, description="May be repeated.")
    since: Moment | None = Field(None, description="Queued at or after this time, ISO 8601.")
    until: Moment | None = Field(None, description="Queued before this time, ISO 8601.")
    q: Text | None = Field(
        None, max_length=200, description="Part of the id, or of the name of a workflow, a class or an output."
    )
    class_type: Text | None = Field(None, max_length=200, description="A node's class, exactly.")
    output: Text | None = Field(None, max_length=255, description="A file's name, exactly.")
    workflow: Text | None = Field(None, max_length=80, description="A `workflow_fingerprint`, exactly.")
    settings: Text | None = Field(None, max_length=80, description="A `settings_fingerprint`, exactly.")
    environment: Text | None = Field(None, max_length=64, description="An `environment_id`, exactly.")
    instance: Text | None = Field(None, max_length=36, description="The `id` of an `instance`, exactly.")
    limit: int = Field(50, ge=1, le=MAX_PAGE, description="Prompts a page, 1 to 500.")
    cursor: Annotated[
        Position | None,
        BeforeValidator(_decode_cursor, json_schema_input_type=str),
        Field(
            None,
            json_schema_extra={"type": "string", "pattern": f"^{CURSOR}$"},
            description="`next_cursor` of the page before.",
        ),
    ] = None

    def filter(self) -> Filter:
        """As the store takes it."""
        return Filter(
            self.status,
            self.since,
            self.until,
            self.q,
            self.class_type,
            self.output,
            self.workflow,
            self.settings,
            self.environment,
            self.instance,
        )


class Report(RunNumber):
    """What a report may tell."""

    model_names: bool = Field(False, description="Names of models and other choices as they are; else `<model 1>`.")


class Two(Parameters):
    """Which two prompts."""

    a: Text = Field(min_length=1, max_length=200, description="A prompt's id.")
    b: Text = Field(min_length=1, max_length=200, description="Another's id, or the same for two of its runs.")
    a_run: int | None = Field(None, ge=1, le=2**31 - 1, description="Which run of the first; the newest else.")
    b_run: int | None = Field(None, ge=1, le=2**31 - 1, description="Which run of the second; the newest else.")


class Bound(Parameters):
    """What is to be deleted."""

    until: Moment = Field(description="Everything that was queued before this time, ISO 8601.")


class Page(Parameters):
    """What the page opens with: read by the page itself."""

    prompt: Annotated[str | None, Field(None, max_length=200, description="The prompt that is opened, by its id.")]
