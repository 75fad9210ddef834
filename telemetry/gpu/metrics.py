"""What Prometheus reads of devices and models: looked at when it is asked for, polled by nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .merging import Snapshot
from .reading import DeviceReading
from .sampler import ModelCounts

GAUGES: dict[str, tuple[str, Callable[[DeviceReading], float | None]]] = {
    "comfyui_gpu_memory_used_bytes": (
        "Memory of the device that is not free, whoever uses it.",
        lambda device: device.vram_used_bytes,
    ),
    "comfyui_gpu_memory_total_bytes": ("Memory of the device.", lambda device: device.vram_total_bytes),
    "comfyui_gpu_utilization_ratio": (
        "How busy the device is, 0 to 1.",
        lambda device: None if device.utilization_percent is None else device.utilization_percent / 100,
    ),
    "comfyui_gpu_temperature_celsius": ("Temperature of the device.", lambda device: device.temperature_celsius),
    "comfyui_gpu_power_watts": ("Power that the device draws.", lambda device: device.power_watts),
}


class GpuMetrics(Collector):
    """Series by device, where it is no processor; none of a figure that nobody tells."""

    def __init__(self, now: Callable[[], Snapshot | None], models: ModelCounts) -> None:
        self._now = now
        self._models = models

    def collect(self) -> Iterator[Metric]:
        """All families; those of which nothing is known have no series."""
        snapshot = self._now()
        devices = [device for device in snapshot.devices if device.type != "cpu"] if snapshot is not None else []
        for name, (about, figure) in GAUGES.items():
            gauge = GaugeMetricFamily(name, about, labels=["gpu"])
            for device in devices:
                if (value := figure(device)) is not None:
                    gauge.add_metric([device.key], value)
            yield gauge
        energy = CounterMetricFamily(
            "comfyui_gpu_energy_joules", "Energy, by the device's own counter.", labels=["gpu"]
        )
        for device in devices:
            if device.energy_joules is not None:
                energy.add_metric([device.key], device.energy_joules)
        yield energy
        yield from self._of_models()

    def _of_models(self) -> Iterator[Metric]:
        loaded = GaugeMetricFamily("comfyui_models_loaded", "Models that ComfyUI holds loaded.")
        if self._models.loaded is not None:
            loaded.add_metric([], self._models.loaded)
        yield loaded
        yield CounterMetricFamily(
            "comfyui_model_swaps", "Models that ComfyUI has let go of again, as the sampler saw it.", self._models.swaps
        )
