"""One prompt's readings, taken together as they come: peaks, means, energy, and when something could not be read."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..contract import Device, System
from .merging import Snapshot
from .node_memory import NodeMemory
from .reading import DeviceReading
from .samples import Curve, Key

CPU_HAS_NONE = "device cpu has no memory of its own: its figures are null, and system has the host's"
NOT_READ = "no figures of GPU and memory: nothing could be read while this prompt ran"
OFF = "no figures of GPU and memory were sampled: RUN_RECORDER_GPU_SOURCES turns it off"
NO_END = "the reading at this prompt's end did not come in time: what is free after it is null"
INTEGRATED = "{label}: energy_joules is the power readings added up over time, since it has no counter"
BEGAN_ANEW = "{label}: its energy counter began anew, so what it used just before that is not in energy_joules"
UNKNOWN = "{label}: no source tells {figures}{why}"
GAP = "{label} could not be read by {source} for {seconds:.1f} s, from {start:.1f} s after the start{why}"
THROTTLED = "{label} was held down by {why} in {count} of {readings} readings"
DEVICE_COLUMNS = (
    "vram_used_bytes",
    "torch_allocated_bytes",
    "torch_reserved_bytes",
    "utilization_percent",
    "temperature_celsius",
    "power_watts",
    "clock_mhz",
)
TELLING = {"cuda": ("nvml",), "rocm": ("amdsmi", "sysfs"), "xpu": ("sysfs",)}
"""The sources that could tell more than torch does of a device, by its type."""
SYSTEM_COLUMNS = ("ram_free_bytes", "process_rss_bytes", "cpu_percent")


@dataclass(slots=True)
class Mean:
    """A mean in which each reading counts for the time before it, and the highest."""

    total: float = 0.0
    seconds: float = 0.0
    last: float | None = None
    highest: float | None = None

    def add(self, value: float | None, seconds: float) -> None:
        """Add a reading that stands for the `seconds` before it."""
        if value is None:
            return
        self.total += value * seconds
        self.seconds += seconds
        self.last = value
        self.highest = value if self.highest is None else max(self.highest, value)

    @property
    def value(self) -> float | None:
        """The mean; the only reading where there is no more than one moment."""
        return self.total / self.seconds if self.seconds > 0 else self.last


@dataclass(slots=True)
class Energy:
    """By the device's counter where it has one, else power over time."""

    before: float | None = None
    counted: float = 0.0
    readings: int = 0
    began_anew: bool = False
    integrated: float = 0.0
    powers: int = 0

    def add(self, counter: float | None, power: float | None, seconds: float) -> None:
        """Add a reading that stands for the `seconds` before it."""
        if power is not None:
            self.integrated += power * seconds
            self.powers += 1
        if counter is None:
            return
        if self.before is not None and counter >= self.before:
            self.counted += counter - self.before
        self.began_anew |= self.before is not None and counter < self.before
        self.before = counter
        self.readings += 1

    @property
    def joules(self) -> float | None:
        """Since the first reading; null where there are not two."""
        if self.readings >= 2:
            return round(self.counted, 3)
        return round(self.integrated, 3) if self.powers >= 2 else None

    @property
    def is_integrated(self) -> bool:
        """True where there is no counter."""
        return self.readings < 2 <= self.powers


@dataclass(slots=True)
class Absence:
    """When a source that had told of a device could not. Seconds since the prompt's start."""

    source: str
    since: float
    until: float
    why: str | None
    over: bool = False


@dataclass(slots=True)
class Totals:
    """What one device had and did so far."""

    about: DeviceReading
    """Its newest reading."""
    place: int
    """Where it stands in the prompt's list."""
    uuid: str | None = None
    """As the first source to tell it spells it."""
    total: int | None = None
    sources: dict[str, None] = field(default_factory=dict)
    free_before: int | None = None
    free_last: int | None = None
    used_peak: int | None = None
    utilization: Mean = field(default_factory=Mean)
    temperature: Mean = field(default_factory=Mean)
    power: Mean = field(default_factory=Mean)
    energy: Energy = field(default_factory=Energy)
    throttled: Counter[str] = field(default_factory=Counter)
    readings: int = 0
    absences: list[Absence] = field(default_factory=list)

    def add(self, now: DeviceReading, seconds: float) -> None:
        """Add a reading that stands for the `seconds` before it."""
        self.about = now
        self.uuid, self.total = self.uuid or now.uuid, now.vram_total_bytes or self.total
        self.readings += 1
        self.free_last = now.vram_free_bytes
        used = now.vram_used_bytes
        if used is not None:
            self.used_peak = used if self.used_peak is None else max(self.used_peak, used)
        self.utilization.add(now.utilization_percent, seconds)
        self.temperature.add(now.temperature_celsius, seconds)
        self.power.add(now.power_watts, seconds)
        self.energy.add(now.energy_joules, now.power_watts, seconds)
        self.throttled.update(now.throttled)

    def told_by(self, names: Iterable[str], since: float, until: float, trouble: Mapping[str, str]) -> None:
        """Which sources told of it now, between two moments; one that had and can't is absent."""
        told = set(names)
        for name in self.sources:
            last = next((gap for gap in reversed(self.absences) if gap.source == name and not gap.over), None)
            if name in told or (told and name not in trouble):
                if last is not None:
                    last.over = True
            elif last is None:
                self.absences.append(Absence(name, since, until, trouble.get(name)))
            else:
                last.until = until
        self.sources.update(dict.fromkeys(names))


