"""What the GPU and the host had before and after a prompt, as the run contract has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..telemetry.models.gpu import System
from ..telemetry.models.run_contract import GpuTelemetry, SystemTelemetry
from ..telemetry.models.run_telemetry import NO_DEVICE, gpu_telemetry
from .outside import Seen


@dataclass(frozen=True, slots=True)
class SceneFigures:
    """One prompt's figures. Bytes and MB; what is unknown is null, and a note says why."""

    gpu: GpuTelemetry
    system: SystemTelemetry


def from_outside(before: Seen | None, after: Seen | None) -> SceneFigures:
    """By two looks from outside the server's process; null where there was none."""
    gpu = _gpu(before, after)
    notes = [note for one in (before, after) if one is not None for note in one.notes]
    if gpu.Name == "unknown" and gpu.VramFreeBefore is None:
        notes.append(NO_DEVICE)
    return SceneFigures(gpu, SystemTelemetry(Before=_system(before), After=_system(after), FallbackNotes=notes))


def _gpu(before: Seen | None, after: Seen | None) -> GpuTelemetry:
    """The device that was seen first; a later look at another device gives no figures."""
    first = before.device if before else None
    then = after.device if after else None
    same = then is not None and (first is None or (then.index, then.name) == (first.index, first.name))
    known = before if first else after
    return gpu_telemetry(
        first or then,
        first.vram_free_bytes if first else None,
        then.vram_free_bytes if then is not None and same else None,
        known.step if known and known.step != "/telemetry/gpu" else None,
    )


def _system(seen: Seen | None) -> dict[str, Any] | None:
    system: System | None = seen.system if seen else None
    return system.model_dump() if system else None
