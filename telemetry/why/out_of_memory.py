"""What torch and the drivers say when memory is out: what was asked for, what was free, and who held the rest.

Wordings differ by vendor, allocator and version; what one doesn't say is null.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_UNITS = {"bytes": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZE = r"(?<![0-9.])(?P<number>[0-9]{1,15}(?:\.[0-9]{1,10})?)\s{0,3}(?P<unit>bytes|[KMGT]i?B|B)\b"


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """An allocation that failed. Bytes; null where the message doesn't say."""

    of_host: bool = False
    """True where the host's memory was out, not a device's."""
    asked_bytes: int | None = None
    free_bytes: int | None = None
    total_bytes: int | None = None
    torch_allocated_bytes: int | None = None
    torch_reserved_bytes: int | None = None
    """What torch had taken from the driver: what it had allocated, and what it kept beside that."""
    others_bytes: int | None = None
    """What other processes held."""


_OF_DEVICE = re.compile(
    r"(?:CUDA|HIP|XPU|MPS backend|MUSA|NPU)[ \w]* out of memory|OutOfMemoryError|Allocation on device"
    r"|CUDA error: out of memory|CUDA_ERROR_OUT_OF_MEMORY|hipErrorOutOfMemory|not enough GPU video memory"
    r"|UR_RESULT_ERROR_OUT_OF_(?:DEVICE|RESOURCES)",
    re.IGNORECASE,
)
_OF_HOST = re.compile(
    r"DefaultCPUAllocator|can't allocate memory|cannot allocate memory|not enough memory: you tried to allocate"
    r"|unable to allocate .{1,40} for an array|paging file is too small",
    re.IGNORECASE,
)


def out_of_memory(exception_type: str | None, message: str) -> OutOfMemory | None:
    """What an error says of memory that was out; null where it is another error."""
    kind = (exception_type or "").rpartition(".")[2]
    if kind == "MemoryError" or (_OF_HOST.search(message) and not _OF_DEVICE.search(message)):
        return OutOfMemory(of_host=True, asked_bytes=_asked(message))
    if kind != "OutOfMemoryError" and not _OF_DEVICE.search(message):
        return None
    allocated = _first(message, rf"(?:of the allocated memory|currently allocated\s*:|MPS allocated:)\s*{_SIZE}")
    if allocated is None:
        allocated = _first(message, rf"{_SIZE}\s+(?:already allocated|is allocated by PyTorch)")
    beside = _first(message, rf"{_SIZE} is reserved by PyTorch but unallocated")
    reserved = _first(message, rf"{_SIZE} reserved in total by PyTorch")
    if reserved is None and allocated is not None and beside is not None:
        reserved = allocated + beside
    free = _first(message, rf"{_SIZE} +(?:is )?free\b")
    if free is None:
        free = _first(message, rf"Free \(according to CUDA\)\s*:\s*{_SIZE}")
    total = _first(message, rf"{_SIZE} total capacity")
    if total is None:
        total = _first(message, rf"(?:total capacity of|Device limit\s*:|max allowed:)\s*{_SIZE}")
    return OutOfMemory(
        asked_bytes=_asked(message),
        free_bytes=free,
        total_bytes=total,
        torch_allocated_bytes=allocated,
        torch_reserved_bytes=reserved,
        others_bytes=_others(message),
    )


def _asked(message: str) -> int | None:
    asked = _first(message, rf"tried to allocate\s+{_SIZE}")
    if asked is None:
        asked = _first(message, rf"(?:Requested\s*:|allocate tensor with|unable to allocate)\s*{_SIZE}")
    return asked


def _others(message: str) -> int | None:
    """The sum over what it says of other processes; null where it names none."""
    found = re.finditer(rf"Process \d{{1,10}} has {_SIZE} memory in use", message, re.IGNORECASE)
    sizes = [_bytes(one) for one in found]
    return sum(sizes) if sizes else None


def _first(message: str, pattern: str) -> int | None:
    found = re.search(pattern, message, re.IGNORECASE)
    return _bytes(found) if found else None


def _bytes(found: re.Match[str]) -> int:
    unit = found["unit"].lower()
    return round(float(found["number"]) * _UNITS.get(unit, _UNITS[unit[0]]))
