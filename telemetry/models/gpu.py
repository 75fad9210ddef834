"""Figures of devices and of memory: of a prompt, and as they are now."""

from __future__ import annotations

from pydantic import Field

from .base import Model


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
