"""`run-recorder sentinel`: markers for graphs without the node, by watching folders from outside."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..sentinel.callbacks import KeeperCallbacks
from ..sentinel.lock import HeldError
from ..sentinel.options import Options
from ..sentinel.service import Sentinel, distinct
from ..telemetry.markers.file import as_document
from ..telemetry.models.marker import DoneMarker
from .output import DONE, FAILED, INTERRUPTED, fail
from .sentinel_install import install, status, uninstall
from .sentinel_live import LiveLine
from .sentinel_options import (
    Comfyui,
    Extensions,
    Folders,
    MetricsHost,
    MetricsPort,
    MinFrames,
    Polling,
    Recursive,
    ScanInterval,
    StableSeconds,
    checked,
    server,
)
from .terminal import clear_line, log_to_terminal, print_document, say, tell

app = typer.Typer(help="Marks what is complete in folders, for graphs without the node.", no_args_is_help=True)
app.command("install")(install)
app.command("uninstall")(uninstall)
app.command("status")(status)


@app.command("watch")
def watch(
    folders: Folders,
    stable_seconds: StableSeconds = 3.0,
    scan_interval: ScanInterval = 2.0,
    min_frames: MinFrames = 1,
    extensions: Extensions = None,
    once: Annotated[bool, typer.Option("--once", help="Scan, mark what is complete, and end.")] = False,
    polling: Polling = False,
    recursive: Recursive = True,
    comfyui: Comfyui = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document a marker, a line each.")] = False,
) -> int:
    """Watch folders in the foreground, and mark each sequence once it is complete."""
    given = Options(stable_seconds, scan_interval, min_frames, recursive, polling)
    options = checked(folders, given, extensions)
    if once:
        _check_there(folders)
    log_to_terminal()
    report = Report(as_json=as_json)
    callbacks, stop_metrics = report.callbacks(), None
    metrics = _metrics(metrics_port)
    if metrics is not None:
        callbacks = metrics.counting(callbacks)
    sentinel = Sentinel(distinct(folders, recursive=recursive), options, callbacks=callbacks, comfyui=server(comfyui))
    try:
        sentinel.take_locks()
    except HeldError as error:
        fail("conflict", str(error))
    try:
        if metrics is not None:
            metrics.watch(sentinel)
            stop_metrics = _serve(metrics, metrics_host, metrics_port or 0)
        return _once(sentinel, report) if once else _until_stopped(sentinel)
    finally:
        sentinel.stop()
        if stop_metrics is not None:
            stop_metrics()


def _check_there(folders: list[Path]) -> None:
    for folder in folders:
        if not folder.is_dir():
            fail("not_found", f"{folder} is no folder")


def _metrics(port: int | None) -> Any:
    if port is None:
        return None
    from ..sentinel.metrics import SentinelMetrics

    return SentinelMetrics()


def _serve(metrics: Any, host: str, port: int) -> Callable[[], None]:
    try:
        stop: Callable[[], None] = metrics.serve(host, port)
    except OSError as error:
        fail("unavailable", f"--metrics-port: {host}:{port} can't be listened on ({error.strerror})")
    return stop


class Report:
    """Prints what is marked, and counts what fails."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._lock = threading.Lock()
        self.marked = self.failed = 0
        self.odd: set[Path] = set()
        """What lies there can't be marked."""

    def callbacks(self) -> KeeperCallbacks:
        """For the keepers."""
        return KeeperCallbacks(marked=self._marked, withdrawn=self._withdrawn, failed=self._failed, odd=self._met)

    def _marked(self, path: Path, marker: DoneMarker, _delay: float) -> None:
        with self._lock:
            self.marked += 1
            clear_line()
            if self._as_json:
                print_document({"Path": str(path), **as_document(marker)}, in_one_line=True)
            else:
                say(f"{path}: {marker.FrameCount} files, {marker.Status}")

    def _withdrawn(self, path: Path) -> None:
        if not self._as_json:
            tell(f"{path}: withdrawn, its group has changed")

    def _met(self, path: Path, why: str | None) -> None:
        with self._lock:
            if why is None:
                self.odd.discard(path)
            else:
                self.odd.add(path)

    def _failed(self, _key: object, _why: str) -> None:
        with self._lock:
            self.failed += 1


def _once(sentinel: Sentinel, report: Report) -> int:
    try:
        sentinel.once()
    except OSError as error:
        fail("not_found", f"a folder can't be listed: {error}")
    waiting = len(sentinel.open_groups()) - report.failed + sum(watch.keeper.groups.few for watch in sentinel.watches)
    told = f"{report.marked} marked, {waiting} not complete, {report.failed} failed"
    tell(f"{told}, {len(report.odd)} can't be marked" if report.odd else told)
    return FAILED if report.failed or report.odd else DONE


class _StopError(BaseException):
    """A signal asks for the end: raised in the main thread, which does nothing but wait."""


def _until_stopped(sentinel: Sentinel) -> int:
    asked: list[int] = []

    def stop(number: int, _frame: object) -> None:
        asked.append(number)
        if len(asked) == 1:
            raise _StopError

    names = ["SIGINT", "SIGTERM", "SIGBREAK"]
    before = {
        getattr(signal, name): signal.signal(getattr(signal, name), stop) for name in names if hasattr(signal, name)
    }
    try:
        sentinel.start()
        with LiveLine(sentinel) as live:
            live.for_ever()
    except _StopError:
        sentinel.stop()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return INTERRUPTED if asked[:1] == [signal.SIGINT] else DONE
