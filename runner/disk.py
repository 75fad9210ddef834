"""The server's output folder, where it is on this machine: found by what the server says, believed only by proof."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from ..client.urls import is_local

MANY = 64
"""From so many files on, to flush all of a file system is quicker than each."""
OUTPUT, BASE = "--output-directory", "--base-directory"


def output_folder(url: str, stats: object) -> Path | None:
    """Where a server's outputs lie, as far as it says: its command line, and where it was started.

    `stats` is what `/system_stats` answered. Null for a server elsewhere, for one that doesn't say, and where the
    folder isn't there. It may be the folder of another server all the same: see `proof.py`.
    """
    system = stats.get("system") if isinstance(stats, dict) else None
    argv = system.get("argv") if isinstance(system, dict) else None
    if not is_local(url) or not isinstance(argv, list) or not all(isinstance(part, str) for part in argv) or not argv:
        return None
    named = _option(argv, OUTPUT)
    base = _option(argv, BASE)
    place = Path(named) if named else Path(base, "output") if base else Path(argv[0]).parent / "output"
    if not place.is_absolute():
        folder = _started_in(url)
        if folder is None:
            return None
        place = folder / place
    return place if place.is_dir() else None


def _option(argv: Sequence[str], name: str) -> str | None:
    for number, part in enumerate(argv):
        if part == name and number + 1 < len(argv):
            return argv[number + 1]
        if part.startswith(f"{name}="):
            return part.partition("=")[2]
    return None


def _started_in(url: str) -> Path | None:
    """The folder that the process which listens on this port was started in; null where that can't be told."""
    port = urlsplit(url).port or 80
    with contextlib.suppress(psutil.Error, OSError, RuntimeError):
        for one in psutil.net_connections("tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port and one.pid:
                return Path(psutil.Process(one.pid).cwd())
    return None


def is_time_of(modified: float | None, status: os.stat_result) -> bool:
    """Whether a server's time of a file, in whole seconds since 1970, is this one's; never where it didn't say."""
    return modified in (math.floor(status.st_mtime), math.ceil(status.st_mtime))  # aiohttp's own answers round it up


def sync_files(paths: Sequence[Path]) -> None:
    """Flush files that were just written: one by one, or where there are many, their whole file system at once."""
    if len(paths) >= MANY and _sync_file_system(paths[0].parent):
        return
    for path in paths:
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _sync_file_system(folder: Path) -> bool:
    """Flush the file system that a folder is on; false where this platform has no call for that."""
    with contextlib.suppress(OSError, AttributeError):
        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            return int(syncfs(descriptor)) == 0
        finally:
            os.close(descriptor)
    return False
