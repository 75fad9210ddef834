"""Which device of one source is which of another: by UUID or PCI address, never by index."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence

from .reading import DeviceReading

_PCI = re.compile(r"(?:([0-9a-f]{1,8}):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})(?:\.([0-7]))?")


@functools.lru_cache(maxsize=256)
def normal_pci(value: str | None) -> str | None:
    """A PCI address as `0000:01:00.0`, whatever the length of its domain; null for what is none."""
    match = _PCI.fullmatch((value or "").strip().lower())
    if match is None:
        return None
    domain, bus, device, function = match.groups()
    return f"{int(domain or '0', 16):04x}:{int(bus, 16):02x}:{int(device, 16):02x}.{function or '0'}"


@functools.lru_cache(maxsize=256)
def normal_uuid(value: str | None) -> str | None:
    """A UUID without what stands before it (`GPU-`, `MIG-`), in lower case; null for none."""
    plain = re.sub(r"^(gpu|mig)-", "", (value or "").strip().lower())
    return plain or None


def find(wanted: DeviceReading, among: Sequence[DeviceReading]) -> DeviceReading | None:
    """The reading of the same device, else null. A UUID is believed before an address.

    The parts of a partitioned card share its address, so an address that several readings have proves nothing.
    """
    uuid, pci = normal_uuid(wanted.uuid), normal_pci(wanted.pci)
    if uuid is not None:
        same = [other for other in among if normal_uuid(other.uuid) == uuid]
        if same:
            return same[0]
    if pci is None:
        return None
    same = [other for other in among if normal_pci(other.pci) == pci]
    return same[0] if len(same) == 1 else None


def visible_card(index: int, cards: Sequence[DeviceReading], settings: Mapping[str, str]) -> DeviceReading | None:
    """The card that CUDA's device `index` is, where torch is too old to say; null where that can't be told.

    `cards` are NVML's, in the order of their addresses. CUDA numbers cards in that order only with
    CUDA_DEVICE_ORDER=PCI_BUS_ID, by default by speed; where they are all alike, by address again.
    """
    whole = [card for card in cards if not (card.uuid or "").startswith("MIG-")]
    given = settings.get("CUDA_VISIBLE_DEVICES")
    entries = (
        [entry.strip() for entry in given.split(",")] if given is not None else [str(n) for n in range(len(whole))]
    )
    if index >= len(entries):
        return None
    entry = entries[index]
    if not entry.isdigit():
        return _by_uuid(entry, cards)
    by_address = settings.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len({card.name for card in whole}) == 1
    return whole[int(entry)] if by_address and int(entry) < len(whole) else None


def _by_uuid(entry: str, cards: Sequence[DeviceReading]) -> DeviceReading | None:
    """CUDA takes the beginning of a UUID, too, as long as only one card has it."""
    same = [card for card in cards if entry and (card.uuid or "").lower().startswith(entry.lower())]
    return same[0] if len(same) == 1 else None
