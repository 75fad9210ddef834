"""What a source of figures is, and what it gives. Every figure is null where the source can't tell it, never 0.

Bytes are bytes, utilisation and processor are percent (0 to 100), temperatures degrees Celsius, power watts, energy
joules, clocks MHz.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

MEMORY = ("vram_total_bytes", "vram_free_bytes")
FIGURES = (
    *MEMORY,
    "utilization_percent",
    "temperature_celsius",
    "power_watts",
    "energy_joules",
    "clock_mhz",
)
"""The figures of a device that any source may give; torch's own two come from torch alone."""


class SourceUnavailableError(RuntimeError):
    """A source can't be used now; its text says why. It is tried again later, unless it is `absent`."""

    def __init__(self, why: str, *, absent: bool = False) -> None:
        super().__init__(why)
        self.absent = absent
        """True where it will not come by itself: the library or the hardware is not there."""


@dataclass(slots=True)
class DeviceReading:
    """One device at one moment."""

    source: str
    type: str
    """`cuda`, `rocm`, `xpu`, `mps`, `cpu`, or whatever torch calls it."""
    index: int | None = None
    """The source's own number of it; never used to match."""
    name: str | None = None
    uuid: str | None = None
    pci: str | None = None
    """`0000:01:00.0`, lower case."""
    in_use: bool = False
    """True of those that ComfyUI computes on."""
    unified: bool = False
    """True where the device has no memory of its own, but shares the host's."""
    vram_total_bytes: int | None = None
    vram_free_bytes: int | None = None
    torch_allocated_bytes: int | None = None
    torch_reserved_bytes: int | None = None
    utilization_percent: float | None = None
    temperature_celsius: float | None = None
    power_watts: float | None = None
    energy_joules: float | None = None
    """A counter that grows while the driver is loaded; where it began means nothing."""
    clock_mhz: float | None = None
    throttled: tuple[str, ...] | None = None
    """Why its clock is held down now, other than that it is idle; null where no source tells that."""
    vram_others_bytes: int | None = None
    """What processes besides this one hold of it; null where the driver doesn't tell that."""

    @property
    def key(self) -> str:
        """What tells it from every other device on this machine."""
        return self.uuid or self.pci or self.label

    @property
    def label(self) -> str:
        """What people call it: `cuda:0`, `cpu`."""
        return self.type if self.index is None else f"{self.type}:{self.index}"

    @property
    def vram_used_bytes(self) -> int | None:
        """Total less free, so other processes' share is in it; null where either is."""
        if self.vram_total_bytes is None or self.vram_free_bytes is None:
            return None
        return self.vram_total_bytes - self.vram_free_bytes


@dataclass(slots=True)
class SystemReading:
    """The host and this process at one moment."""

    ram_total_bytes: int | None = None
    ram_free_bytes: int | None = None
    """What can still be had without swapping."""
    process_rss_bytes: int | None = None
    cpu_percent: float | None = None
    """Of the whole host since the reading before; null where there was none just before."""
    swap_used_bytes: int | None = None


@dataclass(slots=True)
class SourceReading:
    """What one source tells at one moment."""

    devices: list[DeviceReading] = field(default_factory=list)
    system: SystemReading | None = None
    loaded_models: frozenset[int] | None = None
    """Marks of the models that ComfyUI holds loaded; null where it doesn't say."""
    notes: list[str] = field(default_factory=list)
    reopen: str | None = None
    """Why the source is to be opened anew, though it gave something; null where all is well."""


CARD_FIGURES = frozenset(
    {
        "vram_total_bytes",
        "vram_free_bytes",
        "utilization_percent",
        "temperature_celsius",
        "power_watts",
        "energy_joules",
    }
)
"""What a card's driver usually tells."""


class Source(Protocol):
    """One place that figures come from. Used by one thread at a time."""

    name: str
    gives: frozenset[str]
    """The figures that it may give."""
    may_hang: bool
    """True where it asks a driver, which may never answer: it is read on a thread that can be left behind."""

    def probe(self) -> None:
        """Open it. Raises SourceUnavailableError, or whatever its library raises."""

    def read(self) -> SourceReading:
        """Everything it can tell now. Raises whatever its library raises."""

    def close(self) -> None:
        """Let go of it. May be called twice, and when it was never open. Raises nothing."""
