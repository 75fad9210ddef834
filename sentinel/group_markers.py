"""The markers of one watched folder: which stand, which are taken away, and how the next is written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..telemetry.markers.file import (
    MarkedFile,
    MarkerPlace,
    make_marker,
    put_in_place,
    put_where_free,
    take_away,
    write_temporary,
)
from ..telemetry.markers.prefix import PrefixError, PrefixPath
from ..telemetry.models.base import MarkerStatus
from ..telemetry.models.marker import DoneMarker
from ..telemetry.models.times import iso
from .callbacks import KeeperCallbacks
from .evidence import Key
from .group import Complete
from .oddities import Oddities
from .standing import PRODUCER, Standing, is_ours, standing
from .tree import path_of as folder_of


class GroupMarkers:
    """The markers below `root`, and the odd things that lie where one should."""

    def __init__(self, root: Path, callbacks: KeeperCallbacks) -> None:
        self.root = root
        self.callbacks = callbacks
        self.odd = Oddities(lambda path, why: callbacks.odd(path, why))

    def surely(self, key: Key, do: Callable[..., None], *given: object) -> None:
        """Do something for one group; whatever lies there costs no other group anything."""
        try:
            do(*given)
        except Exception as error:  # noqa: BLE001  names and contents are anybody's
            self.odd.met(self.path_of(key), f"can't be looked at ({type(error).__name__}: {error})")

    def path_of(self, key: Key) -> Path:
        """Where a group is, for those who are told of it: no file has this name."""
        return folder_of(self.root, key) / key.name

    def _place(self, key: Key) -> MarkerPlace | None:
        try:
            return MarkerPlace.of(self.root, PrefixPath(key.folder, key.name))
        except PrefixError as error:
            self.odd.met(self.path_of(key), f"can't be marked: {error}")
            return None

    def standing(self, key: Key) -> Standing | None:
        """The marker that stands for a group; null where there is none, or it can have none."""
        place = self._place(key)
        if place is None:
            return None
        stands = standing(place)
        if stands is not None and stands.odd is not None:
            self.odd.met(stands.path, stands.odd)
        elif self.odd:
            self.odd.over([self.path_of(key), place.path("success"), place.path("error")])
        return stands

    def withdraw(self, stands: Standing) -> bool:
        """Remove a marker of a sentinel's, and tell; false where it is none, or no longer there."""
        if not stands.is_ours or self._take_away(stands.path) is None:
            return False
        self.callbacks.withdrawn(stands.path)
        return True

    def _take_away(self, path: Path) -> DoneMarker | None:
        """Remove a marker of a sentinel's; null where it is none, or the way to it is exchanged for another."""
        return take_away(Path(os.path.realpath(path.parent)) / path.name, is_ours, Path(os.path.realpath(self.root)))

    def write(self, key: Key, complete: Complete) -> tuple[Path, DoneMarker] | None:
        """Write a group's marker, unless a better one or the same stands; null then.

        Raises MarkerError, OSError and PrefixError.
        """
        place = self._place(key)
        if place is None:
            return None
        stands = self.standing(key)
        notes = list(complete.notes)
        if stands is not None:
            if not _is_better(stands, complete):
                return None
            if stands.is_ours and self._take_away(stands.path) is not None:
                notes.append(replaces(stands, "changed"))
        files = [MarkedFile(name, stamp, complete.nodes.get(name)) for name, stamp in complete.files.items()]
        marker = make_marker(
            place,
            files,
            status=complete.status,
            producer=PRODUCER,
            prompt_id=complete.prompt_id,
            cached=complete.cached,
            notes=notes,
        )
        temporary = write_temporary(place, marker)
        if stands is not None and not stands.is_ours:
            put_in_place(temporary, place, complete.status)
        elif not put_where_free(temporary, place, complete.status):
            return None
        else:
            self._take_away(place.path(_other(complete.status)))
        return place.path(complete.status), marker


def replaces(stands: Standing, how: str) -> str:
    """The note of a marker that takes the place of one, whose group has gained, lost or changed files since."""
    count = len(stands.files)
    return f"replaces a marker of {stands.timestamp} with {count} file{'s' * (count != 1)}: the group has {how} since"


def _is_better(stands: Standing, complete: Complete) -> bool:
    """Whether a marker is to take the place of one that stands.

    Somebody else's gives way only to that of a prompt which saved after it was written, and a prompt's never to that of
    a prompt whose files are older.
    """
    newest = iso(max(stamp.modified_ns for stamp in complete.files.values()) // 1_000_000)
    is_others_prompt = None not in (complete.prompt_id, stands.prompt_id) and complete.prompt_id != stands.prompt_id
    if not stands.is_ours:
        return is_others_prompt and newest > (stands.timestamp or "")
    return not _says_the_same(stands, complete) and not (is_others_prompt and newest < (stands.latest or ""))


def _says_the_same(stands: Standing, complete: Complete) -> bool:
    listed = {name: stands.lists(name, stamp) for name, stamp in complete.files.items()}
    is_done = stands.path.suffix == ".done"
    return (
        len(listed) == len(stands.files)
        and all(listed.values())
        and is_done == (complete.status == "success")
        and (stands.prompt_id == complete.prompt_id or complete.prompt_id is None)
    )


def _other(status: MarkerStatus) -> MarkerStatus:
    return "error" if status == "success" else "success"
