"""What a reader should know of a prompt's figures, in sentences: what is missing, since when, and why."""

from __future__ import annotations

from collections.abc import Mapping

from .reading import DeviceReading
from .totals import Totals

CPU_HAS_NONE = "device cpu has no memory of its own: its figures are null, and system has the host's"
NOT_READ = "no figures of GPU and memory: nothing could be read while this prompt ran"
OFF = "no figures of GPU and memory were sampled: RUN_RECORDER_GPU_SOURCES turns it off"
NO_END = "the reading at this prompt's end did not come in time: what is free after it is null"
INTEGRATED = "{label}: energy_joules is the power readings added up over time, since it has no counter"
BEGAN_ANEW = "{label}: its energy counter began anew, so what it used just before that is not in energy_joules"
UNKNOWN = "{label}: no source tells {figures}{why}"
GAP = "{label} could not be read by {source} for {seconds:.1f} s, from {start:.1f} s after the start{why}"
THROTTLED = "{label} was held down by {why} in {count} of {readings} readings"
HELD_DOWN_BY = {
    "power_limit": "its power limit",
    "hardware_slowdown": "hardware slowdown",
    "temperature": "its temperature",
    "hardware_temperature": "its temperature (hardware)",
    "power_brake": "the power supply's brake",
}
TELLING = {"cuda": ("nvml",), "rocm": ("amdsmi", "sysfs"), "xpu": ("sysfs",)}
"""The sources that could tell more than torch does of a device, by its type."""


def notes_of(totals: Totals, trouble: Mapping[str, str]) -> list[str]:
    """What is to be said of one device; `trouble` says why each source that gives nothing does so."""
    label = totals.about.label if totals.about.in_use else totals.about.name or totals.about.label
    found = [
        GAP.format(
            label=label, source=gap.source, seconds=gap.until - gap.since, start=gap.since, why=_because(gap.why)
        )
        for gap in totals.absences
    ]
    if totals.energy.is_integrated:
        found.append(INTEGRATED.format(label=label))
    if totals.energy.began_anew:
        found.append(BEGAN_ANEW.format(label=label))
    if totals.about.type == "cpu":
        return [CPU_HAS_NONE, *found]
    return [*_missing(totals, trouble), *found] if totals.about.in_use else found


def _missing(totals: Totals, trouble: Mapping[str, str]) -> list[str]:
    had = {
        "vram_total_bytes": totals.total,
        "utilization_percent": totals.utilization.last,
        "temperature_celsius": totals.temperature.last,
        "power_watts": totals.power.last,
    }
    return missing_notes(totals.about, had, trouble)


def throttle_notes(totals: Totals) -> list[str]:
    """What held a device's clock down: not about figures, but about the prompt."""
    label, readings = totals.about.label, totals.readings
    return [
        THROTTLED.format(label=label, why=HELD_DOWN_BY.get(why, why), count=count, readings=readings)
        for why, count in totals.throttled.items()
    ]


def missing_notes(device: DeviceReading, had: Mapping[str, float | None], trouble: Mapping[str, str]) -> list[str]:
    """What no source tells of a device, and why, in one note; none where all is told."""
    missing = ", ".join(name for name, value in had.items() if value is None)
    telling = TELLING.get(device.type, ())
    why = "; ".join(f"{name}: {trouble[name]}" for name in telling if name in trouble)
    return [UNKNOWN.format(label=device.label, figures=missing, why=_because(why))] if missing else []


def _because(why: str | None) -> str:
    return f" ({why})" if why else ""
