"""Processes that we started: ended by their number and the time of their start, never by a name; no others are."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ..telemetry.files.guarded_files import append_regular, read_regular
from .run_folder import to_json, write_atomically

STOP_SECONDS = 10.0
_NOTE_BYTES = 4096
WITHIN_SECONDS = 1.0
"""A start's time is read from a clock that may be set meanwhile; no number is given again within so short a time."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A process: its number, and when it was started (seconds since 1970), since numbers are given again."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """Of a process that runs; null where none has this number."""
        try:
            return cls(pid, psutil.Process(pid).create_time())
        except psutil.Error:
            return None

    def process(self) -> psutil.Process | None:
        """The process, if it is still this one and runs."""
        try:
            found = psutil.Process(self.pid)
            alive = abs(found.create_time() - self.started) <= WITHIN_SECONDS and found.is_running()
            return found if alive and found.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None


def end(identity: Identity, seconds: float = STOP_SECONDS) -> bool:
    """End a process and what it has started: asked first, after so many seconds made to. False where it was gone."""
    process = identity.process()
    if process is None:
        return False
    children = [one for child in _children(process) if (one := Identity.of(child.pid)) is not None]
    with contextlib.suppress(psutil.Error):
        process.send_signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGINT)
    _wait(process, seconds)
    for left in (identity, *children):
        _kill(left)
    return True


def listens(pid: int, port: int) -> bool:
    """Whether a process, or one that it has started, listens on a TCP port."""
    try:
        process = psutil.Process(pid)
    except psutil.Error:
        return False
    for one in (process, *_children(process)):
        with contextlib.suppress(psutil.Error, OSError):
            if any(
                seen.status == psutil.CONN_LISTEN and seen.laddr and seen.laddr.port == port for seen in _sockets(one)
            ):
                return True
    return False


def _sockets(process: psutil.Process) -> list[Any]:
    if hasattr(process, "net_connections"):
        return list(process.net_connections("tcp"))
    return list(process.connections("tcp"))  # before psutil 6


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []


def _wait(process: psutil.Process, seconds: float) -> None:
    with contextlib.suppress(psutil.Error):
        process.wait(seconds)


def _kill(identity: Identity) -> None:
    process = identity.process()
    if process is not None:
        with contextlib.suppress(psutil.Error):
            process.kill()
        _wait(process, STOP_SECONDS)


@contextlib.contextmanager
def started(
    command: Sequence[str], *, folder: Path, log: Path, note: Path, settings: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process, and end it when the block ends. `settings` are added to its environment.

    Its identity is in `note` meanwhile: what an earlier owner of that file left running, since it was killed itself, is
    ended first.
    """
    end_leftover(note)
    environment = {**os.environ, **(settings or {})}
    with append_regular(log) as out:
        process = subprocess.Popen(
            list(command),
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env=environment,
        )
    identity = Identity.of(process.pid)
    try:
        if identity is not None:
            write_atomically(note, to_json({"pid": identity.pid, "started": identity.started}))
        yield process
    finally:
        if identity is not None:
            end(identity)
        process.wait()
        note.unlink(missing_ok=True)


def end_leftover(note: Path) -> bool:
    """End the process that a note speaks of, if it is still that one; whether it was."""
    try:
        told = json.loads(read_regular(note, _NOTE_BYTES))
        identity = Identity(int(told["pid"]), float(told["started"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    return end(identity)
