"""Watches one folder, for as long as it takes: waits for it, survives its absence, and keeps its markers."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import Protocol

from ..telemetry.markers.folder import folder_clock
from .bursts import Bursts
from .callbacks import KeeperCallbacks
from .feed import Feed, FileNews, News, now
from .filesystems import time_step
from .folder_events import FolderEvents
from .groups import Groups
from .keeper import Keeper
from .lock import FolderLock, HeldError
from .options import Options
from .tree import counting
from .watch_log import WatchLog

CHECK_SECONDS = 2.0
"""How often it is looked whether the folder is there, is the same, and its observer lives: one stat."""
IDLE_CHECK_SECONDS = 30.0
"""How often at least, by events, while nothing happens: each time without news twice as long as the time before."""
BATCH_SECONDS = 0.02
"""How long news is gathered during a burst."""
POLL_SHARE = 4.0
"""A scan that takes long is made at most a fifth of the time."""


class Poke(Protocol):
    """Asks for news of prompts, since a group is open."""

    def __call__(self, *, is_new: bool) -> None:
        """`is_new` where one has been opened since the last time."""


class FolderWatch:
    """One watched folder, on a thread of its own: one that hangs on a dead share holds up no other."""

    def __init__(self, folder: Path, options: Options, callbacks: KeeperCallbacks, poke: Poke | None = None) -> None:
        """`poke` asks for news of prompts; it is called whenever a group is open. Null where there is nobody to ask."""
        self.folder = folder
        self.state = "starting"
        """What it does now, in a few words."""
        self.feed = Feed()
        self._options, self._poke = options, poke
        root = Path(os.path.realpath(folder))
        groups = Groups(options.stable_seconds, options.min_frames, root.parts)
        self.keeper = Keeper(root, groups, now, options.recursive, callbacks, counting(options.extensions))
        self._lock = FolderLock(root)
        self._thread = threading.Thread(target=self._run, name="run-recorder-sentinel", daemon=True)
        self._stopping = threading.Event()
        self._log = WatchLog(folder)
        self._events = FolderEvents(folder, options, self.feed, self._log)
        self._bursts = Bursts()
        self._identity: tuple[int, int] | None = None
        self._next_check = self._next_poll = 0.0
        self._check_every = CHECK_SECONDS
        self._poked = 0
        self._new_folders = False

    # ------------------------------------------------------------ from outside

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """End the thread, give the lock back."""
        self._stopping.set()
        self.feed.ring()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._lock.release()

    @property
    def mode(self) -> str:
        """How it watches now: `events`, `polling`, or `waiting` for the folder or its lock."""
        return self._events.mode

    @property
    def has_open(self) -> bool:
        """Whether a group is open."""
        return bool(self.keeper.groups.open)

    def take_lock(self) -> None:
        """Take the folder's lock, where it is there and can have one. Raises HeldError."""
        if not self._options.lock or self._lock.is_held or not self.keeper.root.is_dir():
            return
        try:
            self._lock.acquire()
        except OSError as error:
            why = f"can't be locked ({error.strerror}), so a second sentinel there is not noticed"
            self._log.say(f"{self.folder} {why}")

    def once(self) -> None:
        """Scan once, as at the start. Raises OSError where the folder can't be listed."""
        self._prepare()
        self.keeper.scans.scan(now(), _clock_of(self.keeper.root))

    def catch_up(self) -> None:
        """Take in what has been told, and write the markers that are due."""
        self._take_in(self.feed.take(0))
        self.keeper.tick(now())

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._is_there():
                    self._watch()
                else:
                    self.state = "waiting for the folder"
                    self._log.say(f"{self.folder} is not there; waiting for it")
            except HeldError as error:
                self.state = str(error)
                self._log.say(str(error))
            except Exception as error:  # noqa: BLE001  whatever a share can do: the watch goes on
                self._log.say(f"{self.folder} can't be watched now ({type(error).__name__}: {error}); trying again")
            finally:
                self._leave()
            self._stopping.wait(CHECK_SECONDS)

    def _is_there(self) -> bool:
        try:
            status = self.folder.stat()
        except (OSError, ValueError):
            return False
        if not self.folder.is_dir() or self._events.is_unmounted():
            return False  # a mount point without its mount is not the folder
        self._identity = status.st_dev, status.st_ino
        return True

    def _is_same(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            status = self.folder.stat()
            return (status.st_dev, status.st_ino) == self._identity
        return False

    def _prepare(self) -> None:
        self.keeper.move_to(Path(os.path.realpath(self.folder)))
        step = time_step(self.keeper.root)
        window = max(self._options.stable_seconds, step)
        if window > self._options.stable_seconds:
            self._log.say(f"{self.folder} keeps times to {step:g} s only, so that is the window")
        self.keeper.groups.window = window
        if self._poke is not None:
            self.keeper.groups.prompts.expect_answers()

    def _watch(self) -> None:
        """Watch the folder until it is gone, or another one stands in its place."""
        self._prepare()
        if not self._lock.is_held:
            self._lock = FolderLock(self.keeper.root)
        self.take_lock()
        self._events.start(self.keeper.root)
        self.keeper.groups.tells_closes = self._events.tells_closes
        self.state = self._events.state
        at = now()
        if self._events.native is None:
            self._poll(first=True)
        else:
            self.keeper.scans.scan(at, _clock_of(self.keeper.root), why="start")
            self._check_watches()
        self._check_every = CHECK_SECONDS
        self._plan_check(now())
        self._log.goes_well()
        while not self._stopping.is_set():
            if not self._bursts.is_doubtful:
                self.keeper.tick(now())
            else:  # nothing is decided now, so what comes may come in batches
                self._stopping.wait(BATCH_SECONDS)
            if self._poke is not None and self.has_open:
                opened = self.keeper.groups.opened
                self._poke(is_new=opened != self._poked)
                self._poked = opened
            self._take_in(self.feed.take(self._timeout()))
            if not self._go_on():
                return

    def _timeout(self) -> float:
        times = [self._next_check, self.keeper.next_due()]
        if self._events.native is None:
            times.append(self._next_poll)
        if self._bursts.is_doubtful:
            times = [self._bursts.calm_at]
        return max(0.0, min(time for time in times if time is not None) - now())

    def _go_on(self) -> bool:
        """What is to be done at intervals; false where the folder is gone."""
        at = now()
        if self._bursts.is_over(at):
            self.keeper.scans.scan(now(), why="burst")
            self._bursts.settled()
        if at >= self._next_check:
            self._plan_check(at)
            if not self._is_same():
                self._log.say(f"{self.folder} is gone, or is another folder now")
                return False
            if self._events.has_died:
                self._log.say(f"the observer of {self.folder} has died; starting it again")
                return False
            if self._events.native is not None and self.keeper.scans.has_opened():
                self._log.say(f"{self.folder} has a folder that can be read again; starting to watch it anew")
                return False
            if self._new_folders:
                self._check_watches()
        if self._events.native is None and at >= self._next_poll:
            self._poll()
        return True

    def _plan_check(self, at: float) -> None:
        longest = IDLE_CHECK_SECONDS if self._events.native is not None and not self.has_open else CHECK_SECONDS
        self._next_check = at + self._check_every
        self._check_every = min(2 * self._check_every, longest)

    def _leave(self) -> None:
        self._events.stop()
        self._bursts.settled()
        self.keeper.forget()
        self.feed.take(0)
        self._lock.release()

    # ------------------------------------------------------------ by events

    def _check_watches(self) -> None:
        """Poll from now on, where the platform has run out of watches for the folders below."""
        self._new_folders = False
        if self._events.has_run_out(self.keeper.root):
            self.keeper.groups.tells_closes = False
            self.state = self._events.state
            self._next_poll = 0.0

    def _take_in(self, news: list[News]) -> None:
        if news:
            self._check_every = CHECK_SECONDS
            self._next_check = min(self._next_check, now() + CHECK_SECONDS)
        root = str(self.keeper.root)
        new_folders: list[str] = []
        closed = {item.path: item.at for item in news if isinstance(item, FileNews) and item.what == "closed"}
        for item in news:
            if isinstance(item, FileNews):
                if item.what == "appeared" and closed.get(item.path, 0.0) > item.at:
                    continue  # it was closed since: that it came needs no look at the disk
                self._take_file(item, root, new_folders)
            else:
                self.keeper.hear(item, now())
        at = now()
        if self._bursts.came(len(news), at) and self._events.native is not None:
            self._bursts.doubt(at)
        if new_folders and self._options.recursive:
            self._scan_new(new_folders)

    def _take_file(self, item: FileNews, root: str, new_folders: list[str]) -> None:
        if not item.path.startswith(root):
            return
        folder, _, name = item.path[len(root) :].replace(os.sep, "/").strip("/").rpartition("/")
        if item.what == "appeared":
            self.keeper.files.appeared(folder, name, item.at)
        elif item.what == "closed":
            self.keeper.files.closed(folder, name, item.at)
        elif item.what == "gone":
            self.keeper.files.gone(folder, name, item.at)
        elif item.what == "folder appeared":
            new_folders.append(f"{folder}/{name}" if folder else name)
        elif not name:
            self._next_check = 0.0

    def _scan_new(self, folders: list[str]) -> None:
        """Scan folders that are new: files may have come to them before they were watched."""
        for folder in _topmost(folders):
            with contextlib.suppress(OSError):
                self.keeper.scans.scan(now(), below=folder, why="folder")
        self._new_folders = True

    # ------------------------------------------------------------ by polling

    def _poll(self, *, first: bool = False) -> None:
        if not self._is_same():
            self._next_check = 0.0
            return
        began = now()
        self.keeper.scans.poll(began, _clock_of(self.keeper.root) if first else None)
        self._next_poll = now() + max(self._options.scan_interval, POLL_SHARE * (now() - began))


def _topmost(folders: list[str]) -> list[str]:
    """The folders without those that lie in another of them."""
    tops: list[str] = []
    for folder in sorted(set(folders)):
        if not any(folder.startswith(f"{top}/") for top in tops[-1:]):
            tops.append(folder)
    return tops


def _clock_of(root: Path) -> float:
    """The time that a folder gives to a file now, in seconds since 1970; this machine's where it takes none."""
    clock = folder_clock(root)
    return time.time() if clock is None else clock
