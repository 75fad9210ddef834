"""What one device had and did while a prompt ran: means, peaks, energy, and when a source could not tell of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .reading import DeviceReading


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
        self.throttled.update(now.throttled or ())

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