class Session:
    """A prompt's figures while it runs. The sampler adds; any thread may ask."""

    def __init__(self, prompt_id: str, started: float, longest: float = 1.0, *, is_on: bool = True) -> None:
        """`started` is on `time.perf_counter`; a reading stands for at most `longest` seconds."""
        self._is_on = is_on
        self.prompt_id = prompt_id
        self.started = started
        self.ended: float | None = None
        """When the prompt ended, on the same clock; null while it runs."""
        self.complete = threading.Event()
        """Set once the reading at the prompt's end is in."""
        self.closed = False
        """True once its figures are the record's for good."""
        self.kept_at = time.monotonic()
        """When its figures were last kept, on `time.monotonic`."""
        self.nodes = NodeMemory()
        self.curve = Curve()
        self._longest = longest
        self._lock = threading.Lock()
        self._devices: list[Totals] = []
        self._by_key: dict[str, Totals] = {}
        self._system = System()
        self._cpu = Mean()
        self._sources: dict[str, None] = {}
        self._notes: dict[str, None] = {}
        self._trouble: dict[str, str] = {}
        self._last: float | None = None
        self._readings = 0

    # ------------------------------------------------------------ adding

    def add(self, snapshot: Snapshot, trouble: Mapping[str, str]) -> None:
        """Add a reading; `trouble` says why each source that gives nothing does so."""
        with self._lock:
            seconds = max(0.0, snapshot.at - (self.started if self._last is None else self._last))
            self._add_devices(snapshot, min(seconds, self._longest), trouble)
            self._add_system(snapshot, min(seconds, self._longest))
            self._sources.update(dict.fromkeys(snapshot.sources))
            self._notes.update(dict.fromkeys(snapshot.notes))
            self._trouble.update(trouble)
            self.curve.add(max(0.0, snapshot.at - self.started), self._columns(snapshot))
            self._last = snapshot.at
            self._readings += 1

    def _add_devices(self, snapshot: Snapshot, seconds: float, trouble: Mapping[str, str]) -> None:
        since = (self.started if self._last is None else self._last) - self.started
        until = snapshot.at - self.started
        seen = set()
        for device in snapshot.devices:
            totals = self._totals(device, snapshot.at)
            totals.add(device, seconds)
            totals.told_by(device.source.split("+"), since, until, trouble)
            seen.add(totals.place)
        for totals in self._devices:
            if totals.place not in seen:
                totals.free_last = None
                totals.told_by((), since, until, trouble)

    def _totals(self, device: DeviceReading, at: float) -> Totals:
        """A device's totals. ComfyUI's own, whose card is lost or found again, goes by another key than before."""
        totals = self._by_key.get(device.key)
        if totals is None and device.in_use:
            totals = next((t for t in self._devices if t.about.in_use and t.about.label == device.label), None)
        if totals is None:
            totals = Totals(device, len(self._devices))
            totals.free_before = device.vram_free_bytes if self._readings == 0 and not self._is_over(at) else None
            self._devices.append(totals)
        self._by_key[device.key] = totals
        return totals

    def _is_over(self, at: float) -> bool:
        return self.ended is not None and at >= self.ended

    def _add_system(self, snapshot: Snapshot, seconds: float) -> None:
        now, system = snapshot.system, self._system
        if now is None:
            return
        system.ram_total_bytes, system.ram_free_bytes = now.ram_total_bytes, now.ram_free_bytes
        system.process_rss_bytes = now.process_rss_bytes
        if now.process_rss_bytes is not None:
            system.process_rss_peak_bytes = max(now.process_rss_bytes, system.process_rss_peak_bytes or 0)
        self._cpu.add(now.cpu_percent, seconds)

    def _columns(self, snapshot: Snapshot) -> dict[Key, float | None]:
        found: dict[Key, float | None] = {}
        for device in snapshot.devices:
            place = self._by_key[device.key].place
            for name in DEVICE_COLUMNS:
                found[place, name] = getattr(device, name)
        for name in SYSTEM_COLUMNS:
            found[None, name] = getattr(snapshot.system, name, None)
        if snapshot.loaded_models is not None:
            found[None, "models_loaded"] = len(snapshot.loaded_models)
        return found

    # ------------------------------------------------------------ asking

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold the session still, with all borders of nodes taken in."""
        with self._lock:
            self.nodes.take_in()
            yield

    def devices(self) -> list[Device]:
        """What each device had and did so far; ComfyUI's own first."""
        with self.reading():
            return [self._device(totals) for totals in self._devices]

    def _device(self, totals: Totals) -> Device:
        about, first = totals.about, totals.place == 0 and totals.about.in_use
        return Device(
            index=about.index,
            name=about.name,
            type=about.type,
            in_use=about.in_use,
            uuid=totals.uuid,
            vram_total_bytes=totals.total,
            vram_free_before_bytes=totals.free_before,
            vram_free_after_bytes=totals.free_last if self.complete.is_set() else None,
            vram_used_peak_bytes=_highest(totals.used_peak, self.nodes.reserved_peak if first else None),
            torch_allocated_peak_bytes=self.nodes.allocated_peak if first else None,
            torch_reserved_peak_bytes=self.nodes.reserved_peak if first else None,
            utilization_percent_mean=_round(totals.utilization.value),
            utilization_percent_max=totals.utilization.highest,
            temperature_celsius_max=totals.temperature.highest,
            power_watts_mean=_round(totals.power.value),
            energy_joules=totals.energy.joules,
            source="+".join(totals.sources),
        )

    def system(self) -> System | None:
        """The host and the process: the newest figures, the process' peak, and the processor's mean."""
        with self._lock:
            if self._system.ram_total_bytes is None:
                return None
            return self._system.model_copy(update={"cpu_percent": _round(self._cpu.value, 1)})

    @property
    def source(self) -> str | None:
        """The sources that gave something; null where none did."""
        with self._lock:
            return "+".join(self._sources) or None

    def fallback_notes(self) -> list[str]:
        """What a reader should know of the figures: what is missing, since when, and why."""
        with self._lock:
            if not self._readings:
                return [NOT_READ if self._is_on else OFF]
            found = list(self._notes)
            for totals in self._devices:
                found += self._notes_of(totals)
            if self.ended is not None and not self.complete.is_set():
                found.append(NO_END)
            return list(dict.fromkeys(found))

    def _notes_of(self, totals: Totals) -> list[str]:
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
        return [*self._missing(totals), *found] if totals.about.in_use else found

    def _missing(self, totals: Totals) -> list[str]:
        had = {
            "vram_total_bytes": totals.total,
            "utilization_percent": totals.utilization.last,
            "temperature_celsius": totals.temperature.last,
            "power_watts": totals.power.last,
        }
        return missing_notes(totals.about, had, self._trouble)

    def throttle_notes(self) -> list[str]:
        """What held a device's clock down: not about figures, but about the prompt."""
        with self._lock:
            return [
                THROTTLED.format(label=totals.about.label, why=why, count=count, readings=totals.readings)
                for totals in self._devices
                for why, count in totals.throttled.items()
            ]

    def encode(self) -> bytes | None:
        """The curve as it is stored; null where there is no reading."""
        with self._lock:
            return self.curve.encode() if self._readings else None


def missing_notes(device: DeviceReading, had: Mapping[str, float | None], trouble: Mapping[str, str]) -> list[str]:
    """What no source tells of a device, and why, in one note; none where all is told."""
    missing = ", ".join(name for name, value in had.items() if value is None)
    telling = TELLING.get(device.type, ())
    why = "; ".join(f"{name}: {trouble[name]}" for name in telling if name in trouble)
    return [UNKNOWN.format(label=device.label, figures=missing, why=_because(why))] if missing else []


def _highest(one: int | None, other: int | None) -> int | None:
    """What torch has reserved is used, whether or not a reading came while it was."""
    known = [value for value in (one, other) if value is not None]
    return max(known, default=None)


def _because(why: str | None) -> str:
    return f" ({why})" if why else ""


def _round(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)
