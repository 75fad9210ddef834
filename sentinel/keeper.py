"""Keeps the markers of one watched folder: turns news into looks at the disk, and decisions into marker files.

Has neither a thread nor a clock of its own: the watch around it says when it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..telemetry.markers.file import MarkerError
from ..telemetry.markers.folder import FileStamp
from ..telemetry.markers.grouping import pattern_of
from ..telemetry.markers.outputs import names_like
from ..telemetry.markers.prefix import PrefixError
from ..telemetry.process.printable import logger
from .callbacks import KeeperCallbacks
from .evidence import EndedPrompt, Key, KnownAsOf, NamedFile, RunningPrompt, places_below
from .file_news import FileNewsTaker
from .group_markers import GroupMarkers
from .groups import Groups
from .prompt_groups import groups_of
from .reported_places import folder_below, is_file
from .scanning import Scans
from .tree import Counts, counting, list_groups

LOOK_SHARE = 4.0
"""A folder that takes long to list is listed at most a fifth of the time."""
NOTHING_NEW = 0.005
"""Listings quicker than this are free."""


class Keeper:
    """The markers of one folder. `clock` is the monotonic clock that all times given to it are of.

    `counts` tells whether a file of this name counts, as far as no record names it.
    """

    def __init__(
        self,
        root: Path,
        groups: Groups,
        clock: Callable[[], float],
        recursive: bool = True,
        callbacks: KeeperCallbacks | None = None,
        counts: Counts | None = None,
    ) -> None:
        self.groups = groups
        self._clock = clock
        self._callbacks = callbacks or KeeperCallbacks()
        self._counts = counts or counting()
        self._markers = GroupMarkers(root, self._callbacks)
        self.files = FileNewsTaker(self._markers, groups, self._counts)
        self.scans = Scans(self._markers, groups, self.files, self._counts, recursive=recursive)
        self._looks: dict[str, float] = {}
        """By folder when it may be listed again, for those that took long."""

    @property
    def root(self) -> Path:
        """The watched folder, without links."""
        return self._markers.root

    def move_to(self, root: Path) -> None:
        """The folder is, or is again, at this path: nothing of before counts."""
        self._markers.root = root
        self.groups.root = root.parts
        self.forget()

    def forget(self) -> None:
        """The folder is gone: nothing is open, and nothing was met."""
        self.groups.clear()
        self.scans.forget()
        self._looks.clear()
        self._markers.odd.forget()

    # ------------------------------------------------------------ news of prompts

    def hear(self, news: RunningPrompt | EndedPrompt | KnownAsOf, at: float) -> None:
        """Something was told of prompts."""
        if isinstance(news, RunningPrompt):
            self.groups.prompts.runs(news, at)
        elif isinstance(news, KnownAsOf):
            self.groups.asked(news, at)
        else:
            self._markers.surely(Key("", news.prompt_id), self._hear_end, news, at)

    def _hear_end(self, ended: EndedPrompt, at: float) -> None:
        ended = replace(ended, files=tuple(one for file in ended.files for one in self._spelled_out(file)))
        self.groups.ended(ended, groups_of(ended, self.root.parts, self._finder()), at)

    def _spelled_out(self, file: NamedFile) -> list[NamedFile]:
        """The files here that a name like `frame_%03d.png` stands for; else itself."""
        pattern = pattern_of(file.name)
        if pattern is None:
            return [file]
        folders = filter(None, (folder_below(self.root, place) for place in places_below(file.folder, self.root.parts)))
        return [file._replace(name=name) for folder in folders for name in names_like(folder, pattern)] or [file]

    def _finder(self) -> Callable[[str, str], bool]:
        """Tells whether a reported name is a file in a folder below this one; none that a link leads to is."""
        folders: dict[str, Path | None] = {}

        def is_there(folder: str, name: str) -> bool:
            if folder not in folders:
                folders[folder] = folder_below(self.root, folder)
            place = folders[folder]
            return place is not None and is_file(place, name)

        return is_there

    # ------------------------------------------------------------ decisions

    def next_due(self) -> float | None:
        """When `tick` has something to do next; null while nothing is open but what a prompt holds."""
        return self.groups.next_due()

    def tick(self, at: float) -> None:
        """Look at the groups that are due, and write the markers of those that are complete."""
        by_folder: dict[str, list[Key]] = {}
        for key in self.groups.due(at):
            by_folder.setdefault(key.folder, []).append(key)
        for folder, keys in by_folder.items():
            later = self._looks.get(folder, 0.0)
            if later > at:
                self.groups.look_later(keys, later)
            else:
                self._look(folder, keys, at)

    def _look(self, folder: str, keys: list[Key], at: float) -> None:
        began = self._clock()
        reported = {key: self.groups.reported(key) for key in keys}
        names = {name for names in reported.values() for name in names}
        try:
            found = list_groups(self.root / folder, self._counts, {key.name for key in keys}, names)
        except OSError as error:
            for key in keys:
                self._failed(key, f"{folder or self.root} can't be read: {error.strerror}", at)
            return
        took = self._clock() - began
        if took > NOTHING_NEW:
            self._looks[folder] = at + took * (1 + LOOK_SHARE)
        else:
            self._looks.pop(folder, None)
        for key in keys:
            extra = {name: found[""][name] for name in reported[key] if name in found[""]}
            self._decide(key, {**found[key.name], **extra}, at)

    def _decide(self, key: Key, files: dict[str, FileStamp], at: float) -> None:
        group = self.groups.open[key]
        complete = self.groups.looked(key, files, at)
        if complete is None:
            return
        active = max(group.active, group.saved.at if group.saved is not None else group.active)
        try:
            marker = self._markers.write(key, complete)
        except (MarkerError, OSError, PrefixError) as error:
            self._failed(key, str(error), at)
            return
        except Exception as error:  # noqa: BLE001  one group's names must not cost the others their markers
            self._failed(key, f"{key.name!r} can't be marked: {type(error).__name__}: {error}", at)
            return
        self.groups.done(key)
        if marker is not None:
            self._callbacks.marked(*marker, max(0.0, self._clock() - active))

    def _failed(self, key: Key, why: str, at: float) -> None:
        if not self.groups.open[key].failures:
            logger.error("Run Recorder: %s; it is tried again", why)
        self.groups.failed(key, at)
        self._callbacks.failed(key, why)
