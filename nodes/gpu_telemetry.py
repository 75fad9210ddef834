"""GPU Telemetry: what is free on ComfyUI's device at the moment at which this node runs.

Put between two nodes it passes through whatever they hand on, and shows one line. It reads for a few milliseconds,
waits for a driver that doesn't answer at most three seconds, and never fails a prompt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..telemetry.gpu.live import live_figures
from ..telemetry.models.gpu import LiveDevice, LiveFigures

if TYPE_CHECKING:
    from ..comfyui_host import Host

GPU_CLASS = "GPUTelemetry"
NODE_NAME = "GPU Telemetry"
GIB = 1024**3


def make_node(io: Any, host: Host) -> type[Any]:
    """The node's class, made of ComfyUI's own `io` (comfy_api's)."""
    template = io.MatchType.Template("after", allowed_types=io.AnyType)

    class GPUTelemetry(io.ComfyNode):  # type: ignore[misc]
        """Tells what is free now."""

        @classmethod
        def define_schema(cls) -> Any:
            return io.Schema(
                node_id=GPU_CLASS,
                display_name=NODE_NAME,
                category="run-recorder",
                description=(
                    "Shows how much memory is free on the device that ComfyUI computes on, at the moment at which this "
                    "node runs. Put it between two nodes: what comes in is passed through unchanged. On a processor it "
                    "tells of the host's memory."
                ),
                is_output_node=True,
                inputs=[
                    io.MatchType.Input(
                        "after", template=template, optional=True, tooltip="Passed through unchanged. May be left out."
                    )
                ],
                outputs=[
                    io.MatchType.Output(template, id="passthrough", display_name="after"),
                    io.Int.Output(id="vram_free", display_name="free bytes"),
                    io.Int.Output(id="vram_used", display_name="used bytes"),
                    io.String.Output(id="snapshot", display_name="json"),
                ],
                hidden=[io.Hidden.unique_id],
            )

        @classmethod
        def fingerprint_inputs(cls, **_kwargs: Any) -> float:
            """Never the same as before: the node always runs."""
            return float("nan")

        @classmethod
        def execute(cls, after: Any = None) -> Any:
            unique_id = getattr(getattr(cls, "hidden", None), "unique_id", None)
            figures = host.guarded("gpu", _look, host) or live_figures(None)
            line = line_of(figures)
            host.guarded("gpu", host.show_text, unique_id, line)
            free, used = memory_of(figures)
            return io.NodeOutput(after, free, used, figures.model_dump_json(), ui={"text": [line]})

    return GPUTelemetry


def _look(host: Host) -> LiveFigures:
    return live_figures(host.sampler.now(newest=True), host.sampler.chain.trouble())


def memory_of(figures: LiveFigures) -> tuple[int | None, int | None]:
    """Free and used bytes of the device in use, of the host where that is a processor; null where unknown."""
    device = device_of(figures)
    total, free = (device.vram_total_bytes, device.vram_free_bytes) if device is not None else (None, None)
    if (device is None or device.type == "cpu") and figures.system is not None:
        total, free = figures.system.ram_total_bytes, figures.system.ram_free_bytes
    return free, total - free if total is not None and free is not None else None


def device_of(figures: LiveFigures) -> LiveDevice | None:
    """The device that ComfyUI computes on; null where none is known."""
    return next((device for device in figures.devices if device.in_use), None)


def line_of(figures: LiveFigures) -> str:
    """One readable line: what is free, of how much, how busy and how hot."""
    device = device_of(figures)
    free, used = memory_of(figures)
    if free is None or used is None:
        return "GPU memory: not known"
    if device is None or device.type == "cpu":
        return f"cpu: {_size(free)} of {_size(free + used)} of the host's memory free"
    parts = [f"{device.name or device.type}: {_size(free)} of {_size(free + used)} free"]
    if device.utilization_percent is not None:
        parts.append(f"{device.utilization_percent:.0f}% busy")
    if device.temperature_celsius is not None:
        parts.append(f"{device.temperature_celsius:.0f} \N{DEGREE SIGN}C")
    if device.power_watts is not None:
        parts.append(f"{device.power_watts:.0f} W")
    return ", ".join(parts)


def _size(count: int) -> str:
    return f"{count / GIB:.1f} GiB"
