"""Decides when a group of files is complete. No clock, no file, no thread: whoever drives it says what happened when.

A group is open from the first news of a file until its marker is written, and only open groups are remembered. It is
complete when each of its files has settled (it was closed, or has not changed for the window) and nothing has joined it
for the window; a prompt's record is better evidence than any window.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ..telemetry.markers.folder import FileStamp
from ..telemetry.markers.grouping import group_of, prefixes_of
from ..telemetry.models.base import MarkerStatus
from .evidence import PATIENCE_SECONDS, Asked, Ended, Key, Named, Running, Saved, places_below

LOOK_AGAIN_SECONDS = 0.05
"""How often a file that was reported and isn't there is looked for."""
RETRY_SECONDS = (1.0, 5.0, 15.0, 60.0)
"""How long after each failure the marker is tried again; the last one for ever."""
MOST_NOTES = 1000
"""So many notes of one marker, at most."""
NEVER = float("inf")
"""When a group is due that a prompt holds, until there is news of prompts."""


@dataclass(slots=True)
class Group:
    """An open group. Its memory is what has come or changed since it was opened."""

    opened: float
    active: float
    """When something last happened to it."""
    joined: dict[str, FileStamp | None] = field(default_factory=dict)
    """The files that came or changed, in that order; null where only their names were told."""
    unsettled: dict[str, tuple[FileStamp | None, float]] = field(default_factory=dict)
    """Those not known to be closed: what each looked like, and since when."""
    unheard: set[str] = field(default_factory=set)
    """Those of them that a scan has met: whether they are closed nobody has told, so a prompt's record may."""
    saved: Saved | None = None
    notes: list[str] = field(default_factory=list)
    failures: int = 0
    due: float = 0.0
    """When it is to be looked at next."""


@dataclass(frozen=True, slots=True)
class Complete:
    """A group is complete: the marker that it comes to."""

    files: dict[str, FileStamp]
    status: MarkerStatus = "success"
    prompt_id: str | None = None
    nodes: Mapping[str, str | None] = field(default_factory=dict)
    cached: bool = False
    notes: tuple[str, ...] = ()


