"""Keeps the markers of one watched folder: turns news into looks at the disk, and decisions into marker files.

Has neither a thread nor a clock of its own: the watch around it says when it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..telemetry.markers.file import (
    MarkedFile,
    MarkerError,
    MarkerPlace,
    make_marker,
    put_in_place,
    put_where_free,
    take_away,
    write_temporary,
)
from ..telemetry.markers.folder import FileStamp, stamp_of
from ..telemetry.markers.grouping import group_of, pattern_of
from ..telemetry.markers.outputs import names_like
from ..telemetry.markers.prefix import MARKER_SUFFIXES, PrefixError, PrefixPath, confine
from ..telemetry.models.base import MarkerStatus
from ..telemetry.models.marker import DoneMarker
from ..telemetry.models.times import iso
from ..telemetry.process.printable import logger
from .evidence import Asked, Ended, Key, Named, Running, places_below
from .groups import Complete, Group, Groups, groups_of
from .oddities import Oddities
from .standing import PRODUCER, Standing, is_ours, read, standing
from .tree import Counts, Folder, counting, list_groups, path_of, require_open, walk

LOOK_SHARE = 4.0
"""A folder that takes long to list is listed at most a fifth of the time."""
NOTHING_NEW = 0.005
"""Listings quicker than this are free."""


@dataclass(slots=True)
class Told:
    """What a keeper has done, for those who show it."""

    marked: Callable[[Path, DoneMarker, float], None] = lambda _path, _marker, _delay: None
    """A marker was written; how many seconds after the last news of its group."""
    withdrawn: Callable[[Path], None] = lambda _path: None
    failed: Callable[[Key, str], None] = lambda _key, _why: None
    scanned: Callable[[str], None] = lambda _why: None
    odd: Callable[[Path, str | None], None] = lambda _path, _why: None
    """What lies there can't be what it is named for, and costs its group its marker; null once that is over."""


