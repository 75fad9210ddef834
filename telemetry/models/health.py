"""How the recorder does."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Model, Time
from .prompt import CurrentNode


class Worker(Model):
    """ComfyUI's own worker thread."""

    alive: bool | None = Field(description="Null until it has been seen.")
    died_in: CurrentNode | None = None
    prompt_id: str | None = Field(None, description="The prompt that it died in.")


class Seam(Model):
    """One place where ComfyUI is observed."""

    installed: bool
    last_seen: Time | None = None


class StoreHealth(Model):
    """Where records are kept and how that goes."""

    backend: str | None
    prompts: int | None
    bytes: int | None
    queue_depth: int = Field(description="Events that are not yet in the store.")
    dropped: int = Field(description="Records lost for good; 0 is the only good figure.")


class SamplerHealth(Model):
    """Where GPU figures come from."""

    source: str | None = Field(default=None, description="The sources of the last reading; null where there is none.")
    interval_seconds: float | None = Field(
        default=None, description="Between two readings; null where sampling is off."
    )
    state: Literal["off", "idle", "sampling"] = Field(default="off", description="It reads only while a prompt runs.")
    notes: list[str] = Field(default=[], description="Sources that can't be used here, and why.")


class ProblemFault(Model):
    """One fault behind a problem: an error of one class that is raised in one place."""

    id: str = Field(description="The log has it once with this id, and where it was raised.")
    error: str = Field(description="The class of the error.")
    count: int


class Problem(Model):
    """Something that went wrong, how often, and what to do about it."""

    what: str
    since: Time
    count: int
    hint: str
    faults: list[ProblemFault] = Field([], description="The distinct faults behind it, the first 20.")


class Health(Model):
    """How the recorder is. Only `status` and `version` where a token is set and not given."""

    status: Literal["ok", "degraded"]
    version: str
    comfyui_version: str | None = None
    worker: Worker
    seams: dict[str, Seam]
    store: StoreHealth
    sampler: SamplerHealth
    problems: list[Problem]
