"""NVIDIA's cards by the program nvidia-smi: for who looks from outside, and has nothing better.

A call takes tens of milliseconds, and may hang for good while a driver is in trouble: then it is killed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence

from .identity import normal_pci
from .numbers import celsius, free_of, parsed, percent, size, text, watts
from .reading import DeviceReading, SourceReading, SourceUnavailableError

PROGRAM = "nvidia-smi"
SECONDS = 5.0
MEBIBYTE = 1024 * 1024
WARNED = 14
"""Its exit code where a card's infoROM is corrupted: its answer is whole."""
NO_DRIVER = (2, 9, 12, 13)
"""Its exit codes where it could ask nothing: a wrong option, no driver, no library, none that fits."""
NOT_TOLD = frozenset({"N/A", "Not Supported", "Unknown Error", "Insufficient Permissions"})
"""What stands for a figure that a card never has, or that nobody may see: no fault of the card's."""
MOST_WORDS, MOST_DIGITS = 300, 4
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
        """All cards that it tells of, with notes in its own words on what it doesn't.

        Raises SourceUnavailableError where it hangs, fails, or says nothing that can be understood.
        """
        try:
            done = subprocess.run(
                COMMAND, capture_output=True, timeout=self._seconds, env={**os.environ, "LC_ALL": "C"}, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise SourceUnavailableError(f"nvidia-smi did not answer in {self._seconds:g} s") from error
        except OSError as error:
            raise SourceUnavailableError(f"nvidia-smi can't be run ({error.strerror})") from error
        out, said = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        devices = [] if done.returncode in NO_DRIVER else parse(out)
        why = _why(done.returncode, f"{said}\n{out}")
        if not devices:
            if done.returncode == 0:
                said_so = (why or "").removeprefix(f"{PROGRAM}: ")
                why = "nvidia-smi said nothing that can be understood" + (f": {said_so}" if said_so else "")
            raise SourceUnavailableError(str(why))
        return SourceReading(devices=devices, notes=[*([why] if why else []), *lost(out)])

    def close(self) -> None:
        """Nothing to close."""


def _why(code: int, said: str) -> str | None:
    """What it says beside its cards, in its own words; null where it says nothing, and all is well."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and _words(line) is None]
    words = text(" ".join(lines), MOST_WORDS)
    if code == 0:
        return f"{PROGRAM}: {words}" if words else None
    if code == WARNED:
        return f"{PROGRAM} ended with exit code {code}: {words or 'an infoROM is corrupted'}"
    return f"nvidia-smi ended with exit code {code}" + (f": {words}" if words else "")


def lost(answer: str) -> list[str]:
    """A note for each card of an answer that tells why it has no figures: `[GPU is lost]`, `[GPU requires reset]`."""
    notes = []
    for words in filter(None, map(_words, answer.splitlines())):
        reasons = {word.strip("[]") for word in words[4:] if word.startswith("[")} - NOT_TOLD
        if reasons:
            name = text(words[3]) or "unnamed"
            notes.append(f"nvidia-smi: GPU {words[0]} ({name}): {', '.join(sorted(reasons))[:MOST_WORDS]}")
    return notes


def parse(answer: str) -> list[DeviceReading]:
    """The cards of an answer; a line that isn't one is passed over, and what isn't a figure is null."""
    return [_card(words) for line in answer.splitlines() if (words := _words(line)) is not None]


def _words(line: str) -> list[str] | None:
    """A line's columns; null where it is no card's.

    They stand apart by comma and space, so that a decimal comma tears none of them; by a comma alone where a wrapper
    has taken the spaces away.
    """
    for between in (", ", ","):
        words = [word.strip() for word in line.split(between)]
        if len(words) == len(FIELDS) and words[0].isascii() and words[0].isdigit() and len(words[0]) <= MOST_DIGITS:
            return words
    return None


def _figure(word: str) -> float | None:
    """A number, also with its unit behind it, as some wrappers leave it; null for what is none."""
    return parsed(re.sub(r"\s*(?:MiB|%|W|C)\Z", "", word))


def _card(words: Sequence[str]) -> DeviceReading:
    index, uuid, pci, name, total, free, load, temperature, power = words
    all_bytes, free_bytes = free_of(size(_figure(total), MEBIBYTE), size(_figure(free), MEBIBYTE))
    return DeviceReading(
        source=NvidiaSmi.name,
        type="cuda",
        index=int(index),
        name=text(name),
        uuid=text(uuid, 100) if not uuid.startswith("[") else None,
        pci=normal_pci(pci),
        vram_total_bytes=all_bytes,
        vram_free_bytes=free_bytes,
        utilization_percent=percent(_figure(load)),
        temperature_celsius=celsius(_figure(temperature)),
        power_watts=watts(_figure(power)),
    )
