"""The machine that prompts run on."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import psutil

from ..models.environment import Machine
from ..models.text import clean

MAX_NAME = 200


def machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> Machine:
    """Its processor and memory, as the system tells them."""
    return Machine(
        cpu=_cpu(cpuinfo), cpu_count=psutil.cpu_count(), ram_total_bytes=int(psutil.virtual_memory().total) or None
    )


def _cpu(cpuinfo: Path) -> str | None:
    """The processor's name: Linux tells it in a file, the others to Python."""
    try:
        with cpuinfo.open(encoding="utf-8", errors="replace") as lines:
            found = re.search(r"^model name\s*:\s*(.+)$", lines.read(65_536), re.MULTILINE)
    except OSError:
        found = None
    return clean(found[1].strip() if found else platform.processor(), MAX_NAME) or None
