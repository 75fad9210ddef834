"""What kind of file system a folder is on: whether it tells of changes, and how finely it keeps times."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from ..telemetry.files.temporaries import temporary_name
from ..telemetry.store.database import file_system_of, is_on_network

_PROBE_NS = 1_600_000_001_999_999_999
"""A time of which every coarser file system keeps less."""


def tells_of_changes(folder: Path) -> bool:
    """Whether a folder's file system tells of changes that others make: false for network file systems and FUSE."""
    kind = file_system_of(folder) or ""
    return not (is_on_network(folder) or kind.startswith("fuse.") or kind in ("fuse", "vboxsf", "virtiofs", "9p"))


def time_step(folder: Path) -> float:
    """How finely a folder keeps the times of its files, in seconds: 2 on FAT; 0 where nothing can be written.

    Found by giving a file a time and reading it back.
    """
    probe = folder / temporary_name()
    try:
        with probe.open("xb") as file:
            # By its descriptor where the platform can: who exchanges it for a link has no other file's times changed.
            target = file.fileno() if os.utime in os.supports_fd else probe
            os.utime(target, ns=(_PROBE_NS, _PROBE_NS))
            lost = _PROBE_NS - os.fstat(file.fileno()).st_mtime_ns
        return (lost + 1) / 1e9 if lost > 0 else 0.0
    except OSError:
        return 0.0
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()


def inotify_watches() -> int | None:
    """How many folders this process watches by inotify, as the kernel counts them; null on other systems."""
    if not sys.platform.startswith("linux"):
        return None
    count = 0
    try:
        for descriptor in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                if str(descriptor.readlink()) == "anon_inode:inotify":
                    told = Path("/proc/self/fdinfo", descriptor.name).read_text("ascii", "replace")
                    count += told.count("inotify wd:")
    except OSError:
        return None
    return count
