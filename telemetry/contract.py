"""The contract's models: everything that is stored, served, printed or validated is made from them.

Names, units and null-when follow `docs/http-api.md` and `docs/done-marker.md`. A reader ignores fields
that it doesn't know, so models accept and drop them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, WithJsonSchema, model_serializer

from .run_contract import RUN_MODELS

PromptStatus = Literal["queued", "running", "success", "error", "interrupted", "cancelled", "abandoned"]
"""Every state of a prompt; the last five are final."""
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

    model_config = ConfigDict(extra="ignore")


# ---------------------------------------------------------------- the marker file


class MarkerFile(Model):
    """One file that a marker speaks of."""

    Name: str = Field(description="Relative to the marker's folder, forward slashes.")
    Bytes: int = Field(ge=0)
    Modified: Time
    NodeId: str | None = Field(None, description="The node that reported it; null where none did.")
    Sha256: str | None = Field(None, description="Only where the marker was asked to hash; else left out.")


class DoneMarker(Model):
    """A `.done` or `.failed` file. A marker with only `Timestamp` is a valid one, too."""

    Timestamp: Time = Field(description="When the marker was written.")
    FrameCount: int | None = Field(None, ge=0, description="The number of files listed.")
    Latest: Time | None = Field(None, description="Newest modification time among the files.")
    SchemaVersion: int | None = None
    Status: MarkerStatus | None = None
    PromptId: str | None = Field(None, description="Null where the producer could not tell.")
    Producer: MarkerProducer | None = None
    Cached: bool | None = Field(None, description="This prompt wrote nothing new.")
    Files: list[MarkerFile] = []
    Notes: list[str] = []


# ---------------------------------------------------------------- a prompt


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


class PromptMarker(Model):
    """What became of one marker that a prompt asked for."""

    path: str | None = Field(description="Relative to the output folder; null until known.")
    status: str = Field(description="`due`, then the marker's Status, `refused` or `not written`.")
    written_at: Time | None = None


class Refusal(Model):
    """An output of a prompt that ComfyUI refused while it accepted others."""

    node_id: str
    class_type: str | None = None
    reasons: list[str] = Field([], description="What ComfyUI said of it and of its inputs, a sentence each.")


class DeviceIdentity(Model):
    """Which device it is."""

    index: int | None = Field(
        default=None, description="The number that torch has for it; of others their source's. Null of a cpu."
    )
    name: str | None = None
    type: str | None = Field(default=None, description="cuda, rocm, xpu, mps, cpu, or what torch calls it.")
    in_use: bool | None = Field(default=None, description="True of those that ComfyUI computes on; they come first.")
    uuid: str | None = None
    vram_total_bytes: int | None = Field(
        default=None, description="Null of a cpu; the host's where it is shared, with a note."
    )


class Device(DeviceIdentity):
    """What one device had and did while a prompt ran. What no source tells is null, and a note says so."""

    vram_free_before_bytes: int | None = None
    vram_free_after_bytes: int | None = Field(default=None, description="Null until the prompt has ended.")
    vram_used_peak_bytes: int | None = Field(default=None, description="Of all processes, as sampled.")
    torch_allocated_peak_bytes: int | None = Field(
        default=None, description="Exact, by torch; of the first device in use."
    )
    torch_reserved_peak_bytes: int | None = None
    utilization_percent_mean: float | None = None
    utilization_percent_max: float | None = None
    temperature_celsius_max: float | None = None
    power_watts_mean: float | None = None
    energy_joules: float | None = Field(
        default=None, description="By its counter; added up from power where a note says so."
    )
    source: str | None = Field(default=None, description="The sources that gave these figures: `nvml+torch`.")


class LiveDevice(DeviceIdentity):
    """One device now."""

    vram_free_bytes: int | None = None
    utilization_percent: float | None = None
    temperature_celsius: float | None = None
    power_watts: float | None = None
    source: str | None = None


class System(Model):
    """The host's and the process' memory and processor while a prompt ran."""

    ram_total_bytes: int | None = None
    ram_free_bytes: int | None = None
    process_rss_bytes: int | None = None
    process_rss_peak_bytes: int | None = None
    cpu_percent: float | None = None


class Figures(Model):
    """What was sampled while a prompt ran."""

    devices: list[Device] = []
    system: System | None = None
    telemetry_source: str | None = None
    fallback_notes: list[str] = []


class LiveFigures(Model):
    """What the telemetry sees now."""

    devices: list[LiveDevice]
    system: System | None = None
    telemetry_source: str | None = Field(
        default=None, description="The sources that gave something, the first believed first."
    )
    fallback_notes: list[str] = []


class SampleColumns(Model):
    """A prompt's curve. Every column is as long as `t_seconds`; what could not be read is null."""

    t_seconds: list[float] = Field(description="Seconds since the prompt's start.")
    readings_per_sample: int = Field(
        default=1, description="From 2 on each figure is a mean, and has `_min` and `_max` columns beside it."
    )
    devices: dict[str, dict[str, list[int | float | None]]] = Field(
        description="By place in the prompt's `devices`, from 0."
    )
    system: dict[str, list[int | float | None]]


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


class Node(Model):
    """One node of one prompt, in the order in which nodes ran."""

    node_id: str
    class_type: str | None
    title: str | None
    display_node_id: str | None
    parent_node_id: str | None = Field(description="The node that expanded into this one, else null.")
    started_at: Time | None = Field(description="Null of a cached node.")
    duration_seconds: float | None = Field(description="Null while it runs, and when cached.")
    cached: bool
    progress_max: float | None = None
    vram_used_peak_bytes: int | None = Field(
        None, description="The most that torch had allocated while it ran; null where the device has no such counter."
    )
    vram_delta_bytes: int | None = Field(None, description="What it left allocated, less what it found.")
    error: PromptError | None = None


class NodeList(Model):
    """A prompt's nodes."""

    items: list[Node]


# ---------------------------------------------------------------- the environment


class NodePack(Model):
    """A custom-node pack: its folder's name, the version it declares, the commit it is at."""

    name: str
    version: str | None = None
    commit: str | None = None


class Environment(Model):
    """What prompts ran on. The id is a digest of the rest."""

    id: str
    comfyui_version: str | None = None
    python_version: str | None = None
    torch_version: str | None = None
    os: str | None = None
    driver_version: str | None = None
    devices: list[str] = []
    launch_options: list[str] = Field([], description="An allow-list of switches; paths shown as `<path>`.")
    node_packs: list[NodePack] = []


# ---------------------------------------------------------------- health


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


MODELS: dict[str, type[BaseModel]] = {
    "batch": Batch,
    "current_node": CurrentNode,
    "device": Device,
    "done_marker": DoneMarker,
    "environment": Environment,
    "error": ErrorAnswer,
    "gpu": LiveFigures,
    "health": Health,
    "instance": Instance,
    "marker": PromptMarker,
    "node": Node,
    "node_list": NodeList,
    "output": Output,
    "prompt": Prompt,
    "live_device": LiveDevice,
    "prompt_name": PromptName,
    "prompt_page": PromptPage,
    "samples": SampleColumns,
    "system": System,
    **RUN_MODELS,
}
"""The models by the names under which `/telemetry/schema/{model}` serves them."""
