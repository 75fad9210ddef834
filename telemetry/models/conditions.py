"""What it was like when a prompt ran: what node packs change at run time, what was loaded, and who else was there."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Model, Word

Client = Literal["web page", "runner", "api"]


class LoadedModel(Model):
    """A model that ComfyUI held loaded."""

    name: Word = Field(description="Its class.")
    device_bytes: int | None = Field(default=None, description="What of it is on the device.")
    offloaded_bytes: int | None = Field(default=None, description="What of it is not.")
    patches: int | None = Field(default=None, description="How many of its weights are patched, by LoRAs and the like.")


class Conditions(Model):
    """What a prompt's speed and memory depend on, besides its environment. What can't be told is null."""

    client: Client | None = Field(
        default=None, description="Who posted it: ComfyUI's page, this package's runner, or another."
    )
    run_since_start: int | None = Field(default=None, description="1 for the first prompt that its process ran.")
    idle_before_seconds: float | None = Field(
        default=None, description="Since the prompt before; null for the first one."
    )
    attention: Word | None = Field(
        default=None,
        description="`sage`, `flash`, `xformers`, `pytorch`, `split`, `sub_quadratic`, or what ComfyUI calls it.",
    )
    vram_mode: Word | None = Field(
        default=None, description="ComfyUI's: `normal_vram`, `low_vram`, `disabled` and so on."
    )
    cudnn_benchmark: bool | None = None
    allow_tf32: bool | None = Field(default=None, description="Whether matrices may be multiplied in TF32.")
    deterministic: bool | None = Field(default=None, description="Whether torch uses deterministic algorithms alone.")
    float32_matmul_precision: Word | None = None
    models: list[LoadedModel] | None = Field(default=None, description="At its end; while it runs, at its start.")
    models_before: list[LoadedModel] | None = Field(default=None, description="At its start.")
    loaded: int | None = Field(default=None, description="How many models came while it ran, as far as that was seen.")
    unloaded: int | None = Field(
        default=None, description="How many models went while it ran, as far as that was seen."
    )
    warm: bool | None = Field(default=None, description="Whether nothing had to be loaded.")
    vram_free_before_bytes: int | None = Field(default=None, description="Of the first device in use.")
    vram_others_bytes: int | None = Field(
        default=None, description="What other processes held of it before; null where the driver doesn't tell that."
    )
    ram_free_before_bytes: int | None = None
    swap_used_before_bytes: int | None = None
    throttled_seconds: dict[str, float] | None = Field(
        default=None,
        description="How long the clock of the first device in use was held down, by reason; null where no source"
        " tells that.",
    )
