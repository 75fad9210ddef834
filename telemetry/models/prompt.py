"""A prompt as it is served."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from .base import Figure, Model, PromptStatus, Time, Word
from .conditions import Conditions
from .gpu import Device, System
from .marker import PromptMarker


class NodeCounts(Model):
    """How many nodes a prompt has, ran, and took from the cache."""

    total: int = Field(description="Nodes of the queued graph and those that it expanded into.")
    executed: int
    cached: int


class CurrentNode(Model):
    """The node that runs now; of an abandoned prompt the last one that did."""

    node_id: str
    class_type: str | None
    title: str | None
    value: float | None = Field(None, description="Steps done; null until the node tells.")
    max: float | None = Field(None, description="Steps in all; null until the node tells.")


class PromptError(Model):
    """Why a prompt failed. Paths are relative or `<path>`; what looks like a key is masked."""

    node_id: str | None
    class_type: str | None
    exception_type: str | None
    message: str = Field(max_length=2000)


class Output(Model):
    """A file that a prompt's nodes reported, or that was found under a marker's prefix."""

    node_id: str | None = Field(description="Null where the file was found on disk and no node reported it.")
    filename: str
    subfolder: str
    type: str | None = Field(description="`output`, `temp` or `input`; null where the node didn't say.")
    bytes: int | None = Field(None, description="Null where the file was not there when the prompt ended.")
    modified: Time | None = Field(None, description="Null where the file was not there.")
    cached: bool = False


class Refusal(Model):
    """An output of a prompt that ComfyUI refused while it accepted others."""

    node_id: str
    class_type: str | None = None
    reasons: list[str] = Field([], description="What ComfyUI said of it and of its inputs, a sentence each.")


class Batch(Model):
    """What the runner said of the run that a prompt belongs to."""

    run_id: Word | None = None
    scene_id: Word | None = None
    attempt: int | None = Field(None, ge=0, le=2**31 - 1)
    policy: Annotated[dict[Word, Figure | Word | None], Field(max_length=50)] | Word | None = None


class Instance(Model):
    """The ComfyUI process that recorded a prompt."""

    id: str
    hostname: str | None = None
    port: int | None = None


class Prompt(Model):
    """One run of one prompt."""

    prompt_id: str
    run_number: int = Field(ge=1, description="1 for the first run of this id, then 2 and so on.")
    status: PromptStatus
    queued_at: Time | None = None
    started_at: Time | None = None
    last_seen_at: Time | None = Field(
        None,
        description="When the process last said that it runs it, once a second; of one that runs, and of an abandoned "
        "one whose end nobody saw. Else null.",
    )
    ended_at: Time | None = Field(
        None, description="Null until it ended, and where its process died, so that nobody knows when."
    )
    queue_wait_seconds: float | None = None
    duration_seconds: float | None = None
    client_id: str | None = None
    queue_number: float | None = None
    workflow_name: str | None = None
    name: str | None = Field(
        None,
        description="What to call it: the workflow's name; else scene and run of a batch, the prefix of its first "
        "output, the class of its last saver. Null where none is known.",
    )
    workflow_fingerprint: str | None = None
    settings_fingerprint: str | None = None
    environment_id: str | None = None
    node_counts: NodeCounts
    current_node: CurrentNode | None = None
    error: PromptError | None = None
    outputs: list[Output] = []
    markers: list[PromptMarker] = []
    devices: list[Device] = []
    system: System | None = None
    telemetry_source: str | None = None
    fallback_notes: list[str] = Field([], description="About figures.")
    notes: list[str] = Field([], description="About anything else.")
    refused: list[Refusal] = Field([], description="Outputs that ComfyUI refused; the prompt ran without them.")
    conditions: Conditions | None = Field(
        default=None, description="What it was like when it ran; null where that was not recorded."
    )
    instance: Instance
    batch: Batch | None = None


class PromptName(BaseModel):
    """What a client calls a prompt that it has queued: the file name of its workflow."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(
        min_length=1,
        max_length=200,
        pattern=r"^[^\u0000-\u001f\u007f]*[^\u0000-\u0020\u007f][^\u0000-\u001f\u007f]*$",
        description="1 to 200 characters, not all spaces, no control characters.",
    )


class PromptPage(Model):
    """A page of prompts, newest first."""

    items: list[Prompt]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last.")