@dataclass(slots=True)
class Keeper:
    """The markers of one folder. `clock` is the monotonic clock that all times given to it are of."""

    root: Path
    groups: Groups
    clock: Callable[[], float]
    recursive: bool = True
    told: Told = field(default_factory=Told)
    counts: Counts = field(default_factory=counting)
    """Whether a file of this name counts, as far as no record names it."""
    _looks: dict[str, float] = field(default_factory=dict)
    """By folder when it may be listed again, for those that took long."""
    _prints: dict[Key, int] = field(default_factory=dict)
    """While polling: a digest of each group as the last scan met it."""
    _odd: Oddities = field(init=False)
    _shut: Oddities = field(init=False)
    """Folders that can't be read: a path may be one's and a group's as well."""

    def __post_init__(self) -> None:
        self._odd, self._shut = (Oddities(lambda path, why: self.told.odd(path, why)) for _ in range(2))

    def move_to(self, root: Path) -> None:
        """The folder is, or is again, at this path: nothing of before counts."""
        self.root = root
        self.groups.root = root.parts
        self.forget()

    def forget(self) -> None:
        """The folder is gone: nothing is open, and nothing was met."""
        self.groups.clear()
        self._prints.clear()
        self._looks.clear()
        self._odd.forget()
        self._shut.forget()

    # ------------------------------------------------------------ news of files

    def appeared(self, folder: str, name: str, at: float) -> None:
        """A file is new or has changed."""
        if self.counts(name):
            key = Key(folder, group_of(name))
            self._surely(key, self._news, key, name, at, False)
        elif name.endswith(MARKER_SUFFIXES):
            self._marker_changed(folder, name, at)

    def closed(self, folder: str, name: str, at: float) -> None:
        """A file that was open for writing was closed."""
        if self.counts(name):
            key = Key(folder, group_of(name))
            self._surely(key, self._news, key, name, at, True)

    def gone(self, folder: str, name: str, at: float) -> None:
        """A file was removed, or has another name now."""
        if self.counts(name):
            key = Key(folder, group_of(name))
            self._surely(key, self._gone, key, name, at)
        elif name.endswith(MARKER_SUFFIXES):
            self._marker_changed(folder, name, at)

    def _gone(self, key: Key, name: str, at: float) -> None:
        if self._at(key) in self._odd and not list_groups(path_of(self.root, key), self.counts, {key.name})[key.name]:
            self._odd.over([self._at(key)])
            return
        if key not in self.groups.open:
            stands = self._standing(key)
            if stands is None or not stands.is_ours or not stands.lists(name, None):
                return
            self._reopen(key, stands, at, "lost")
        self.groups.gone(key, name, at)

    def _marker_changed(self, folder: str, name: str, at: float) -> None:
        """Something happened at a marker's name: what stood in its way there may be gone."""
        key = Key(folder, name.rpartition(".")[0])
        path = path_of(self.root, key) / name
        if path in self._odd and self._is_over(path):
            self.groups.found(key, {}, (), at)

    def _is_over(self, path: Path) -> bool:
        stands = read(path)
        if stands is None or stands.odd is None:
            self._odd.over([path])
            return True
        self._odd.met(path, stands.odd)
        return False

    def _surely(self, key: Key, do: Callable[..., None], *given: object) -> None:
        """Do something for one group; whatever lies there costs no other group anything."""
        try:
            do(*given)
        except Exception as error:  # noqa: BLE001  names and contents are anybody's
            self._odd.met(self._at(key), f"can't be looked at ({type(error).__name__}: {error})")

    def _at(self, key: Key) -> Path:
        """Where a group is, for those who are told of it: no file has this name."""
        return path_of(self.root, key) / key.name

    def _news(self, key: Key, name: str, at: float, closed: bool) -> None:
        stamp = None
        if key not in self.groups.open:
            stands = self._standing(key)
            if stands is not None:
                stamp = stamp_of(path_of(self.root, key) / name)
                if stamp is None or stands.lists(name, stamp):
                    return
                self._reopen(key, stands, at, "gained or changed")
        if closed:
            self.groups.closed(key, name, at)
        else:
            self.groups.appeared(key, name, stamp or stamp_of(path_of(self.root, key) / name), at)

    def _reopen(self, key: Key, stands: Standing, at: float, how: str) -> None:
        """A marked group has changed, so it is not complete: our own marker goes, and the next one says why."""
        self.groups.found(key, {}, (), at)
        if stands.is_ours and self._take_away(stands.path) is not None:
            self.told.withdrawn(stands.path)
            self.groups.note(key, _replaces(stands, how))

    def _standing(self, key: Key) -> Standing | None:
        place = self._place(key)
        if place is None:
            return None
        stands = standing(place)
        if stands is not None and stands.odd is not None:
            self._odd.met(stands.path, stands.odd)
        elif self._odd:
            self._odd.over([self._at(key), place.path("success"), place.path("error")])
        return stands

    def _place(self, key: Key) -> MarkerPlace | None:
        try:
            return MarkerPlace.of(self.root, PrefixPath(key.folder, key.name))
        except PrefixError as error:
            self._odd.met(self._at(key), f"can't be marked: {error}")
            return None

    def _take_away(self, path: Path) -> DoneMarker | None:
        """Remove a marker of a sentinel's; null where it is none, or the way to it is exchanged for another."""
        return take_away(Path(os.path.realpath(path.parent)) / path.name, is_ours, Path(os.path.realpath(self.root)))

    # ------------------------------------------------------------ scans

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
                self._surely(key, self._met, key, files, at, clock)
            self._check_orphans(folder)
        if not below:
            self._take_back(seen, at)
        self.told.scanned(why)

    def _walk(self, below: str = "") -> Iterator[Folder]:
        """Every folder below one. Those that can't be read are told, and taken back when they can."""
        shut: set[Path] = set()

        def met(path: str, error: OSError) -> None:
            shut.add(self.root / path)
            self._shut.met(self.root / path, f"can't be looked into ({error.strerror})")

        yield from walk(self.root, self.counts, met, recursive=self.recursive, below=below)
        looked = [path for path in self._shut.all() if path.is_relative_to(self.root / below)]
        self._shut.over(path for path in looked if path not in shut)

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

    def _take_back(self, seen: Container[Key], at: float) -> None:
        """After a scan of everything: what it did not meet is odd no more."""
        for path in self._odd.all():
            folder = path.parent.relative_to(self.root).as_posix()
            folder = "" if folder == "." else folder
            if path.name.endswith(MARKER_SUFFIXES):
                self._marker_changed(folder, path.name, at)
            elif Key(folder, path.name) not in seen:
                self._odd.over([path])

    def poll(self, at: float, clock: float | None = None) -> None:
        """As a scan, but what the last one has met just so is passed over. Raises OSError as `scan` does."""
        seen: dict[Key, int] = {}
        for folder in self._walk():
            for name, files in folder.groups.items():
                key = Key(folder.path, name)
                seen[key] = _digest(files)
                if seen[key] != self._prints.get(key):
                    self._surely(key, self._met, key, files, at, clock)
            self._check_orphans(folder)
        self._take_back(seen, at)
        for key in [key for key in self._prints if key not in seen and key in self.groups.open]:
            self.groups.found(key, {}, (), at)
        self._prints = seen

    def _met(self, key: Key, files: dict[str, FileStamp], at: float, clock: float | None) -> None:
        """A scan met a group."""
        group = self.groups.open.get(key)
        if group is not None:
            for name in [name for name, stamp in files.items() if _is_news(group, name, stamp)]:
                self.groups.appeared(key, name, files[name], at)
            for name in [name for name in group.joined if name not in files]:
                self.groups.gone(key, name, at)
            return
        stands = self._standing(key)
        if stands is not None and (not stands.is_ours or stands.is_right(files)):
            return
        young = [name for name, stamp in files.items() if not self._is_old(stamp, clock)]
        if stands is not None:
            self._reopen(key, stands, at, "gained or changed" if len(files) >= len(stands.files) else "lost")
            files = {
                name: stamp for name, stamp in files.items() if not stands.prompt_id or not stands.lists(name, stamp)
            }
        self.groups.found(key, files, young, at)

    def _is_old(self, stamp: FileStamp, clock: float | None) -> bool:
        return clock is not None and stamp.modified_ns / 1e9 <= clock - self.groups.window

    def _check_orphans(self, folder: Folder) -> None:
        for marker in folder.markers:
            prefix = marker.rpartition(".")[0]
            if prefix not in folder.groups:
                self._surely(Key(folder.path, prefix), self._check_orphan, self.root / folder.path / marker)

    def _check_orphan(self, path: Path) -> None:
        """Withdraw a marker of ours whose files are all gone."""
        stands = read(path)
        if stands is not None and stands.odd is not None:
            self._odd.met(path, stands.odd)
        if stands is None or not stands.is_ours or any(_is_file(path.parent, name) for name in stands.files):
            return
        if self._take_away(stands.path) is not None:
            self.told.withdrawn(stands.path)

    # ------------------------------------------------------------ news of prompts

    def hear(self, news: Running | Ended | Asked, at: float) -> None:
        """Something was told of prompts."""
        if isinstance(news, Running):
            self.groups.runs(news, at)
        elif isinstance(news, Asked):
            self.groups.asked(news, at)
        else:
            self._surely(Key("", news.prompt_id), self._hear_end, news, at)

    def _hear_end(self, ended: Ended, at: float) -> None:
        ended = replace(ended, files=tuple(one for file in ended.files for one in self._spelled_out(file)))
        self.groups.ended(ended, groups_of(ended, self.root.parts, self._finder()), at)

    def _spelled_out(self, file: Named) -> list[Named]:
        """The files here that a name like `frame_%03d.png` stands for; else itself."""
        pattern = pattern_of(file.name)
        if pattern is None:
            return [file]
        folders = filter(None, (_below(self.root, place) for place in places_below(file.folder, self.root.parts)))
        return [file._replace(name=name) for folder in folders for name in names_like(folder, pattern)] or [file]

    def _finder(self) -> Callable[[str, str], bool]:
        """Tells whether a reported name is a file in a folder below this one; none that a link leads to is."""
        folders: dict[str, Path | None] = {}

        def is_there(folder: str, name: str) -> bool:
            if folder not in folders:
                folders[folder] = _below(self.root, folder)
            place = folders[folder]
            return place is not None and _is_file(place, name)

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
        began = self.clock()
        reported = {key: self.groups.reported(key) for key in keys}
        names = {name for names in reported.values() for name in names}
        try:
            found = list_groups(self.root / folder, self.counts, {key.name for key in keys}, names)
        except OSError as error:
            for key in keys:
                self._failed(key, f"{folder or self.root} can't be read: {error.strerror}", at)
            return
        took = self.clock() - began
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
            marker = self._write(key, complete)
        except (MarkerError, OSError, PrefixError) as error:
            self._failed(key, str(error), at)
            return
        except Exception as error:  # noqa: BLE001  one group's names must not cost the others their markers
            self._failed(key, f"{key.name!r} can't be marked: {type(error).__name__}: {error}", at)
            return
        self.groups.done(key)
        if marker is not None:
            self.told.marked(*marker, max(0.0, self.clock() - active))

    def _failed(self, key: Key, why: str, at: float) -> None:
        if not self.groups.open[key].failures:
            logger.error("Run Recorder: %s; it is tried again", why)
        self.groups.failed(key, at)
        self.told.failed(key, why)

    def _write(self, key: Key, complete: Complete) -> tuple[Path, DoneMarker] | None:
        """Write a group's marker, unless a better one or the same stands."""
        place = self._place(key)
        if place is None:
            return None
        stands = self._standing(key)
        notes = list(complete.notes)
        if stands is not None:
            if not _is_better(stands, complete):
                return None
            if stands.is_ours and self._take_away(stands.path) is not None:
                notes.append(_replaces(stands, "changed"))
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


