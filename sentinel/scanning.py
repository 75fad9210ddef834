"""Catches up with the disk: every group of a watched folder is compared with what stands for it."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

from ..telemetry.markers.folder import FileStamp
from ..telemetry.markers.prefix import MARKER_SUFFIXES
from .evidence import Key
from .file_news import FileNewsTaker
from .group import Group
from .group_markers import GroupMarkers
from .groups import Groups
from .oddities import Oddities
from .reported_places import is_file
from .standing import read
from .tree import Counts, Folder, require_open, walk


class Scans:
    """Scans one watched folder, whole or in part; what is new is told to its groups."""

    def __init__(
        self, markers: GroupMarkers, groups: Groups, news: FileNewsTaker, counts: Counts, *, recursive: bool
    ) -> None:
        self._markers = markers
        self._groups = groups
        self._news = news
        self._counts = counts
        self._recursive = recursive
        self._prints: dict[Key, int] = {}
        """While polling: a digest of each group as the last scan met it."""
        self._shut = Oddities(lambda path, why: markers.callbacks.odd(path, why))
        """Folders that can't be read: a path may be one's and a group's as well."""

    def forget(self) -> None:
        """The folder is gone: nothing was met."""
        self._prints.clear()
        self._shut.forget()

    def scan(self, at: float, clock: float | None = None, *, below: str = "", why: str = "start") -> None:
        """Catch up with the disk: what has no right marker is opened, and markers of ours without files go.

        With `clock`, the time that the folder would give to a file now (seconds since 1970), files older than the
        window have settled; else every file is waited for. Raises OSError where the root can't be listed.
        """
        seen: set[Key] = set()
        for folder in self._walk(below):
            for name, files in folder.groups.items():
                key = Key(folder.path, name)
                seen.add(key)
                self._markers.surely(key, self._met, key, files, at, clock)
            self._check_orphans(folder)
        if not below:
            self._take_back(seen, at)
        self._markers.callbacks.scanned(why)

    def poll(self, at: float, clock: float | None = None) -> None:
        """As a scan, but what the last one has met just so is passed over. Raises OSError as `scan` does."""
        seen: dict[Key, int] = {}
        for folder in self._walk():
            for name, files in folder.groups.items():
                key = Key(folder.path, name)
                seen[key] = _digest(files)
                if seen[key] != self._prints.get(key):
                    self._markers.surely(key, self._met, key, files, at, clock)
            self._check_orphans(folder)
        self._take_back(seen, at)
        for key in [key for key in self._prints if key not in seen and key in self._groups.open]:
            self._groups.found(key, {}, (), at)
        self._prints = seen

    def has_opened(self) -> bool:
        """Whether a folder that could not be read can be: what came into it nobody has told."""
        for path in self._shut.all():
            try:
                require_open(path)
                os.listdir(path)  # noqa: PTH208  to its end: a disk may fail on the way
            except (FileNotFoundError, NotADirectoryError):
                self._shut.over([path])
            except OSError:
                continue
            else:
                return True
        return False

    def _walk(self, below: str = "") -> Iterator[Folder]:
        """Every folder below one. Those that can't be read are told, and taken back when they can."""
        shut: set[Path] = set()

        def met(path: str, error: OSError) -> None:
            shut.add(self._markers.root / path)
            self._shut.met(self._markers.root / path, f"can't be looked into ({error.strerror})")

        yield from walk(self._markers.root, self._counts, met, recursive=self._recursive, below=below)
        looked = [path for path in self._shut.all() if path.is_relative_to(self._markers.root / below)]
        self._shut.over(path for path in looked if path not in shut)

    def _take_back(self, seen: Container[Key], at: float) -> None:
        """After a scan of everything: what it did not meet is odd no more."""
        for path in self._markers.odd.all():
            folder = path.parent.relative_to(self._markers.root).as_posix()
            folder = "" if folder == "." else folder
            if path.name.endswith(MARKER_SUFFIXES):
                self._news.marker_changed(folder, path.name, at)
            elif Key(folder, path.name) not in seen:
                self._markers.odd.over([path])

    def _met(self, key: Key, files: dict[str, FileStamp], at: float, clock: float | None) -> None:
        """A scan met a group."""
        group = self._groups.open.get(key)
        if group is not None:
            for name in [name for name, stamp in files.items() if _is_news(group, name, stamp)]:
                self._groups.appeared(key, name, files[name], at)
            for name in [name for name in group.joined if name not in files]:
                self._groups.gone(key, name, at)
            return
        stands = self._markers.standing(key)
        if stands is not None and (not stands.is_ours or stands.is_right(files)):
            return
        young = [name for name, stamp in files.items() if not self._is_old(stamp, clock)]
        if stands is not None:
            self._news.reopen(key, stands, at, "gained or changed" if len(files) >= len(stands.files) else "lost")
            files = {
                name: stamp for name, stamp in files.items() if not stands.prompt_id or not stands.lists(name, stamp)
            }
        self._groups.found(key, files, young, at)

    def _is_old(self, stamp: FileStamp, clock: float | None) -> bool:
        return clock is not None and stamp.modified_ns / 1e9 <= clock - self._groups.window

    def _check_orphans(self, folder: Folder) -> None:
        for marker in folder.markers:
            prefix = marker.rpartition(".")[0]
            if prefix not in folder.groups:
                self._markers.surely(
                    Key(folder.path, prefix), self._check_orphan, self._markers.root / folder.path / marker
                )

    def _check_orphan(self, path: Path) -> None:
        """Withdraw a marker of ours whose files are all gone."""
        stands = read(path)
        if stands is not None and stands.odd is not None:
            self._markers.odd.met(path, stands.odd)
        if stands is None or not stands.is_ours or any(is_file(path.parent, name) for name in stands.files):
            return
        self._markers.withdraw(stands)


def _is_news(group: Group, name: str, stamp: FileStamp) -> bool:
    """Whether an open group doesn't know a file, or knows it otherwise."""
    return name not in group.joined or group.joined[name] not in (None, stamp)


def _digest(files: Mapping[str, FileStamp]) -> int:
    return hash(frozenset(files.items()))
