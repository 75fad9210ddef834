"""One prompt's readings, taken together as they come: peaks, means, energy, and when something could not be read."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from ..models.gpu import Device, System
from .merging import Snapshot
from .node_memory import NodeMemory
from .notes import NO_END, NOT_READ, OFF, notes_of, throttle_notes
from .reading import DeviceReading
from .samples import Curve, Key
from .totals import Mean, Totals
from .witness import Witness

DEVICE_COLUMNS = (
    "vram_used_bytes",
    "torch_allocated_bytes",
    "torch_reserved_bytes",
    "utilization_percent",
    "temperature_celsius",
    "power_watts",
    "clock_mhz",
)
SYSTEM_COLUMNS = ("ram_free_bytes", "process_rss_bytes", "cpu_percent")


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
        self._witness = Witness()

    # ------------------------------------------------------------ adding

    def add(self, snapshot: Snapshot, trouble: Mapping[str, str]) -> None:
        """Add a reading; `trouble` says why each source that gives nothing does so."""
        with self._lock:
            seconds = max(0.0, snapshot.at - (self.started if self._last is None else self._last))
            self._add_devices(snapshot, min(seconds, self._longest), trouble)
            self._add_system(snapshot, min(seconds, self._longest))
            if self._readings == 0 and not self._is_over(snapshot.at):
                self._witness.first(snapshot)
            self._witness.add(snapshot, min(seconds, self._longest))
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
        """Hold the session still, with all boundaries of nodes taken in."""
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
                found += notes_of(totals, self._trouble)
            if self.ended is not None and not self.complete.is_set():
                found.append(NO_END)
            return list(dict.fromkeys(found))

    def throttle_notes(self) -> list[str]:
        """What held the devices' clocks down: not about figures, but about the prompt."""
        with self._lock:
            return [note for totals in self._devices for note in throttle_notes(totals)]

    def witness(self) -> Witness:
        """What was seen of the prompt's conditions so far."""
        with self._lock:
            held = self._witness.throttled_seconds
            return replace(self._witness, throttled_seconds=None if held is None else dict(held))

    def models_seen(self) -> list[frozenset[int]]:
        """Marks of what was loaded, each time that it was something else than before."""
        with self._lock:
            return list(self._witness.models)

    def encode(self) -> bytes | None:
        """The curve as it is stored; null where there is no reading."""
        with self._lock:
            return self.curve.encode() if self._readings else None


def _highest(one: int | None, other: int | None) -> int | None:
    """What torch has reserved is used, whether or not a reading came while it was."""
    known = [value for value in (one, other) if value is not None]
    return max(known, default=None)


def _round(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)
