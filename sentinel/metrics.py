"""What Prometheus reads of a sentinel. No label ever holds a path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import Counter, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..telemetry.live.metrics import Registry
from ..telemetry.models.marker import DoneMarker
from .callbacks import KeeperCallbacks
from .evidence import Key
from .service import Sentinel

DELAY_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""A prompt's record is a matter of milliseconds, a window of seconds, a failing disk of minutes."""
STATUSES = ("success", "error", "interrupted", "abandoned")
SCANS = ("start", "folder", "burst")
MODES = ("events", "polling", "waiting")


class SentinelMetrics:
    """Counts what a keeper tells, on its way to those who show it."""

    def __init__(self) -> None:
        self.registry = Registry()
        self._markers = Counter(
            "run_recorder_sentinel_markers", "Markers written, by their status.", ["status"], registry=self.registry
        )
        self._withdrawn = Counter(
            "run_recorder_sentinel_withdrawn", "Markers of ours removed as their group changed.", registry=self.registry
        )
        self._failures = Counter(
            "run_recorder_sentinel_failures", "Times that a marker could not be written.", registry=self.registry
        )
        self._odd = Counter(
            "run_recorder_sentinel_odd_entries",
            "Entries met that cost their group its marker: links, pipes, folders, names.",
            registry=self.registry,
        )
        self._scans = Counter(
            "run_recorder_sentinel_scans", "Times that a folder was scanned, by why.", ["why"], registry=self.registry
        )
        self._delays = Histogram(
            "run_recorder_sentinel_delay_seconds",
            "From the last news of a group to its marker.",
            buckets=DELAY_SECONDS,
            registry=self.registry,
        )
        for status in STATUSES:
            self._markers.labels(status)
        for why in SCANS:
            self._scans.labels(why)

    def counting(self, callbacks: KeeperCallbacks) -> KeeperCallbacks:
        """The same, counted."""

        def marked(path: Path, marker: DoneMarker, delay: float) -> None:
            self._markers.labels(marker.Status or "success").inc()
            self._delays.observe(delay)
            callbacks.marked(path, marker, delay)

        def withdrawn(path: Path) -> None:
            self._withdrawn.inc()
            callbacks.withdrawn(path)

        def failed(key: Key, why: str) -> None:
            self._failures.inc()
            callbacks.failed(key, why)

        def scanned(why: str) -> None:
            self._scans.labels(why).inc()
            callbacks.scanned(why)

        def odd(path: Path, why: str | None) -> None:
            self._odd.inc(why is not None)
            callbacks.odd(path, why)

        return KeeperCallbacks(marked, withdrawn, failed, scanned, odd)

    def watch(self, sentinel: Sentinel) -> None:
        """Read a sentinel when it is asked for."""
        self.registry.register(_Live(sentinel))

    def serve(self, host: str, port: int) -> Callable[[], None]:
        """Serve on `host:port`; what ends that. Raises OSError."""
        server: WSGIServer
        server, thread = start_http_server(port, host, self.registry)

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join(5)

        return stop


class _Live(Collector):
    def __init__(self, sentinel: Sentinel) -> None:
        self._sentinel = sentinel

    def collect(self) -> Iterator[Metric]:
        """The open groups, and how the folders are watched."""
        count = sum(len(watch.keeper.groups.open) for watch in self._sentinel.watches)
        yield GaugeMetricFamily("run_recorder_sentinel_open_groups", "Groups that are not complete.", value=count)
        family: Any = GaugeMetricFamily(
            "run_recorder_sentinel_folders", "Watched folders, by how they are watched now.", labels=["mode"]
        )
        modes = [watch.mode for watch in self._sentinel.watches]
        for mode in MODES:
            family.add_metric([mode], modes.count(mode))
        yield family
