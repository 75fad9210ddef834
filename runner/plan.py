"""What a run was begun with, kept in its folder, so that it can be gone on with and nothing has to be given again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..telemetry.run_contract import StorySummary
from .policy import Policy, Source
from .run_folder import to_json, write_atomically

PLAN, WORKFLOW, MAPPING, STORY = "run.json", "workflow.json", "mapping", "story/story.json"


class PlanError(Exception):
    """A folder that holds no run that could be gone on with. `kind` is a stable word."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Plan(BaseModel):
    """`run.json`."""

    model_config = ConfigDict(extra="ignore")

    SchemaVersion: int = 1
    Servers: list[str] = Field(min_length=1)
    Knobs: dict[str, int]
    Sources: dict[str, Source]
    Prefix: str | None = Field(default=None, description="What the names of all files begin with; null: the run's id.")
    AddMarker: bool = True
    FailFast: bool = False
    Mapping: str | None = Field(
        default=None, description="The mapping file in the run's folder; null where there is none."
    )
    Story: StorySummary

    def policy(self) -> Policy:
        """The queue policy in force."""
        return Policy(self.Knobs, self.Sources)


def write_plan(folder: Path, plan: Plan, workflow: Mapping[str, Any] | None = None) -> None:
    """Write the plan, and before it what it speaks of."""
    if workflow is not None:
        write_atomically(folder / WORKFLOW, to_json(workflow))
    document = plan.model_dump(mode="json") | {"Servers": [shown(url) for url in plan.Servers]}
    write_atomically(folder / PLAN, to_json(document))


def read_plan(folder: Path) -> Plan:
    """The plan of a run. Raises PlanError."""
    if not folder.is_dir():
        raise PlanError("not_found", f"{folder} is no folder of a run")
    try:
        return Plan.model_validate_json((folder / PLAN).read_text("utf-8"))
    except FileNotFoundError:
        why = "nothing was begun there, or it is no folder of `run-recorder run`"
        raise PlanError("not_found", f"{folder} holds no {PLAN}: {why}") from None
    except OSError as error:
        raise PlanError("io", f"{folder / PLAN} can't be read: {error.strerror or error}") from None
    except (ValidationError, UnicodeDecodeError) as error:
        raise PlanError("invalid_run", f"{folder / PLAN} is no plan of a run: {error}") from None


def shown(url: str) -> str:
    """A server's address as it may stand in a file: without a user's name and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