def _below(root: Path, folder: str) -> Path | None:
    """A folder that was reported; null where its name or a link leads out of the watched one."""
    if ".." in folder.split("/") or Path(folder).is_absolute():
        return None
    try:
        return confine(root, PrefixPath(folder, ""))
    except PrefixError:
        return None


def _is_file(folder: Path, name: str) -> bool:
    """Whether a name, which may be any text, is that of a regular file in a folder."""
    return Path(name).name == name and stamp_of(folder / name) is not None


def _other(status: MarkerStatus) -> MarkerStatus:
    return "error" if status == "success" else "success"


def _says_the_same(stands: Standing, complete: Complete) -> bool:
    listed = {name: stands.lists(name, stamp) for name, stamp in complete.files.items()}
    is_done = stands.path.suffix == ".done"
    return (
        len(listed) == len(stands.files)
        and all(listed.values())
        and is_done == (complete.status == "success")
        and (stands.prompt_id == complete.prompt_id or complete.prompt_id is None)
    )


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


def _replaces(stands: Standing, how: str) -> str:
    count = len(stands.files)
    return f"replaces a marker of {stands.timestamp} with {count} file{'s' * (count != 1)}: the group has {how} since"


def _is_news(group: Group, name: str, stamp: FileStamp) -> bool:
    """Whether an open group doesn't know a file, or knows it otherwise."""
    return name not in group.joined or group.joined[name] not in (None, stamp)


def _digest(files: Mapping[str, FileStamp]) -> int:
    return hash(frozenset(files.items()))
