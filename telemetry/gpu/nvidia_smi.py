"""NVIDIA's cards by the program nvidia-smi: for who looks from outside, and has nothing better.

A call takes tens of milliseconds, and may hang for good while a driver is in trouble: then it is killed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from .identity import normal_pci
from .numbers import celsius, free_of, parsed, percent, size, text, watts
from .reading import DeviceReading, SourceReading, SourceUnavailableError

PROGRAM = "nvidia-smi"
SECONDS = 5.0
MEBIBYTE = 1024 * 1024
FIELDS = (
    "index",
    "uuid",
    "pci.bus_id",
    "name",
    "memory.total",
    "memory.free",
    "utilization.gpu",
    "temperature.gpu",
    "power.draw",
)
COMMAND = (PROGRAM, f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits")


class NvidiaSmi:
    """The cards of this machine, one call a reading."""

    name = "nvidia-smi"
    gives = frozenset(
        {"vram_total_bytes", "vram_free_bytes", "utilization_percent", "temperature_celsius", "power_watts"}
    )
    may_hang = False
    """The program is given its time, and killed."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds

    def probe(self) -> None:
        """See whether there is such a program. Raises SourceUnavailableError."""
        if shutil.which(PROGRAM) is None:
            raise SourceUnavailableError("there is no nvidia-smi on PATH", absent=True)

    def read(self) -> SourceReading:
        """All cards. Raises SourceUnavailableError where it hangs, fails, or says nothing that can be understood."""
        try:
            done = subprocess.run(
                COMMAND, capture_output=True, timeout=self._seconds, env={**os.environ, "LC_ALL": "C"}, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise SourceUnavailableError(f"nvidia-smi did not answer in {self._seconds:g} s") from error
        except OSError as error:
            raise SourceUnavailableError(f"nvidia-smi can't be run ({error.strerror})") from error
        if done.returncode != 0:
            raise SourceUnavailableError(f"nvidia-smi ended with exit code {done.returncode}")
        devices = parse(done.stdout.decode("utf-8", "replace"))
        if not devices:
            raise SourceUnavailableError("nvidia-smi said nothing that can be understood")
        return SourceReading(devices=devices)

    def close(self) -> None:
        """Nothing to close."""


def parse(answer: str) -> list[DeviceReading]:
    """The cards of an answer; a line that isn't one is passed over, and what isn't a figure is null."""
    found = [_card(line.split(", ")) for line in answer.splitlines()]
    return [card for card in found if card is not None]


def _card(words: Sequence[str]) -> DeviceReading | None:
    """One line. Its columns stand apart by comma and space, so a decimal comma tears none of them."""
    if len(words) != len(FIELDS) or not words[0].strip().isdigit():
        return None
    index, uuid, pci, name, total, free, load, temperature, power = (word.strip() for word in words)
    all_bytes, free_bytes = free_of(size(parsed(total), MEBIBYTE), size(parsed(free), MEBIBYTE))
    return DeviceReading(
        source=NvidiaSmi.name,
        type="cuda",
        index=int(index),
        name=text(name),
        uuid=text(uuid, 100) if not uuid.startswith("[") else None,
        pci=normal_pci(pci),
        vram_total_bytes=all_bytes,
        vram_free_bytes=free_bytes,
        utilization_percent=percent(parsed(load)),
        temperature_celsius=celsius(parsed(temperature)),
        power_watts=watts(parsed(power)),
    )
