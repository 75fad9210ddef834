"""The sentinel as a whole: a watch for each folder, and one source of what ComfyUI tells."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .callbacks import KeeperCallbacks
from .evidence import Key
from .feed import News, now
from .options import Options
from .source import ComfyUI, Source
from .watch import FolderWatch


@dataclass(frozen=True, slots=True)
class OpenGroup:
    """A group that is not complete, for those who show it."""

    folder: Path
    key: Key
    files: int
    """How many have come since it was opened."""
    quiet_seconds: float
    why: str


class Sentinel:
    """Start it once, stop it once."""

    def __init__(
        self,
        folders: Iterable[Path],
        options: Options,
        *,
        callbacks: KeeperCallbacks | None = None,
        comfyui: ComfyUI | None = None,
    ) -> None:
        callbacks = callbacks or KeeperCallbacks()
        self._source = Source(comfyui, self._tell, self._has_open) if comfyui is not None else None
        poke = self._source.poke if self._source is not None else None
        self.watches = [FolderWatch(folder, options, callbacks, poke) for folder in folders]

    def _tell(self, news: News) -> None:
        for watch in self.watches:
            watch.feed.put(news)

    def _has_open(self) -> bool:
        return any(watch.has_open for watch in self.watches)

    def take_locks(self) -> None:
        """Take the locks of all folders that are there. Raises HeldError, with none of them held."""
        try:
            for watch in self.watches:
                watch.take_lock()
        except BaseException:
            self.stop()
            raise

    def start(self) -> None:
        """Watch, on threads."""
        for watch in self.watches:
            watch.start()
        if self._source is not None:
            self._source.start()

    def once(self) -> None:
        """Scan every folder, mark what is complete now, and be done. Raises OSError where one can't be listed."""
        for watch in self.watches:
            watch.once()
        if self._source is not None and self._has_open():
            self._source.once()
        for watch in self.watches:
            watch.catch_up()

    def stop(self, timeout: float = 10.0) -> None:
        """End the threads, waiting at most `timeout` seconds for each folder's, and give the locks back."""
        if self._source is not None:
            self._source.stop()
        for watch in self.watches:
            watch.stop(timeout)

    def open_groups(self) -> list[OpenGroup]:
        """What is open now, by its age."""
        found, at = [], now()
        for watch in self.watches:
            groups = watch.keeper.groups
            for key, group in sorted(groups.open.copy().items(), key=lambda pair: pair[1].opened):
                quiet = max(0.0, at - group.active)
                found.append(OpenGroup(watch.folder, key, len(group.joined), quiet, groups.why(key)))
        return found


def distinct(folders: Iterable[Path], *, recursive: bool) -> list[Path]:
    """The folders without those that are named twice, or lie in another that is watched with all that is below it."""
    kept: dict[str, Path] = {}
    real = {os.path.realpath(folder): folder for folder in folders}
    for path in sorted(real):
        if not recursive or not any(path.startswith(other.rstrip(os.sep) + os.sep) for other in kept):
            kept[path] = real[path]
    return list(kept.values())
