"""AMD's and Intel's cards on Linux, from the kernel's own files: needs no library and no rights.

AMD: `gpu_busy_percent`, `mem_info_vram_*`, hwmon. Intel: hwmon, and what the driver has of the rest.
"""

from __future__ import annotations

import re
from pathlib import Path

from .identity import normal_pci
from .numbers import celsius, figure, free_of, parsed, percent, size, text, watts
from .reading import CARD_FIGURES, DeviceReading, SourceReading, SourceUnavailableError

VENDORS = {"0x1002": ("AMD", "rocm"), "0x8086": ("Intel", "xpu")}
_CARD = re.compile(r"card\d+")


class Sysfs:
    """Cards in the order of their numbers. `root` is `/sys`, or a tree that stands for it."""

    name = "sysfs"
    gives = CARD_FIGURES
    may_hang = True
    """A card that sleeps is woken by reading its files, and one that is stuck keeps the reader."""

    def __init__(self, root: Path = Path("/sys")) -> None:
        self._root = root
        self._cards: list[Path] = []

    def probe(self) -> None:
        """Find the cards. Raises SourceUnavailableError where there is none."""
        try:
            cards = sorted((self._root / "class" / "drm").iterdir(), key=lambda path: (len(path.name), path.name))
        except OSError:
            cards = []
        folders = [card / "device" for card in cards if _CARD.fullmatch(card.name)]
        self._cards = [folder for folder in folders if _word(folder / "vendor") in VENDORS]
        if not self._cards:
            raise SourceUnavailableError("no card of AMD or Intel in sysfs", absent=True)

    def read(self) -> SourceReading:
        """Every card that is there; `reopen` names those that are gone."""
        found = [_read(index, folder) for index, folder in enumerate(self._cards)]
        gone = [folder.parent.name for folder, reading in zip(self._cards, found, strict=True) if reading is None]
        if gone and len(gone) == len(found):
            raise SourceUnavailableError(f"{', '.join(gone)}: gone from sysfs")
        why = f"{', '.join(gone)}: gone from sysfs" if gone else None
        return SourceReading(devices=[reading for reading in found if reading is not None], reopen=why)

    def close(self) -> None:
        """Nothing is held open."""


def _read(index: int, folder: Path) -> DeviceReading | None:
    vendor = VENDORS.get(_word(folder / "vendor") or "")
    if vendor is None:
        return None
    total = size(_number(folder / "mem_info_vram_total"))
    used = size(_number(folder / "mem_info_vram_used"))
    total, free = free_of(total, total - used if total is not None and used is not None and used <= total else None)
    sensors = next(iter(sorted((folder / "hwmon").glob("hwmon*"))), folder)
    power = _number(sensors / "power1_average")
    return DeviceReading(
        source=Sysfs.name,
        type=vendor[1],
        index=index,
        name=_word(folder / "product_name") or f"{vendor[0]} {_word(folder / 'device') or 'graphics'}",
        uuid=_word(folder / "unique_id"),
        pci=_address(folder),
        vram_total_bytes=total,
        vram_free_bytes=free,
        utilization_percent=percent(_number(folder / "gpu_busy_percent")),
        temperature_celsius=celsius(_scaled(_number(sensors / "temp1_input"), 1e3)),
        power_watts=watts(_scaled(power if power is not None else _number(sensors / "power1_input"), 1e6)),
        energy_joules=figure(_scaled(_number(sensors / "energy1_input"), 1e6)),
    )


def _address(folder: Path) -> str | None:
    match = re.search(r"^PCI_SLOT_NAME=(\S+)$", _text(folder / "uevent") or "", re.MULTILINE)
    return normal_pci(match[1] if match else folder.resolve().name)


def _scaled(number: float | None, unit: float) -> float | None:
    return None if number is None else number / unit


def _number(path: Path) -> float | None:
    return parsed(_text(path) or "")


def _word(path: Path) -> str | None:
    return text(_text(path))


def _text(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(4096).decode("utf-8", "replace")
    except OSError:
        return None
