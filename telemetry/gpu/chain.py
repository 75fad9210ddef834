"""The chain of sources: opened when they are first needed, read in turn, and opened anew after a failure.

A source that fails, hangs or loses a device costs its own figures, with a note; the next one that has them takes its
place. It is tried again after a second, then after twice as long each time, up to a minute.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..process.redact import redact
from .merging import Snapshot, merge
from .reading import Source, SourceReading, SourceUnavailableError
from .timed_calls import HungError, TimedCalls
from .torch_devices import TorchDevices

READ_SECONDS = 2.0
"""How long a source may take: far more than a driver needs that is well."""
FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0


@dataclass(slots=True)
class _Link:
    """One source and how it is."""

    source: Source
    calls: TimedCalls
    open: bool = False
    why: str | None = None
    """Why it gives nothing, or less than it could; null where all is well."""
    absent: bool = False
    retry_at: float = 0.0
    failures: int = field(default=0)

    def failed(self, why: str, now: float, *, absent: bool = False) -> None:
        self.open, self.why, self.absent = False, why, absent
        self.put_off(now)

    def put_off(self, now: float) -> None:
        """Try again after a second, then after twice as long as before."""
        self.retry_at = now + min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0**self.failures)
        self.failures += 1


class Chain:
    """All sources, in the order in which they are believed. Any thread may read; one at a time does."""

    def __init__(
        self,
        sources: Sequence[Source],
        read_seconds: float = READ_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._links = [_Link(source, TimedCalls(f"run-recorder-{source.name}")) for source in sources]
        self._read_seconds = read_seconds
        self._clock = clock
        self._lock = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """The sources' names, in their order."""
        return tuple(link.source.name for link in self._links)

    def trouble(self) -> dict[str, str]:
        """Why each source that gives nothing, or less than it could, does so."""
        return {link.source.name: link.why for link in self._links if link.why is not None}

    def read(self, timeout: float = 30.0) -> Snapshot:
        """What all sources tell now, in at most `timeout` seconds: what has not answered by then is left out.

        Raises HungError where another thread reads and doesn't come to an end.
        """
        deadline = time.monotonic() + timeout
        if not self._lock.acquire(timeout=timeout):
            raise HungError("another reading has not come to an end")
        try:
            readings = [(link, self._read(link, deadline)) for link in self._links]
            given = [reading for _, reading in readings if reading is not None]
            snapshot = merge(given)
            snapshot.sources = tuple(link.source.name for link, reading in readings if _says_something(reading))
            self._spare_torch(snapshot)
        finally:
            self._lock.release()
        snapshot.at = time.perf_counter()
        return snapshot

    def _read(self, link: _Link, deadline: float) -> SourceReading | None:
        if link.absent or (link.source.may_hang and time.monotonic() >= deadline):
            return None
        now = self._clock()
        try:
            if (not link.open or link.why is not None) and now >= link.retry_at:
                self._call(link, link.source.probe, deadline)
                link.open = True
            if not link.open:
                return None
            reading = self._call(link, link.source.read, deadline)
        except SourceUnavailableError as error:
            link.failed(str(error), now, absent=error.absent)
            return None
        except Exception as error:  # noqa: BLE001  a driver's library may raise anything
            link.failed(redact(error) or type(error).__name__, now)
            return None
        if reading.reopen is None:
            link.why, link.failures, link.retry_at = None, 0, 0.0
        else:
            if link.why is None or now >= link.retry_at:
                link.put_off(now)
            link.why = reading.reopen
        return reading

    def _call(
        self, link: _Link, work: Callable[[], SourceReading] | Callable[[], None], deadline: float
    ) -> SourceReading:
        if not link.source.may_hang:
            return work()  # type: ignore[return-value]
        seconds = max(0.0, min(self._read_seconds, deadline - time.monotonic()))
        return link.calls.call(work, seconds)  # type: ignore[return-value]

    def _spare_torch(self, snapshot: Snapshot) -> None:
        """Ask the driver through torch only for what nobody else tells."""
        needed = any(
            device.in_use
            and device.type != "cpu"
            and not device.unified
            and (device.vram_free_bytes is None or device.source.split("+")[0] == TorchDevices.name)
            for device in snapshot.devices
        )
        for link in self._links:
            if isinstance(link.source, TorchDevices):
                link.source.ask_memory(needed or not link.open)

    def close(self) -> None:
        """Let go of every source that answers."""
        for link in self._links:
            try:
                self._call(link, link.source.close, time.monotonic() + self._read_seconds)
            except Exception as error:  # noqa: BLE001  it is not needed any more
                link.why = str(error)
            link.open = False
            link.calls.end()


def _says_something(reading: SourceReading | None) -> bool:
    """A cpu that torch names has no figures: such a reading is no source of any."""
    if reading is None:
        return False
    return reading.system is not None or any(device.type != "cpu" for device in reading.devices)
