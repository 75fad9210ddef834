"""Temporary files: names that no other writer can share, and the sweeping up after a killed process."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

_NAME = re.compile(r"\.rr-(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-(?P<born>\d+)-[0-9a-f]{12}\.tmp")
FOREIGN_AGE_SECONDS = 24 * 3600
"""How old another machine's temporary must be before it is taken for a dead one's."""


@functools.lru_cache(maxsize=1)
def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode("utf-8", "replace")).hexdigest()[:8]


def _born(pid: int) -> int:
    """When a process was started, in whole seconds; tells a process from a later one with its number."""
    return int(psutil.Process(pid).create_time())


def temporary_name() -> str:
    """A hidden name for a file that will be renamed or removed: tells its owner, and fits anywhere."""
    return _own_beginning(os.getpid()) + f"-{secrets.token_hex(6)}.tmp"


@functools.lru_cache(maxsize=1)
def _own_beginning(pid: int) -> str:
    return f".rr-{_host()}-{pid}-{_born(pid)}"


def is_temporary(name: str) -> bool:
    """True for a name that `temporary_name` makes."""
    return _NAME.fullmatch(name) is not None


def is_orphan(path: Path) -> bool:
    """True for a temporary whose writer is dead, so that nobody will rename or remove it."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return False
    if match["host"] != _host():
        try:
            return time.time() - path.lstat().st_mtime > FOREIGN_AGE_SECONDS
        except OSError:
            return False
    try:
        return abs(_born(int(match["pid"])) - int(match["born"])) > 1
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def sweep(folder: Path, *, recursive: bool = False, most: int = 1_000_000) -> int:
    """Remove orphaned temporaries in a folder and, where asked, below it; how many were removed.

    Symlinks are not followed, and no more than `most` names are looked at.
    """
    removed = 0
    for path in _names(folder, recursive, most):
        if is_orphan(path):
            with contextlib.suppress(OSError):
                path.unlink()
                removed += 1
    return removed


def _names(folder: Path, recursive: bool, most: int) -> Iterator[Path]:
    waiting, seen = [folder], 0
    while waiting and seen < most:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                seen += 1
                if recursive and entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif is_temporary(entry.name):
                    yield Path(entry.path)
