"""Takes in news of files: each belongs to a group, which it opens, or opens again where a marker stands."""

from __future__ import annotations

from pathlib import Path

from ..telemetry.markers.folder import stamp_of
from ..telemetry.markers.grouping import group_of
from ..telemetry.markers.prefix import MARKER_SUFFIXES
from .evidence import Key
from .group_markers import GroupMarkers, replaces
from .groups import Groups
from .standing import Standing, read
from .tree import Counts, list_groups, path_of


class FileNewsTaker:
    """Tells the groups of one watched folder what happened to its files. Times are those of one monotonic clock."""

    def __init__(self, markers: GroupMarkers, groups: Groups, counts: Counts) -> None:
        self._markers = markers
        self._groups = groups
        self._counts = counts

    def appeared(self, folder: str, name: str, at: float) -> None:
        """A file is new or has changed."""
        if self._counts(name):
            key = Key(folder, group_of(name))
            self._markers.surely(key, self._news, key, name, at, False)
        elif name.endswith(MARKER_SUFFIXES):
            self.marker_changed(folder, name, at)

    def closed(self, folder: str, name: str, at: float) -> None:
        """A file that was open for writing was closed."""
        if self._counts(name):
            key = Key(folder, group_of(name))
            self._markers.surely(key, self._news, key, name, at, True)

    def gone(self, folder: str, name: str, at: float) -> None:
        """A file was removed, or has another name now."""
        if self._counts(name):
            key = Key(folder, group_of(name))
            self._markers.surely(key, self._gone, key, name, at)
        elif name.endswith(MARKER_SUFFIXES):
            self.marker_changed(folder, name, at)

    def marker_changed(self, folder: str, name: str, at: float) -> None:
        """Something happened at a marker's name: what stood in its way there may be gone."""
        key = Key(folder, name.rpartition(".")[0])
        path = path_of(self._markers.root, key) / name
        if path in self._markers.odd and self._is_over(path):
            self._groups.found(key, {}, (), at)

    def reopen(self, key: Key, stands: Standing, at: float, how: str) -> None:
        """A marked group has changed, so it is not complete: our own marker goes, and the next one says why."""
        self._groups.found(key, {}, (), at)
        if self._markers.withdraw(stands):
            self._groups.note(key, replaces(stands, how))

    def _news(self, key: Key, name: str, at: float, closed: bool) -> None:
        stamp = None
        if key not in self._groups.open:
            stands = self._markers.standing(key)
            if stands is not None:
                stamp = stamp_of(path_of(self._markers.root, key) / name)
                if stamp is None or stands.lists(name, stamp):
                    return
                self.reopen(key, stands, at, "gained or changed")
        if closed:
            self._groups.closed(key, name, at)
        else:
            self._groups.appeared(key, name, stamp or stamp_of(path_of(self._markers.root, key) / name), at)

    def _gone(self, key: Key, name: str, at: float) -> None:
        if (
            self._markers.path_of(key) in self._markers.odd
            and not list_groups(path_of(self._markers.root, key), self._counts, {key.name})[key.name]
        ):
            self._markers.odd.over([self._markers.path_of(key)])
            return
        if key not in self._groups.open:
            stands = self._markers.standing(key)
            if stands is None or not stands.is_ours or not stands.lists(name, None):
                return
            self.reopen(key, stands, at, "lost")
        self._groups.gone(key, name, at)

    def _is_over(self, path: Path) -> bool:
        stands = read(path)
        if stands is None or stands.odd is None:
            self._markers.odd.over([path])
            return True
        self._markers.odd.met(path, stands.odd)
        return False
