"""What the sampler sees of a prompt's conditions: what was free before, what held the card down, which models came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from .merging import Snapshot

MOST_STEPS = 10_000
"""So many changes of what is loaded are followed in one prompt."""


@dataclass(slots=True)
class Witness:
    """Of one prompt. The session's lock guards it."""

    vram_free_before_bytes: int | None = None
    """Of the first device in use; null where the first reading came too late."""
    vram_others_bytes: int | None = None
    ram_free_before_bytes: int | None = None
    swap_used_before_bytes: int | None = None
    throttled_seconds: dict[str, float] | None = None
    """Of the first device in use, by reason; null where no source tells that."""
    models: list[frozenset[int]] = field(default_factory=list)
    """Marks of what was loaded, each time that it was something else than before."""

    def first(self, snapshot: Snapshot) -> None:
        """Take in the reading at the prompt's start."""
        if snapshot.system is not None:
            self.ram_free_before_bytes = snapshot.system.ram_free_bytes
            self.swap_used_before_bytes = snapshot.system.swap_used_bytes
        for device in snapshot.devices[:1]:
            if device.in_use:
                self.vram_free_before_bytes = device.vram_free_bytes
                self.vram_others_bytes = device.vram_others_bytes

    def add(self, snapshot: Snapshot, seconds: float) -> None:
        """Take in a reading that stands for the `seconds` before it."""
        loaded = snapshot.loaded_models
        if loaded is not None and len(self.models) < MOST_STEPS and (not self.models or self.models[-1] != loaded):
            self.models.append(loaded)
        for device in snapshot.devices[:1]:
            if device.in_use and device.throttled is not None:
                held = self.throttled_seconds = self.throttled_seconds or {}
                for why in device.throttled:
                    held[why] = held.get(why, 0.0) + seconds


def traffic(seen: Sequence[frozenset[int]]) -> tuple[int, int]:
    """How many models came and how many went, in what was seen one after the other."""
    steps = list(pairwise(seen))
    return sum(len(after - before) for before, after in steps), sum(len(before - after) for before, after in steps)
