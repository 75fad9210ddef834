"""Whatever happens to a folder, a marker is there if and only if its group is complete, and names exactly its files.

The files are real and so are the markers; the news and the clock are the machine's own.
"""

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from run_recorder.sentinel.groups import Groups
from run_recorder.sentinel.keeper import Keeper
from run_recorder.telemetry.markers.grouping import group_of

WINDOW = 3.0
POLL = 2.0
WALL = 1_700_000_000.0
MIN_FRAMES = 2
NAMES = [
    *(f"a_{number:05}_.png" for number in range(1, 5)),
    "a_00001.flac",
    *(f"sub/b-{number:05}.exr" for number in range(1, 4)),
    "sub/c.0001.exr",
    "sub/c.0002.exr",
    "d.png",
    "日本 語_00001_.png",
    "日本 語_00002_.png",
]
names = st.sampled_from(NAMES)


@dataclass
class File:
    changed: float
    is_open: bool
    unseen: bool = False
    """True after a write that no news tells of: the file had been open, and unchanged, for so long that it counted."""


class Machine(RuleBasedStateMachine):
    """A folder with news of each event, as inotify brings it."""

    polling = False

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp())
        self.root = self.base / "out"
        self.away = self.base / "away"
        (self.root / "sub").mkdir(parents=True)
        self.now = 100.0
        self.files: dict[str, File] = {}
        self.joined: dict[str, float] = {}
        """By group the last time that a file came to it, changed or went."""
        self.serial = 0
        self.unseen = False
        """While polling: something has happened since the last scan."""
        self.next_poll = 0.0
        self.start()

    def teardown(self) -> None:
        shutil.rmtree(self.base)

    # --- the watcher, and its clock

    @rule()
    def start(self) -> None:
        """A watcher that was killed starts again: nothing of the old one's memory is left."""
        groups = Groups(WINDOW, MIN_FRAMES)
        groups.tells_closes = not self.polling
        self.keeper = Keeper(self.root, groups, lambda: self.now)
        self.catch_up(first=True)

    def catch_up(self, first: bool = False) -> None:
        if not self.root.exists():
            return
        clock = WALL + self.now if first else None
        if first:
            self.forget()
        if self.polling:
            self.keeper.scans.poll(self.now, clock)
            self.unseen = False
            self.next_poll = self.now + POLL
        else:
            self.keeper.scans.scan(self.now, clock)
        self.keeper.tick(self.now)

    def forget(self) -> None:
        """All that a new watcher can go by is the files' times."""
        for name, file in self.files.items():
            file.changed, file.unseen = (self.root / name).stat().st_mtime - WALL, False
        self.joined = {key: max((f.changed for f in self.group(key).values()), default=0.0) for key in self.keys()}

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.5, 1.0, 2.9, 3.0, 3.1, 10.0]))
    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while self.root.exists():
            due = self.keeper.next_due()
            times = [time for time in (due, self.next_poll if self.polling else None) if time is not None]
            if not times or min(times) > until:
                break
            self.now = max(self.now, min(times))
            if self.polling and self.now >= self.next_poll:
                self.catch_up()
            self.keeper.tick(self.now)
        self.now = max(self.now, until)

    # --- what savers and people do

    def key(self, name: str) -> str:
        folder, _, file = name.rpartition("/")
        return f"{folder}/{group_of(file)}".lstrip("/")

    def put(self, name: str, mode: str) -> None:
        self.serial += 1
        self.unseen = True
        path = self.root / name
        with path.open(mode) as file:
            file.write(b"x" * self.serial)
        os.utime(path, (WALL + self.now, WALL + self.now))

    def happened(self, *changed: str) -> None:
        self.unseen = True
        for name in changed:
            self.joined[self.key(name)] = self.now
        if not self.polling:
            self.keeper.tick(self.now)

    def news(self, what: str, name: str) -> None:
        if not self.polling:
            folder, _, file = name.rpartition("/")
            getattr(self.keeper.files, what)(folder, file, self.now)

    there = precondition(lambda self: self.root.exists())

    @there
    @rule(name=names)
    def create(self, name: str) -> None:
        self.put(name, "wb")
        self.files[name] = File(self.now, is_open=True)
        self.news("appeared", name)
        self.happened(name)

    @there
    @rule(name=names)
    def write(self, name: str) -> None:
        file = self.files.get(name)
        if file is None or not file.is_open:
            return
        file.unseen = file.unseen or (self.settled(file) and not self.polling)
        self.put(name, "ab")
        file.changed = self.now
        if not file.unseen:
            self.happened(name)

    @there
    @rule(name=names)
    def close(self, name: str) -> None:
        file = self.files.get(name)
        if file is None or not file.is_open:
            return
        file.is_open = file.unseen = False
        self.news("closed", name)
        self.happened()

    @there
    @rule(name=names)
    def save(self, name: str) -> None:
        """Create, write and close at once, as a saver does."""
        self.create(name)
        self.close(name)

    @there
    @rule(source=names, to=names)
    def rename(self, source: str, to: str) -> None:
        if source not in self.files or source == to:
            return
        (self.root / source).replace(self.root / to)
        self.files[to] = self.files.pop(source)
        self.files[to].changed = self.now
        self.news("gone", source)
        self.news("appeared", to)
        self.happened(source, to)

    @there
    @rule(name=names)
    def delete(self, name: str) -> None:
        if self.files.pop(name, None) is None:
            return
        (self.root / name).unlink()
        self.news("gone", name)
        self.happened(name)

    @there
    @rule()
    def folder_gone(self) -> None:
        self.root.rename(self.away)
        self.keeper.forget()

    @precondition(lambda self: not self.root.exists())
    @rule()
    def folder_back(self) -> None:
        self.away.rename(self.root)
        self.catch_up(first=True)

    # --- what must be so

    def settled(self, file: File) -> bool:
        return (not file.is_open and not self.polling) or self.now - file.changed >= WINDOW - 0.001

    def group(self, key: str) -> dict[str, File]:
        return {name: file for name, file in self.files.items() if self.key(name) == key}

    def marker(self, key: str) -> dict | None:
        path = self.root / f"{key}.done"
        return json.loads(path.read_bytes()) if path.exists() else None

    def keys(self) -> set[str]:
        return {self.key(name) for name in NAMES}

    @there
    @invariant()
    def no_marker_comes_too_early_or_says_what_is_not_so(self) -> None:
        if self.polling and self.unseen:
            return  # until the next scan
        for key in self.keys():
            marker, files = self.marker(key), self.group(key)
            if marker is None or any(file.unseen for file in files.values()):
                continue
            assert all(self.settled(file) for file in files.values()), key
            assert self.now - self.joined[key] >= WINDOW - 0.001, key
            self.names_exactly(key, marker)

    def names_exactly(self, key: str, marker: dict) -> None:
        listed = {(file["Name"], file["Bytes"]) for file in marker["Files"]}
        on_disk = {Path(name).name: (self.root / name).stat().st_size for name in self.group(key)}
        assert listed == set(on_disk.items()), key
        assert marker["FrameCount"] == len(listed) >= MIN_FRAMES
        assert (marker["Producer"], marker["Status"], marker["PromptId"]) == ("sentinel", "success", None)

    @there
    @rule()
    def at_rest_there_is_a_marker_for_each_complete_group_and_no_other(self) -> None:
        for _ in range(4):
            self.wait(WINDOW + POLL)
        for key in self.keys():
            marker, files = self.marker(key), self.group(key)
            assert (marker is not None) == (len(files) >= MIN_FRAMES), (key, files)
            if marker is not None and not any(file.unseen for file in files.values()):
                self.names_exactly(key, marker)
        assert not self.keeper.groups.open, "only open groups are remembered"
        assert not list(self.root.rglob(".*")), "a temporary was left"


class PollingMachine(Machine):
    """The same without news of anything: only looks at the folder."""

    polling = True


DEPTH = settings(
    max_examples=int(os.environ.get("SENTINEL_EXAMPLES", "100")),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestWithEvents = pytest.mark.timeout(300)(Machine.TestCase)
TestWithEvents.settings = DEPTH
TestByPolling = pytest.mark.timeout(300)(PollingMachine.TestCase)
TestByPolling.settings = DEPTH