class Groups:
    """The open groups of one watched folder. Times are those of one monotonic clock, in seconds."""

    def __init__(self, window: float, min_frames: int = 1, root: tuple[str, ...] = ()) -> None:
        """`root` is the watched folder's path in parts, to recognise what ComfyUI calls it by."""
        self.window = window
        self.min_frames = min_frames
        self.open: dict[Key, Group] = {}
        self.opened = 0
        """How many have ever been opened."""
        self.few = 0
        """How many have been forgotten for having too few files."""
        self.tells_closes = True
        """Whether news of closed files come; without them a prompt's record says that what it names is closed."""
        self.root = root
        self._running: dict[str, tuple[Running, float]] = {}
        self._asked: float | None = None
        self._heap: list[tuple[float, Key]] = []

    # ------------------------------------------------------------ news of files

    def appeared(self, key: Key, name: str, stamp: FileStamp | None, at: float) -> None:
        """A file is new, or has changed, and may still be written to. Null where its stamp isn't known."""
        group = self._opened(key, at)
        group.joined[name] = stamp
        group.unsettled[name] = (stamp, at)
        group.unheard.discard(name)
        self._happened(key, group, at)

    def closed(self, key: Key, name: str, at: float) -> None:
        """A file that was open for writing was closed."""
        group = self._opened(key, at)
        group.joined[name] = None
        group.unsettled.pop(name, None)
        self._happened(key, group, at)

    def gone(self, key: Key, name: str, at: float) -> None:
        """A file was removed or renamed; to be told of open groups, and of those whose marker lists it."""
        group = self._opened(key, at)
        group.joined.pop(name, None)
        group.unsettled.pop(name, None)
        self._happened(key, group, at)

    def found(self, key: Key, files: Mapping[str, FileStamp], unsettled: Iterable[str], at: float) -> None:
        """A scan met a group that has no right marker; those of its files that are not `unsettled` are old enough."""
        young = set(unsettled)
        is_new = key not in self.open
        group = self._opened(key, at)
        for name, stamp in files.items():
            if name in young and name not in group.joined:
                group.unsettled[name] = (stamp, at)
                group.unheard.add(name)
            group.joined[name] = stamp
        if young:
            group.active = at
        elif is_new:
            group.active = at - self.window
        self._plan(key, group, group.active + self.window)

    def note(self, key: Key, text: str) -> None:
        """Something that this group's next marker is to say."""
        if key in self.open and text not in self.open[key].notes:
            self.open[key].notes.append(text)

    def clear(self) -> None:
        """Forget every group: the folder is gone."""
        self.open.clear()
        self._heap.clear()

    def _opened(self, key: Key, at: float) -> Group:
        group = self.open.get(key)
        if group is None:
            group = self.open[key] = Group(opened=at, active=at)
            self.opened += 1
        return group

    def _happened(self, key: Key, group: Group, at: float) -> None:
        group.active = max(group.active, at)
        group.failures = 0
        if not group.due or group.saved is not None:
            self._plan(key, group, at if group.saved is not None else at + self.window)

    def _plan(self, key: Key, group: Group, at: float) -> None:
        """Look at a group then. One entry of the heap is in use for each group; others are passed over."""
        if group.due != at:
            group.due = at
            if at != NEVER:
                heapq.heappush(self._heap, (at, key))

    # ------------------------------------------------------------ news of prompts

    def runs(self, running: Running, at: float) -> None:
        """A prompt runs; it holds its groups open until it is told to have ended."""
        self._running.setdefault(running.prompt_id, (running, at))

    def ended(self, ended: Ended, present: Mapping[Key, Mapping[str, Named]], at: float) -> None:
        """A prompt has ended. `present` gives the groups of its files here, and each file by its name."""
        held = self._running.pop(ended.prompt_id, None)
        running = ended.running or (held[0] if held else None)
        for key, names in present.items():
            self._regroup(key, names)
            if ended.marks(key, self.root):
                self.open.pop(key, None)
            else:
                nodes = {name: file.node_id for name, file in names.items()}
                cached = all(file.cached for file in names.values())
                self._explain(key, Saved(ended.prompt_id, ended.status, nodes, at, cached), at)
        for key, group in list(self.open.items()):
            if key in present or running is None or not running.claims(key, self.root):
                continue
            if ended.marks(key, self.root):
                self.open.pop(key)
            elif group.saved is None or not group.saved.names:
                group.saved = Saved(ended.prompt_id, ended.status, {}, at)
                self._plan(key, group, max(at, group.active) + self.window)
        self._plan_unheld(at)

    def _regroup(self, key: Key, names: Iterable[str]) -> None:
        """Files whose saver's prefix is known leave the groups that their names alone had put them in."""
        for name in names:
            plain = Key(key.folder, group_of(name))
            group = self.open.get(plain) if plain != key else None
            if group is not None:
                group.joined.pop(name, None)
                group.unsettled.pop(name, None)
                if not group.joined:
                    self.open.pop(plain)

    def _explain(self, key: Key, saved: Saved, at: float) -> None:
        """A group's files are now known to be a prompt's; one that another prompt writes to already is that one's."""
        group = self._opened(key, at)
        earlier = [group.saved] if group.saved is not None and group.saved.prompt_id != saved.prompt_id else []
        if self._is_held(key, group):
            earlier.append(saved)
        else:
            group.saved = saved
            self._plan(key, group, at)
        for name in [name for other in earlier for name in other.names if name not in saved.names or other is saved]:
            group.joined.pop(name, None)
            group.unsettled.pop(name, None)

    def asked(self, answer: Asked, at: float) -> None:
        """What is known of prompts is as new as that; or there is nobody to ask, and only windows count."""
        for prompt_id in [prompt_id for prompt_id in self._running if prompt_id not in answer.running]:
            del self._running[prompt_id]
        self._asked = answer.at
        self._plan_unheld(at)

    def expect_answers(self) -> None:
        """There is a ComfyUI to ask: no group is complete before it was asked about it."""
        self._asked = float("-inf")

    @property
    def running(self) -> list[str]:
        """The prompts that are taken to run."""
        return list(self._running)

    def _plan_unheld(self, at: float) -> None:
        for key, group in self.open.items():
            if group.due == NEVER and not self._waits_for_answer(group) and not self._is_held(key, group):
                self._plan(key, group, at)

    def _is_held(self, key: Key, group: Group) -> bool:
        return any(
            running.claims(key, self.root) or (group.active >= since and running.saves_beside(key, self.root))
            for running, since in self._running.values()
        )

    def _waits_for_answer(self, group: Group) -> bool:
        return self._asked is not None and self._asked < group.active

    # ------------------------------------------------------------ decisions

    def next_due(self) -> float | None:
        """When a group is next to be looked at; null while there is none."""
        while self._heap:
            at, key = self._heap[0]
            group = self.open.get(key)
            if group is not None and group.due == at:
                return at
            heapq.heappop(self._heap)
        return None

    def due(self, at: float) -> list[Key]:
        """The groups that are to be looked at now. Each is to be answered by `looked`."""
        found = []
        while (then := self.next_due()) is not None and then <= at:
            key = heapq.heappop(self._heap)[1]
            group = self.open[key]
            group.due = 0.0
            wait = self._too_early(key, group)
            if wait > at:
                self._plan(key, group, wait)
            else:
                found.append(key)
        return found

    def _too_early(self, key: Key, group: Group) -> float:
        """Until when a group need not be looked at, whatever lies on the disk."""
        if group.failures:
            return 0.0
        if group.saved is not None and group.saved.names:
            return 0.0
        if group.saved is None and (self._is_held(key, group) or self._waits_for_answer(group)):
            return NEVER
        return group.active + self.window

    def why(self, key: Key) -> str:
        """Why a group is not complete, in a few words."""
        group = self.open.get(key)
        if group is None:
            return "complete"
        if group.failures:
            return "its marker could not be written"
        if group.saved is None and self._is_held(key, group):
            return "its prompt runs"
        return "being written" if group.unsettled else "quiet"

    def look_later(self, keys: Iterable[Key], at: float) -> None:
        """Groups that were due are looked at then: their folder takes too long to be listed again now."""
        for key in keys:
            self._plan(key, self.open[key], at)

    def reported(self, key: Key) -> tuple[str, ...]:
        """The names that a prompt's record gives of a group."""
        saved = self.open[key].saved
        return tuple(saved.names) if saved is not None else ()

    def looked(self, key: Key, files: Mapping[str, FileStamp], at: float) -> Complete | None:
        """What lies on the disk of a group that was due; its marker, where it is complete.

        A group that has no files left, or too few, is forgotten: the next file opens it again.
        """
        group = self.open[key]
        until = self._settle(group, files, at)
        if until is not None:
            self._plan(key, group, until)
            return None
        complete = self._by_record(group, files) if group.saved is not None else self._by_window(group, files)
        missing = self._missing(group, files)
        if missing and group.saved is not None and at < group.saved.at + PATIENCE_SECONDS:
            self._plan(key, group, at + LOOK_AGAIN_SECONDS)
            return None
        if len(complete.files) < max(1, self.min_frames):
            self.few += bool(complete.files)
            self.open.pop(key)
            return None
        return complete

    def _settle(self, group: Group, files: Mapping[str, FileStamp], at: float) -> float | None:
        """Take note of what has settled; when to look again, null where everything has."""
        reported = group.saved
        if not self.tells_closes:  # nobody tells of what has come or changed since the last scan
            for name, now_there in files.items():
                if name not in group.joined or group.joined[name] not in (None, now_there):
                    group.joined[name] = now_there
                    group.unsettled[name] = (now_there, at)
                    group.active = at
        for name, (stamp, since) in list(group.unsettled.items()):
            now = files.get(name)
            if now is None:
                del group.unsettled[name]
            elif now != stamp:
                group.unsettled[name] = (now, at)
                group.joined[name] = now
                group.active = at
            elif at >= since + self.window or (
                reported is not None and name in reported.names and (not self.tells_closes or name in group.unheard)
            ):
                del group.unsettled[name]
        return max(since for _, since in group.unsettled.values()) + self.window if group.unsettled else None

    def _by_window(self, group: Group, files: Mapping[str, FileStamp]) -> Complete:
        empty = [f"{name} is empty" for name, stamp in files.items() if stamp.bytes == 0]
        return Complete(dict(files), "error" if empty else "success", notes=(*group.notes, *empty[:MOST_NOTES]))

    def _by_record(self, group: Group, files: Mapping[str, FileStamp]) -> Complete:
        """The prompt's own files: those that it reported, and those that came while it ran."""
        saved = group.saved
        assert saved is not None
        names = {**saved.names, **group.joined}
        listed = {name: files[name] for name in names if name in files}
        notes = [*group.notes, *self._missing(group, files)]
        cached = saved.cached and all(name in saved.names for name in listed)
        notes += [f"{name} is empty" for name, now in listed.items() if now.bytes == 0 and name not in saved.names]
        empty = any(stamp.bytes == 0 for stamp in listed.values())
        status = "error" if empty and saved.status == "success" else saved.status
        return Complete(listed, status, saved.prompt_id, saved.names, cached, tuple(notes[:MOST_NOTES]))

    @staticmethod
    def _missing(group: Group, files: Mapping[str, FileStamp]) -> list[str]:
        told = []
        for name, node_id in group.saved.names.items() if group.saved is not None else ():
            if name not in files:
                told.append(f"node {node_id} reported {name}, which isn't there")
            elif files[name].bytes == 0:
                told.append(f"node {node_id} reported {name}, which is empty")
        return told

    def done(self, key: Key) -> None:
        """The group's marker stands, or need not: forget it."""
        self.open.pop(key, None)

    def failed(self, key: Key, at: float) -> None:
        """The group's marker could not be written: it is tried again, later each time."""
        group = self.open[key]
        group.failures += 1
        self._plan(key, group, at + RETRY_SECONDS[min(group.failures, len(RETRY_SECONDS)) - 1])


def groups_of(ended: Ended, root: tuple[str, ...], is_there: Callable[[str, str], bool]) -> dict[Key, dict[str, Named]]:
    """The groups of an ended prompt's files below a watched folder, each file by its name.

    `is_there` tells whether a name is in a folder; of several places where a file can be, the first where it is wins.
    A file that is in none of them is missing from the first place where others of its prompt are.
    """
    found: dict[Key, dict[str, Named]] = {}
    absent: list[Named] = []
    literals = {file.node_id: [file.literal.replace("\\", "/")] for file in ended.files if file.literal}
    named = prefixes_of(
        ((file.node_id, file.folder, file.name) for file in ended.files), lambda node_id, _: literals.get(node_id, ())
    )
    prefixes = {file: named[file.node_id, file.folder, file.name] for file in ended.files}
    for file in ended.files:
        place = next((place for place in places_below(file.folder, root) if is_there(place, file.name)), None)
        if place is not None:
            found.setdefault(Key(place, prefixes[file]), {})[file.name] = file
        elif file.sure:
            absent.append(file)
    for file in absent:
        keys = (Key(place, prefixes[file]) for place in places_below(file.folder, root))
        key = next((key for key in keys if key in found), None)
        if key is not None:
            found[key][file.name] = file
    return found
