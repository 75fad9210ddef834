"""Decides when a group of files is complete. No clock, no file, no thread: whoever drives it says what happened when.

A group is open from the first news of a file until its marker is written, and only open groups are remembered. It is
complete when each of its files has settled (it was closed, or has not changed for the window) and nothing has joined it
for the window; a prompt's record is better evidence than any window.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..telemetry.markers.folder import FileStamp
from ..telemetry.markers.grouping import group_of
from .completion import completed_by_record, completed_by_window, missing_of, settle
from .evidence import PATIENCE_SECONDS, EndedPrompt, Key, KnownAsOf, NamedFile, SavedFiles
from .group import Complete, Group
from .open_groups import NEVER, OpenGroups
from .running_prompts import RunningPrompts

LOOK_AGAIN_SECONDS = 0.05
"""How often a file that was reported and isn't there is looked for."""
RETRY_SECONDS = (1.0, 5.0, 15.0, 60.0)
"""How long after each failure the marker is tried again; the last one for ever."""


class Groups:
    """The open groups of one watched folder. Times are those of one monotonic clock, in seconds."""

    def __init__(self, window: float, min_frames: int = 1, root: tuple[str, ...] = ()) -> None:
        """`root` is the watched folder's path in parts, to recognise what ComfyUI calls it by."""
        self._groups = OpenGroups(window)
        self.prompts = RunningPrompts(root)
        self.min_frames = min_frames
        self.few = 0
        """How many have been forgotten for having too few files."""
        self.tells_closes = True
        """Whether news of closed files come; without them a prompt's record says that what it names is closed."""

    @property
    def open(self) -> dict[Key, Group]:
        """The open groups."""
        return self._groups.open

    @property
    def opened(self) -> int:
        """How many have ever been opened."""
        return self._groups.opened

    @property
    def window(self) -> float:
        """How long nothing may happen to a group before it counts as complete, in seconds."""
        return self._groups.window

    @window.setter
    def window(self, seconds: float) -> None:
        self._groups.window = seconds

    @property
    def root(self) -> tuple[str, ...]:
        """The watched folder's path in parts."""
        return self.prompts.root

    @root.setter
    def root(self, parts: tuple[str, ...]) -> None:
        self.prompts.root = parts

    def clear(self) -> None:
        """Forget every group: the folder is gone."""
        self._groups.clear()

    def next_due(self) -> float | None:
        """When a group is next to be looked at; null while there is none."""
        return self._groups.next_due()

    # ------------------------------------------------------------ news of files

    def appeared(self, key: Key, name: str, stamp: FileStamp | None, at: float) -> None:
        """A file is new, or has changed, and may still be written to. Null where its stamp isn't known."""
        group = self._groups.opened_at(key, at)
        group.joined[name] = stamp
        group.unsettled[name] = (stamp, at)
        group.unheard.discard(name)
        self._groups.happened(key, group, at)

    def closed(self, key: Key, name: str, at: float) -> None:
        """A file that was open for writing was closed."""
        group = self._groups.opened_at(key, at)
        group.joined[name] = None
        group.unsettled.pop(name, None)
        self._groups.happened(key, group, at)

    def gone(self, key: Key, name: str, at: float) -> None:
        """A file was removed or renamed; to be told of open groups, and of those whose marker lists it."""
        group = self._groups.opened_at(key, at)
        group.joined.pop(name, None)
        group.unsettled.pop(name, None)
        self._groups.happened(key, group, at)

    def found(self, key: Key, files: Mapping[str, FileStamp], unsettled: Iterable[str], at: float) -> None:
        """A scan met a group that has no right marker; those of its files that are not `unsettled` are old enough."""
        young = set(unsettled)
        is_new = key not in self.open
        group = self._groups.opened_at(key, at)
        for name, stamp in files.items():
            if name in young and name not in group.joined:
                group.unsettled[name] = (stamp, at)
                group.unheard.add(name)
            group.joined[name] = stamp
        if young:
            group.active = at
        elif is_new:
            group.active = at - self.window
        self._groups.plan(key, group, group.active + self.window)

    def note(self, key: Key, text: str) -> None:
        """Something that this group's next marker is to say."""
        if key in self.open and text not in self.open[key].notes:
            self.open[key].notes.append(text)

    # ------------------------------------------------------------ news of prompts

    def ended(self, ended: EndedPrompt, present: Mapping[Key, Mapping[str, NamedFile]], at: float) -> None:
        """A prompt has ended. `present` gives the groups of its files here, and each file by its name."""
        held = self.prompts.end(ended.prompt_id)
        running = ended.running or held
        for key, names in present.items():
            self._regroup(key, names)
            if ended.marks(key, self.root):
                self.open.pop(key, None)
            else:
                nodes = {name: file.node_id for name, file in names.items()}
                cached = all(file.cached for file in names.values())
                self._explain(key, SavedFiles(ended.prompt_id, ended.status, nodes, at, cached), at)
        for key, group in list(self.open.items()):
            if key in present or running is None or not running.claims(key, self.root):
                continue
            if ended.marks(key, self.root):
                self.open.pop(key)
            elif group.saved is None or not group.saved.names:
                group.saved = SavedFiles(ended.prompt_id, ended.status, {}, at)
                self._groups.plan(key, group, max(at, group.active) + self.window)
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

    def _explain(self, key: Key, saved: SavedFiles, at: float) -> None:
        """A group's files are now known to be a prompt's; one that another prompt writes to already is that one's."""
        group = self._groups.opened_at(key, at)
        earlier = [group.saved] if group.saved is not None and group.saved.prompt_id != saved.prompt_id else []
        if self.prompts.holds(key, group):
            earlier.append(saved)
        else:
            group.saved = saved
            self._groups.plan(key, group, at)
        for name in [name for other in earlier for name in other.names if name not in saved.names or other is saved]:
            group.joined.pop(name, None)
            group.unsettled.pop(name, None)

    def asked(self, answer: KnownAsOf, at: float) -> None:
        """What is known of prompts is as new as that; or there is nobody to ask, and only windows count."""
        self.prompts.asked(answer)
        self._plan_unheld(at)

    def _plan_unheld(self, at: float) -> None:
        for key, group in self.open.items():
            if group.due == NEVER and not self.prompts.waits_for_answer(group) and not self.prompts.holds(key, group):
                self._groups.plan(key, group, at)

    # ------------------------------------------------------------ decisions

    def due(self, at: float) -> list[Key]:
        """The groups that are to be looked at now. Each is to be answered by `looked`."""
        found = []
        while (next_one := self._groups.pop_due(at)) is not None:
            key, group = next_one
            wait = self._too_early(key, group)
            if wait > at:
                self._groups.plan(key, group, wait)
            else:
                found.append(key)
        return found

    def _too_early(self, key: Key, group: Group) -> float:
        """Until when a group need not be looked at, whatever lies on the disk."""
        if group.failures:
            return 0.0
        if group.saved is not None and group.saved.names:
            return 0.0
        if group.saved is None and (self.prompts.holds(key, group) or self.prompts.waits_for_answer(group)):
            return NEVER
        return group.active + self.window

    def why(self, key: Key) -> str:
        """Why a group is not complete, in a few words."""
        group = self.open.get(key)
        if group is None:
            return "complete"
        if group.failures:
            return "its marker could not be written"
        if group.saved is None and self.prompts.holds(key, group):
            return "its prompt runs"
        return "being written" if group.unsettled else "quiet"

    def look_later(self, keys: Iterable[Key], at: float) -> None:
        """Groups that were due are looked at then: their folder takes too long to be listed again now."""
        for key in keys:
            self._groups.plan(key, self.open[key], at)

    def reported(self, key: Key) -> tuple[str, ...]:
        """The names that a prompt's record gives of a group."""
        saved = self.open[key].saved
        return tuple(saved.names) if saved is not None else ()

    def looked(self, key: Key, files: Mapping[str, FileStamp], at: float) -> Complete | None:
        """What lies on the disk of a group that was due; its marker, where it is complete.

        A group that has no files left, or too few, is forgotten: the next file opens it again.
        """
        group = self.open[key]
        until = settle(group, files, at, window=self.window, tells_closes=self.tells_closes)
        if until is not None:
            self._groups.plan(key, group, until)
            return None
        complete = completed_by_record(group, files) if group.saved is not None else completed_by_window(group, files)
        missing = missing_of(group, files)
        if missing and group.saved is not None and at < group.saved.at + PATIENCE_SECONDS:
            self._groups.plan(key, group, at + LOOK_AGAIN_SECONDS)
            return None
        if len(complete.files) < max(1, self.min_frames):
            self.few += bool(complete.files)
            self.open.pop(key)
            return None
        return complete

    def done(self, key: Key) -> None:
        """The group's marker stands, or need not: forget it."""
        self.open.pop(key, None)

    def failed(self, key: Key, at: float) -> None:
        """The group's marker could not be written: it is tried again, later each time."""
        group = self.open[key]
        group.failures += 1
        self._groups.plan(key, group, at + RETRY_SECONDS[min(group.failures, len(RETRY_SECONDS)) - 1])
