"""What lies in the folders that queued prompts will save to: one listing a folder, shared by all of them.

Thousands of prompts may wait that save to one folder of many files. What is kept for them, and how often the folder
is listed, must not grow with their number.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from weakref import WeakValueDictionary

from .folder import Listing, files_in
from .share import Share

MOST_ENTRIES = 200_000
"""Files that are remembered of all folders together, some 300 bytes each. A folder beyond them is not remembered."""
MOST_HEADS = 64
"""With more beginnings of names than these, every name of the folder is looked at."""
PAUSE = 9.0
"""Listing for prompts that wait takes a tenth of the time at most."""


class SharedFolder:
    """A folder that queued prompts will save to. It is remembered as long as one of them holds this."""

    __slots__ = ("__weakref__", "heads", "latest", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heads: tuple[str, ...] = ()
        """What the names that matter begin with."""
        self.latest: Listing | None = None
        """Null before the first listing, and where there is too much to be remembered."""


class Listings:
    """The shared folders. `clock` is the monotonic clock that listings are stamped with. Not thread-safe."""

    def __init__(self, most: int = MOST_ENTRIES, clock: Callable[[], float] = time.perf_counter) -> None:
        self._most = most
        self._clock = clock
        self._folders: WeakValueDictionary[Path, SharedFolder] = WeakValueDictionary()
        self._due: dict[Path, None] = {}
        self._share = Share(PAUSE, clock=clock)

    def want(self, path: Path, heads: tuple[str, ...]) -> SharedFolder:
        """A prompt is queued that will save to this folder under names that begin so. Lists nothing yet."""
        folder = self._folders.get(path)
        if folder is None:
            folder = self._folders[path] = SharedFolder(path)
        if "" not in folder.heads:
            joined = tuple(dict.fromkeys((*folder.heads, *heads)))
            folder.heads = joined if "" not in joined and len(joined) <= MOST_HEADS else ("",)
        self._due[path] = None
        return folder

    def refresh(self, begun: int | None) -> None:
        """List the folders that prompts were queued for since, as far as a tenth of the time allows.

        `begun` is how many prompts have begun so far; null while one of them runs.
        """
        while self._due and self._share.is_due():
            path = next(iter(self._due))
            del self._due[path]
            folder = self._folders.get(path)
            if folder is not None:
                with self._share.spent():
                    folder.latest = self._list(folder, begun)

    def _list(self, folder: SharedFolder, begun: int | None) -> Listing | None:
        others = sum(len(one.latest.files) for one in self._folders.values() if one.latest and one is not folder)
        room = max(0, self._most - others)
        known = folder.latest.files if folder.latest is not None else None
        files = dict(islice(files_in(folder.path, folder.heads, known), room + 1))
        return Listing(files, self._clock(), folder.heads, begun) if len(files) <= room else None
