"""What the GPU and the host had before and after a prompt, as the run contract has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from ..telemetry.gpu.numbers import size, text
from ..telemetry.models.gpu import DeviceIdentity, System
from ..telemetry.models.run_contract import GpuTelemetry, SceneTelemetry, SystemTelemetry
from ..telemetry.models.run_telemetry import NO_DEVICE, gpu_telemetry
from ..telemetry.models.text import clean
from ..telemetry.models.times import iso, parse
from .limits import MOST_TEXT
from .outside import Seen

MOST_NOTES = 50
"""Of a record's notes that are kept."""


@dataclass(frozen=True, slots=True)
class SceneFigures:
    """One prompt's figures. Bytes and MB; what is unknown is null, and a note says why."""

    gpu: GpuTelemetry
    system: SystemTelemetry
    times: tuple[str, str, float] | None = None
    """When it was queued and ended, and the seconds between, by the server; null where it doesn't tell all of it."""


def from_outside(before: Seen | None, after: Seen | None) -> SceneFigures:
    """By two looks from outside the server's process; null where there was none."""
    gpu = _gpu(before, after)
    notes = [note for one in (before, after) if one is not None for note in one.notes]
    if gpu.Name == "unknown" and gpu.VramFreeBefore is None:
        notes.append(NO_DEVICE)
    return SceneFigures(gpu, SystemTelemetry(Before=_system(before), After=_system(after), FallbackNotes=notes))


def from_record(told: SceneTelemetry) -> SceneFigures:
    """By the server's own record of the prompt; what contradicts itself is null."""
    gpu, total = told.GPU, size(told.GPU.VramTotal)
    before, after = size(gpu.VramFreeBefore), size(gpu.VramFreeAfter)
    if total is not None and max(before or 0, after or 0) > total:
        total = before = after = None
    device = DeviceIdentity(index=gpu.Index, name=text(gpu.Name), type=text(gpu.Type, 20), vram_total_bytes=total)
    system = SystemTelemetry(
        Before=_checked(told.System.Before),
        After=_checked(told.System.After),
        FallbackNotes=[clean(note, MOST_TEXT) for note in told.System.FallbackNotes[:MOST_NOTES]],
    )
    fallback = text(gpu.FallbackSource)
    return SceneFigures(gpu_telemetry(device, before, after, fallback), system, _times(told.QueueStart, told.QueueEnd))


def _checked(system: Mapping[str, Any] | None) -> dict[str, Any] | None:
    try:
        return None if system is None else System.model_validate(system).model_dump()
    except ValidationError:
        return None


def _times(queued: str | None, ended: str | None) -> tuple[str, str, float] | None:
    try:
        start, end = parse(queued or ""), parse(ended or "")
        return (iso(start), iso(end), (end - start) / 1000) if start <= end else None
    except (ValueError, OverflowError):
        return None


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
