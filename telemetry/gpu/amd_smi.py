"""AMD's cards by amdsmi, AMD's own library, where it is installed (it comes with ROCm)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from .identity import normal_pci
from .numbers import celsius, figure, free_of, percent, size, text, watts
from .reading import CARD_FIGURES, DeviceReading, SourceReading, SourceUnavailableError

MEBIBYTE = 1024 * 1024


class AmdSmi:
    """Cards in the library's order. A figure that a card lacks comes as text (`N/A`), and is null."""

    name = "amdsmi"
    gives = CARD_FIGURES
    may_hang = True

    def __init__(self) -> None:
        self._smi: Any = None
        self._cards: list[tuple[Any, DeviceReading]] = []

    def probe(self) -> None:
        """Open the library and find the cards. Raises SourceUnavailableError."""
        try:
            smi = importlib.import_module("amdsmi")
        except (ImportError, OSError, KeyError) as error:  # without ROCm its import fails in several ways
            raise SourceUnavailableError("amdsmi is not installed", absent=True) from error
        self.close()
        smi.amdsmi_init()
        self._smi = smi
        self._cards = [(handle, self._about(n, handle)) for n, handle in enumerate(smi.amdsmi_get_processor_handles())]
        if not self._cards:
            raise SourceUnavailableError("amdsmi sees no card", absent=True)

    def _about(self, index: int, handle: Any) -> DeviceReading:
        smi = self._smi
        asic = self._asked(lambda: smi.amdsmi_get_gpu_asic_info(handle))
        name = asic.get("market_name") if isinstance(asic, Mapping) else None
        uuid = self._asked(lambda: smi.amdsmi_get_gpu_device_uuid(handle))
        pci = self._asked(lambda: smi.amdsmi_get_gpu_device_bdf(handle))
        return DeviceReading(self.name, "rocm", index, text(name), text(uuid, 100), normal_pci(text(pci)))

    def _asked(self, ask: Callable[[], Any]) -> Any:
        """An answer; null where the card doesn't have it."""
        try:
            return ask()
        except self._smi.AmdSmiException:
            return None

    def read(self) -> SourceReading:
        """Every card that tells anything; `reopen` says which tells nothing."""
        found: list[DeviceReading] = []
        silent: list[DeviceReading] = []
        for handle, about in self._cards:
            reading = self._read(handle, about)
            (found if reading is not None else silent).append(reading or about)
        why = ", ".join(f"{about.name or about.label} tells nothing" for about in silent) or None
        if why is not None and not found:
            raise SourceUnavailableError(why)
        return SourceReading(devices=found, reopen=why)

    def _read(self, handle: Any, about: DeviceReading) -> DeviceReading | None:
        smi = self._smi
        memory = self._asked(lambda: smi.amdsmi_get_gpu_vram_usage(handle))
        load = self._asked(lambda: smi.amdsmi_get_gpu_activity(handle))
        power = self._asked(lambda: smi.amdsmi_get_power_info(handle))
        if memory is None and load is None and power is None:
            return None
        now = DeviceReading(about.source, about.type, about.index, about.name, about.uuid, about.pci)
        total, used = size(_of(memory, "vram_total"), MEBIBYTE), size(_of(memory, "vram_used"), MEBIBYTE)
        free = total - used if total is not None and used is not None and used <= total else None
        now.vram_total_bytes, now.vram_free_bytes = free_of(total, free)
        now.utilization_percent = percent(_of(load, "gfx_activity"))
        now.power_watts = watts(_first(power, "average_socket_power", "current_socket_power", "socket_power"))
        sensor, metric = smi.AmdSmiTemperatureType.EDGE, smi.AmdSmiTemperatureMetric.CURRENT
        now.temperature_celsius = celsius(self._asked(lambda: smi.amdsmi_get_temp_metric(handle, sensor, metric)))
        now.energy_joules = _energy(self._asked(lambda: smi.amdsmi_get_energy_count(handle)))
        return now

    def close(self) -> None:
        """Shut the library down."""
        smi, self._smi = self._smi, None
        self._cards = []
        if smi is not None:
            try:
                smi.amdsmi_shut_down()
            except smi.AmdSmiException:
                return


def _of(answer: Any, name: str) -> Any:
    return answer.get(name) if isinstance(answer, Mapping) else None


def _first(answer: Any, *names: str) -> Any:
    return next((value for name in names if figure(value := _of(answer, name)) is not None), None)


def _energy(answer: Any) -> float | None:
    """The counter times its resolution, which is in microjoules."""
    count = figure(_first(answer, "energy_accumulator", "power"))
    resolution = figure(_of(answer, "counter_resolution"))
    return None if count is None or resolution is None else count * resolution / 1e6
