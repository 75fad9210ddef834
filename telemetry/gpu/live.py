"""A snapshot as it is served: the devices and the host as they are now."""

from __future__ import annotations

from collections.abc import Mapping

from ..models.gpu import LiveDevice, LiveFigures, System
from .merging import Snapshot
from .notes import CPU_HAS_NONE, missing_notes
from .reading import DeviceReading

WANTED = ("vram_total_bytes", "utilization_percent", "temperature_celsius", "power_watts")
NO_FIGURES = "no figures of GPU and memory can be read now"


def live_figures(snapshot: Snapshot | None, trouble: Mapping[str, str] | None = None) -> LiveFigures:
    """What is known now; without a device, and with a note, where nothing can be read.

    `trouble` says why each source that gives nothing does so.
    """
    if snapshot is None:
        return LiveFigures(devices=[], fallback_notes=[NO_FIGURES])
    notes = [*snapshot.notes, *(note for device in snapshot.devices for note in _missing(device, trouble or {}))]
    if any(device.type == "cpu" for device in snapshot.devices):
        notes.insert(0, CPU_HAS_NONE)
    return LiveFigures(
        devices=[live_device(device) for device in snapshot.devices],
        system=_system(snapshot),
        telemetry_source=snapshot.source,
        fallback_notes=list(dict.fromkeys(notes)),
    )


def _missing(device: DeviceReading, trouble: Mapping[str, str]) -> list[str]:
    if not device.in_use or device.type == "cpu":
        return []
    had = {name: getattr(device, name) for name in WANTED}
    return missing_notes(device, had, trouble)


def live_device(device: DeviceReading) -> LiveDevice:
    """One device now."""
    return LiveDevice(
        index=device.index,
        name=device.name,
        type=device.type,
        in_use=device.in_use,
        uuid=device.uuid,
        vram_total_bytes=device.vram_total_bytes,
        vram_free_bytes=device.vram_free_bytes,
        utilization_percent=device.utilization_percent,
        temperature_celsius=device.temperature_celsius,
        power_watts=device.power_watts,
        source=device.source,
    )


def _system(snapshot: Snapshot) -> System | None:
    now = snapshot.system
    if now is None:
        return None
    return System(
        ram_total_bytes=now.ram_total_bytes,
        ram_free_bytes=now.ram_free_bytes,
        process_rss_bytes=now.process_rss_bytes,
        cpu_percent=now.cpu_percent,
    )
