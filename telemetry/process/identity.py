"""Which machine, which process, which output folder: in words that can be stored, compared, and not read back.

A process is named by its machine's boot, the namespace in which its number counts, its number, and when it began: a
number alone may be somebody else's by now, and means nothing on another machine or in another container.
"""

from __future__ import annotations

import functools
import hashlib
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

DIGEST_LENGTH = 32
_MACHINE_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_BOOT_FILE = "/proc/sys/kernel/random/boot_id"
_PROCESS_NAMESPACE = "/proc/self/ns/pid"
_DEAD_STATES = frozenset("ZX")


@dataclass(frozen=True, slots=True)
class Identity:
    """A process, and the machine that it runs on. Both are null for one of which no more is known than its id."""

    machine: str | None = None
    """A digest; equal on one machine only, as far as its own id and its name tell it from others."""
    process: str | None = None
    """Where its number counts (a digest), its number, and when it began, with a colon between them."""


UNKNOWN = Identity()
"""Of a process of which no more was kept than its id."""


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_LENGTH]


def _read(*names: str) -> str:
    for name in names:
        try:
            return Path(name).read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            continue
    return ""


@functools.cache
def machine() -> str:
    """This machine."""
    return _digest(_read(*_MACHINE_FILES), socket.gethostname())


@functools.cache
def _place() -> str:
    """Where this process' number counts: this boot of this machine, and in it this container."""
    try:
        namespace = os.readlink(_PROCESS_NAMESPACE)  # noqa: PTH115  a link to nothing that is there
    except OSError:
        namespace = ""
    boot = _read(_BOOT_FILE) or machine()
    return _digest(boot, namespace)


def this_process() -> Identity:
    """This process."""
    pid = os.getpid()
    return Identity(machine(), f"{_place()}:{pid}:{_began(pid)}")


def is_alive(process: str | None) -> bool | None:
    """Whether a process lives; null where that can't be told from here."""
    place, _, rest = (process or "").partition(":")
    number, _, began = rest.partition(":")
    if place != _place() or not number.isdecimal() or not began:
        return None
    pid = int(number)
    if not psutil.pid_exists(pid):
        return False
    found = _began(pid)
    return None if found is None else found == began


def _began(pid: int) -> str | None:
    """When a process began, in its system's own count; empty for one that has ended; null where it can't be told."""
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        except (OSError, ValueError):
            return None
        fields = stat.rpartition(")")[2].split()  # a process' name may hold anything
        if len(fields) < 20:
            return None
        return "" if fields[0] in _DEAD_STATES else fields[19]
    try:
        return f"{psutil.Process(pid).create_time():.2f}"
    except psutil.NoSuchProcess:
        return ""
    except psutil.Error:
        return None


def root_of(output_folder: Path) -> str:
    """An output folder: a digest of its path, with every link followed; never the path itself."""
    return _digest(os.path.realpath(output_folder))
