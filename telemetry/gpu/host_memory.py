"""The host's memory and processor and this process' memory, by psutil."""

from __future__ import annotations

import time

import psutil

from .numbers import percent, size
from .reading import SourceReading, SystemReading

STALE_SECONDS = 5.0
"""How old the reading before may be for the processor's share since then to say anything."""


class HostMemory:
    """Always there. Asks the operating system."""

    name = "psutil"
    gives = frozenset({"ram_total_bytes", "ram_free_bytes", "process_rss_bytes", "swap_used_bytes", "cpu_percent"})
    may_hang = False

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._before: tuple[float, float, float] | None = None
        """When, and the processor's busy and whole seconds then."""

    def probe(self) -> None:
        """Nothing to open."""

    def read(self) -> SourceReading:
        """The figures. cpu_percent is null where the reading before is more than 5 s old."""
        memory = psutil.virtual_memory()
        return SourceReading(
            system=SystemReading(
                ram_total_bytes=size(memory.total),
                ram_free_bytes=size(memory.available),
                process_rss_bytes=size(self._process.memory_info().rss),
                swap_used_bytes=_swap_used(),
                cpu_percent=self._cpu(),
            )
        )

    def _cpu(self) -> float | None:
        """Counted here, not by `psutil.cpu_percent`: that one remembers its last call for the whole process."""
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        whole = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        now, before = (time.monotonic(), whole - idle, whole), self._before
        self._before = now
        if before is None or now[0] - before[0] > STALE_SECONDS or now[2] <= before[2]:
            return None
        return percent(round(min(100.0, max(0.0, 100 * (now[1] - before[1]) / (now[2] - before[2]))), 1))

    def close(self) -> None:
        """Nothing to close."""


def _swap_used() -> int | None:
    """Null where the system has no such thing."""
    try:
        return size(psutil.swap_memory().used)
    except (OSError, RuntimeError):
        return None
