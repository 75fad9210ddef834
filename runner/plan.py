"""What a run was begun with, kept in its folder, so that it can be gone on with and nothing has to be given again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ..client.limits import MIB
from ..client.parsing import UnreadableError, parse
from ..client.urls import checked_url, has_logon
from ..telemetry.files.guarded_files import OddEntryError, read_regular
from ..telemetry.models.run_contract import StorySummary
from ..telemetry.models.text import clean
from .policy import Policy, Source
from .run_folder import to_json, write_atomically

PLAN, WORKFLOW, MAPPING, STORY = "run.json", "workflow.json", "mapping", "story/story.json"


MOST_BYTES = 4 * MIB
MOST_MISTAKES = 5
"""Of a plan that are told."""


class PlanError(Exception):
    """A folder that holds no run that could be gone on with. `kind` is a stable word."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def _server(url: str) -> str:
    """Raises ValueError for what no command line leaves: it has taken a password out, and refused what is no server."""
    if has_logon(url):
        raise ValueError("a user or a password is no part of a server's address here")
    return checked_url(url)


class Plan(BaseModel):
    """`run.json`."""

    model_config = ConfigDict(extra="ignore")

    SchemaVersion: int = 1
    Servers: list[
        Annotated[str, Field(max_length=2000, pattern=r"^https?://[^\s\x00-\x1f]+$"), AfterValidator(_server)]
    ] = Field(min_length=1, max_length=1000)
    Knobs: dict[str, int]
    Sources: dict[str, Source]
    Prefix: str | None = Field(
        default=None,
        max_length=200,
        pattern=r"^[^\x00-\x1f/\\]+$",
        description="What the names of all files begin with; null: the run's id.",
    )
    AddMarker: bool = True
    FailFast: bool = False
    AllowPartial: bool = False
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
    write_atomically(folder / PLAN, to_json(plan.model_dump(mode="json")))


def read_plan(folder: Path) -> Plan:
    """The plan of a run. Raises PlanError."""
    if not folder.is_dir():
        raise PlanError("not_found", f"{folder} is no folder of a run")
    try:
        plan = Plan.model_validate(parse(read_regular(folder / PLAN, MOST_BYTES, folder)))
    except FileNotFoundError:
        why = "nothing was begun there, or it is no folder of `run-recorder run`"
        raise PlanError("not_found", f"{folder} holds no {PLAN}: {why}") from None
    except OddEntryError as error:
        raise PlanError("invalid_run", f"{folder}: {error}") from None
    except OSError as error:
        raise PlanError("io", f"{folder / PLAN} can't be read: {error.strerror or error}") from None
    except UnreadableError as error:
        raise PlanError("invalid_run", f"{folder / PLAN} is no plan of a run: it {error}") from None
    except ValidationError as error:
        mistakes = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:MOST_MISTAKES]
        )
        raise PlanError("invalid_run", f"{folder / PLAN} is no plan of a run: {mistakes}") from None
    if plan.Mapping is not None and plan.Mapping.rpartition(".")[0] != MAPPING:
        accepted = f"{MAPPING}.json or such, beside it, is accepted"
        raise PlanError("invalid_run", f"{folder / PLAN}: Mapping is {clean(plan.Mapping, 100)!r}: {accepted}")
    return plan
