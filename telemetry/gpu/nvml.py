"""NVIDIA's cards by NVML, through nvidia-ml-py: what nvidia-smi shows, a hundred times cheaper.

A figure that a card doesn't support is asked for once. A card that is lost is left out, and the library is opened anew
from time to time until it is back.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .identity import normal_pci
from .numbers import celsius, figure, free_of, percent, size, text, watts
from .reading import CARD_FIGURES, DeviceReading, SourceReading, SourceUnavailableError

THROTTLED = {
    0x4: "power_limit",
    0x8: "hardware_slowdown",
    0x20: "temperature",
    0x40: "hardware_temperature",
    0x80: "power_brake",
}
"""NVML's reasons that a clock is held down, and that are worth telling: not idleness, nor what a user has set."""
MEMORY = "memory"


@dataclass(slots=True)
class _Card:
    """A card, or one part of a partitioned one. `lacks` are the figures that it doesn't tell, and NVML's reasons."""

    handle: Any
    about: DeviceReading
    parent: Any = None
    """The whole card's handle, of a part."""
    lacks: dict[str, int] = field(default_factory=dict)


class Nvml:
    """Cards in the order of their PCI addresses, parts of a partitioned card after it."""

    name = "nvml"
    gives = CARD_FIGURES | {"clock_mhz", "throttled", "vram_others_bytes"}
    may_hang = True

    def __init__(self) -> None:
        self._nvml: Any = None
        self._cards: list[_Card] = []
        self._missing: list[str] = []

    # ------------------------------------------------------------ opening

    def probe(self) -> None:
        """Load the library and find the cards. Raises SourceUnavailableError."""
        try:
            nvml = importlib.import_module("pynvml")
        except ImportError as error:
            raise SourceUnavailableError("nvidia-ml-py is not installed", absent=True) from error
        self.close()
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            absent = getattr(error, "value", None) == nvml.NVML_ERROR_LIBRARY_NOT_FOUND
            raise SourceUnavailableError(_said(error), absent=absent) from error
        self._nvml = nvml
        self._find_cards()

    def _find_cards(self) -> None:
        nvml = self._nvml
        self._cards, self._missing = [], []
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                self._cards += [self._card(index, handle), *self._parts(index, handle)]
            except nvml.NVMLError as error:
                self._missing.append(f"card {index}: {_said(error)}")

    def _card(self, index: int, handle: Any) -> _Card:
        nvml = self._nvml
        pci = self._or_null(lambda: nvml.nvmlDeviceGetPciInfo(handle).busId)
        return _Card(handle, self._about(index, handle, normal_pci(text(pci))))

    def _parts(self, index: int, handle: Any) -> list[_Card]:
        """The parts of a card in MIG mode; none of any other."""
        nvml = self._nvml
        mode = self._or_null(lambda: nvml.nvmlDeviceGetMigMode(handle)[0])
        if mode != nvml.NVML_DEVICE_MIG_ENABLE:
            return []
        parts = []
        for number in range(self._or_null(lambda: nvml.nvmlDeviceGetMaxMigDeviceCount(handle)) or 0):
            ask = functools.partial(nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, number)
            part = self._or_null(ask)
            if part is not None:
                parts.append(_Card(part, self._about(index, part, None), parent=handle))
        return parts

    def _about(self, index: int, handle: Any, pci: str | None) -> DeviceReading:
        nvml = self._nvml
        name = self._or_null(lambda: nvml.nvmlDeviceGetName(handle))
        uuid = self._or_null(lambda: nvml.nvmlDeviceGetUUID(handle))
        return DeviceReading(self.name, "cuda", index, text(name), text(uuid, 100), pci)

    def _or_null(self, ask: Callable[[], Any]) -> Any:
        """An answer; null where the card doesn't support the question. Raises where the card is lost."""
        try:
            return ask()
        except self._nvml.NVMLError as error:
            if self._is_loss(error):
                raise
            return None

    def _is_loss(self, error: Exception) -> bool:
        nvml = self._nvml
        return getattr(error, "value", None) not in (
            nvml.NVML_ERROR_NOT_SUPPORTED,
            nvml.NVML_ERROR_FUNCTION_NOT_FOUND,
            nvml.NVML_ERROR_NO_PERMISSION,
            nvml.NVML_ERROR_NOT_FOUND,
            nvml.NVML_ERROR_INVALID_ARGUMENT,
        )

    # ------------------------------------------------------------ reading

    def read(self) -> SourceReading:
        """Every card that answers; `reopen` says which does not. Raises SourceUnavailableError where none does."""
        if self._nvml is None:
            raise SourceUnavailableError("NVML is not open")
        found, lost = [], list(self._missing)
        for card in self._cards:
            try:
                found.append(self._read(card))
            except self._nvml.NVMLError as error:
                lost.append(f"{card.about.name or card.about.label}: {_said(error)}")
        if lost and not found:
            raise SourceUnavailableError("; ".join(lost))
        return SourceReading(devices=found, reopen="; ".join(lost) or None)

    def _read(self, card: _Card) -> DeviceReading:
        about = card.about
        now = DeviceReading(about.source, about.type, about.index, about.name, about.uuid, about.pci)
        memory = self._ask(card, MEMORY, "nvmlDeviceGetMemoryInfo")
        now.unified = card.lacks.get(MEMORY) == self._nvml.NVML_ERROR_NOT_SUPPORTED
        if memory is not None:
            now.vram_total_bytes, now.vram_free_bytes = free_of(size(memory.total), size(memory.free))
        whole = card if card.parent is None else _Card(card.parent, about, lacks=card.lacks)
        now.temperature_celsius = celsius(self._ask(whole, "temperature", "nvmlDeviceGetTemperature", 0))
        if card.parent is None:
            self._read_load(card, now)
        return now

    def _read_load(self, card: _Card, now: DeviceReading) -> None:
        """What only a whole card has: of a part, NVML would tell what its neighbours do as well."""
        load = self._ask(card, "load", "nvmlDeviceGetUtilizationRates")
        now.utilization_percent = percent(load.gpu) if load is not None else None
        now.power_watts = watts(_scaled(self._ask(card, "power", "nvmlDeviceGetPowerUsage")))
        now.energy_joules = figure(_scaled(self._ask(card, "energy", "nvmlDeviceGetTotalEnergyConsumption")))
        now.clock_mhz = figure(self._ask(card, "clock", "nvmlDeviceGetClockInfo", 1), 0, 100_000)
        now.vram_others_bytes = self._others(card)
        reasons = self._ask(card, "throttle", "nvmlDeviceGetCurrentClocksThrottleReasons")
        if reasons is not None:
            now.throttled = tuple(why for bit, why in THROTTLED.items() if reasons & bit)

    def _others(self, card: _Card) -> int | None:
        """What other processes hold; null where this one is not among those that the driver names.

        In a container the driver may name none, or by numbers of another world.
        """
        found: dict[int, int | None] = {}
        for kind in ("Compute", "Graphics"):
            for process in self._processes(card, kind):
                found[process.pid] = process.usedGpuMemory
        if found.pop(os.getpid(), None) is None or None in found.values():
            return None
        return size(sum(used for used in found.values() if used is not None))

    def _processes(self, card: _Card, kind: str) -> Sequence[Any]:
        """By the newest way that the driver and the package have; none where they have none."""
        for version in ("v3", "v2"):
            function = f"nvmlDeviceGet{kind}RunningProcesses_{version}"
            found = self._ask(card, function, function) if hasattr(self._nvml, function) else None
            if found is not None:
                return found  # type: ignore[no-any-return]
        return ()

    def _ask(self, card: _Card, what: str, function: str, *more: int) -> Any:
        """One figure; null, from now on, where the card doesn't support it. Raises where the card is lost."""
        if what in card.lacks:
            return None
        try:
            return getattr(self._nvml, function)(card.handle, *more)
        except self._nvml.NVMLError as error:
            if self._is_loss(error):
                raise
            card.lacks[what] = error.value
            return None

    def close(self) -> None:
        """Shut the library down, so that the next opening sees a new driver."""
        nvml, self._nvml = self._nvml, None
        self._cards = []
        if nvml is not None:
            try:
                nvml.nvmlShutdown()
            except nvml.NVMLError:
                return


def _scaled(thousandths: Any) -> float | None:
    number = figure(thousandths)
    return None if number is None else number / 1000


def _said(error: Exception) -> str:
    """NVML's own words; where the library is too broken to have any, the number of its error."""
    return text(str(error)) or f"NVML error {getattr(error, 'value', '?')}"
