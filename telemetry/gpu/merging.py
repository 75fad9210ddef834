"""One reading made of all sources': ComfyUI's own devices first, each figure from the first source that has it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from .identity import find, visible_card
from .reading import FIGURES, MEMORY, DeviceReading, SourceReading, SystemReading

SHARED = "{label} shares the host's memory: its figures of memory are the host's"
UNMATCHED = "{label}: which of the cards that {source} sees it is can't be told, so those figures are null"


@dataclass(slots=True)
class Snapshot:
    """Everything that is known at one moment. `devices` in the order in which they are told."""

    devices: list[DeviceReading] = field(default_factory=list)
    system: SystemReading | None = None
    loaded_models: frozenset[int] | None = None
    sources: tuple[str, ...] = ()
    """Those that gave something, in the order in which they are believed."""
    notes: list[str] = field(default_factory=list)
    at: float = 0.0
    """When, on `time.perf_counter`."""

    @property
    def source(self) -> str | None:
        """The sources in one word: `nvml+torch+psutil`; null where nothing is known."""
        return "+".join(self.sources) or None


def merge(readings: Sequence[SourceReading], settings: Mapping[str, str] = os.environ) -> Snapshot:
    """One snapshot of what the sources gave; the sources in the order in which they are believed."""
    snapshot = Snapshot()
    for reading in readings:
        snapshot.system = snapshot.system or reading.system
        if reading.loaded_models is not None:
            snapshot.loaded_models = reading.loaded_models
        snapshot.notes += reading.notes
    seen = [device for reading in readings for device in reading.devices if not device.in_use]
    own = [device for reading in readings for device in reading.devices if device.in_use]
    taken: set[int] = set()
    snapshot.devices = [_completed(device, seen, taken, snapshot, settings) for device in own]
    snapshot.devices += _others(seen, taken)
    for device in snapshot.devices:
        _share_memory(device, snapshot)
    return snapshot


def _completed(
    device: DeviceReading,
    seen: Sequence[DeviceReading],
    taken: set[int],
    snapshot: Snapshot,
    settings: Mapping[str, str],
) -> DeviceReading:
    """One of ComfyUI's devices with what the other sources say of the same one. They are believed before torch."""
    if device.type == "cpu":
        return device
    same = [found for source in _by_source(seen).values() if (found := find(device, source)) is not None]
    if not same:
        same = _by_number(device, seen, snapshot, settings)
    taken.update(id(found) for found in same)
    made = _filled([*same, device])
    made.name, made.type, made.index, made.in_use = device.name, device.type, device.index, True
    made.torch_allocated_bytes, made.torch_reserved_bytes = device.torch_allocated_bytes, device.torch_reserved_bytes
    made.unified = any(found.unified for found in [*same, device])
    if same and same[0].name:
        made.name = same[0].name
    return made


def _by_number(
    device: DeviceReading, seen: Sequence[DeviceReading], snapshot: Snapshot, settings: Mapping[str, str]
) -> list[DeviceReading]:
    """Where torch tells neither UUID nor address, what CUDA's own variables say."""
    cards = [other for other in seen if other.type == "cuda"]
    if device.type != "cuda" or not cards or device.index is None:
        return []
    card = visible_card(device.index, cards, settings) if device.uuid is None and device.pci is None else None
    if card is None:
        snapshot.notes.append(UNMATCHED.format(label=device.label, source=cards[0].source))
        return []
    return [card]


def _others(seen: Sequence[DeviceReading], taken: set[int]) -> list[DeviceReading]:
    """Devices that ComfyUI doesn't use, each once, whichever sources see it."""
    left = [device for device in seen if id(device) not in taken]
    made: list[DeviceReading] = []
    for device in left:
        known = find(device, made)
        if known is None:
            made.append(device)
        else:
            made[made.index(known)] = _filled([known, device])
    return made


def _by_source(seen: Sequence[DeviceReading]) -> dict[str, list[DeviceReading]]:
    found: dict[str, list[DeviceReading]] = {}
    for device in seen:
        found.setdefault(device.source, []).append(device)
    return found


def _filled(same: Sequence[DeviceReading]) -> DeviceReading:
    """The first, with what it lacks from those after it. Total and free are taken from one source, or contradict."""
    first, *more = same
    made = replace(first)
    used = [first.source]
    for other in more:
        gave = False
        for name in FIGURES:
            if name in MEMORY and made.vram_free_bytes is not None:
                continue
            if getattr(made, name) is None and (value := getattr(other, name)) is not None:
                setattr(made, name, value)
                gave = True
        made.uuid, made.pci = made.uuid or other.uuid, made.pci or other.pci
        made.throttled = made.throttled or (made.throttled if other.throttled is None else other.throttled)
        made.vram_others_bytes = other.vram_others_bytes if made.vram_others_bytes is None else made.vram_others_bytes
        if gave or other.torch_allocated_bytes is not None:
            used.append(other.source)
    made.source = "+".join(dict.fromkeys("+".join(used).split("+")))
    return made


def _share_memory(device: DeviceReading, snapshot: Snapshot) -> None:
    """A device without memory of its own has the host's, and a note says so. A cpu has none to tell."""
    system = snapshot.system
    if not device.unified or device.type == "cpu" or system is None:
        return
    device.vram_total_bytes, device.vram_free_bytes = system.ram_total_bytes, system.ram_free_bytes
    snapshot.notes.append(SHARED.format(label=device.label))
