"""How much of this disk a server's file may take."""

from __future__ import annotations

import shutil
from pathlib import Path

from . import limits
from .errors import ServerError

LEFT_FREE, LEFT_SHARE = 100 * limits.MIB, 10
"""Of a disk's free bytes no server's file is written into so many, nor into the tenth of them where that is less."""
LOOK_BYTES = 64 * limits.MIB
"""After so many the free room is looked at again."""


class Room:
    """How much of a file that a server sends is written: what it said itself, and what is free."""

    def __init__(self, target: Path, name: str, said: int | None, most: int | None) -> None:
        self._target = target
        self._name = name
        self._most = most
        self._free = room(target.parent)
        self._looked = 0
        self.taken = 0
        if said is not None:
            self._check(said, self._free)

    def take(self, count: int) -> None:
        """Raises ServerError where it is too much."""
        self.taken += count
        if self.taken - self._looked > LOOK_BYTES:
            self._free = self.taken + room(self._target.parent)
            self._looked = self.taken
        self._check(self.taken, self._free)

    def _check(self, count: int, free: int) -> None:
        if self._most is not None and count > self._most:
            raise ServerError("too_large", f"{self._name} has more than {self._most} bytes")
        if count > free:
            raise ServerError("too_large", f"{self._name} has {count} bytes or more, and {free} are free for it")


def room(folder: Path) -> int:
    """Bytes that a server's file may take of the disk of a folder."""
    free = shutil.disk_usage(folder).free
    return free - min(LEFT_FREE, free // LEFT_SHARE)
