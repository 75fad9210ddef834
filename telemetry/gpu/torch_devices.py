"""The devices that ComfyUI computes on, as torch and its model management tell of them.

This package never imports either: the border, which is the only file to touch them, hands in what it sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .identity import normal_pci
from .numbers import free_of, size, text, told_by_directml
from .reading import DeviceReading, SourceReading


@dataclass(slots=True)
class HostDevice:
    """A device of ComfyUI's, as torch gives it, unchecked."""

    type: str
    index: int | None = None
    name: str | None = None
    uuid: str | None = None
    pci: str | None = None
    vram_total: object = None
    """Bytes; null where it was not asked for, or there is none."""
    vram_free: object = None
    allocated: object = None
    reserved: object = None


class HostDevices(Protocol):
    """What the border tells."""

    def devices(self, with_memory: bool) -> list[HostDevice]:
        """ComfyUI's devices, the one it computes on first. Free memory is asked of the driver only `with_memory`."""

    def loaded_models(self) -> frozenset[int] | None:
        """Marks of the models that ComfyUI holds loaded; null where it doesn't say."""


class TorchDevices:
    """ComfyUI's own devices: the only source that says which those are."""

    name = "torch"
    gives = frozenset(
        {"vram_total_bytes", "vram_free_bytes", "torch_allocated_bytes", "torch_reserved_bytes", "loaded_models"}
    )

    def __init__(self, host: HostDevices) -> None:
        self._host = host
        self._with_memory = True
        self._has_driver = False
        self.may_hang = False
        """Only free memory is asked of a driver; torch's own counters are in this process."""

    def probe(self) -> None:
        """Nothing to open; finds out whether there is a driver behind it."""
        self._has_driver = any(device.type != "cpu" for device in self._host.devices(False))
        self.ask_memory(self._with_memory)

    def ask_memory(self, wanted: bool) -> None:
        """Whether to ask for free memory: not where another source tells that of all these devices."""
        self._with_memory = wanted
        self.may_hang = wanted and self._has_driver

    def read(self) -> SourceReading:
        """The devices, and the loaded models."""
        found = [_reading(device) for device in self._host.devices(self._with_memory)]
        return SourceReading(devices=found, loaded_models=self._host.loaded_models())

    def close(self) -> None:
        """Nothing to close."""


def _reading(device: HostDevice) -> DeviceReading:
    total, free = free_of(size(device.vram_total), size(device.vram_free))
    if told_by_directml(device.type, total):
        total = free = None
    return DeviceReading(
        source=TorchDevices.name,
        type=device.type,
        index=device.index,
        name=text(device.name),
        uuid=text(device.uuid, 100),
        pci=normal_pci(device.pci),
        in_use=True,
        unified=device.type == "mps",
        vram_total_bytes=total,
        vram_free_bytes=free,
        torch_allocated_bytes=size(device.allocated),
        torch_reserved_bytes=size(device.reserved),
    )
