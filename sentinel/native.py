"""News of files by the platform's own means, through watchdog."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import EventQueue

from .feed import Feed, FileNews, What, now
from .filesystems import inotify_watches

TELLS_CLOSES = sys.platform.startswith("linux")
"""Whether this platform tells that a file was closed; where it doesn't, each change is told."""
STOP_SECONDS = 5.0
_WANTED: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent if TELLS_CLOSES else FileModifiedEvent,
]
_WHAT: dict[str, What] = {"created": "appeared", "modified": "appeared", "closed": "closed", "deleted": "gone"}


class NoEventsError(RuntimeError):
    """The platform can't tell of changes here. The message says why, and what would help."""


class _Handler(FileSystemEventHandler):
    """Runs on watchdog's thread, for each event: turns it into news, and nothing else."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def dispatch(self, event: FileSystemEvent) -> None:
        """Called by watchdog in the place of one method for each kind of event."""
        kind, at = event.event_type, now()
        if kind == "moved":
            self._put("gone", event.src_path, at, is_folder=event.is_directory)
            self._put("appeared", event.dest_path, at, is_folder=event.is_directory)
        elif kind in _WHAT:
            self._put(_WHAT[kind], event.src_path, at, is_folder=event.is_directory)

    def _put(self, what: What, path: str | bytes, at: float, *, is_folder: bool) -> None:
        if is_folder:
            what = "folder gone" if what == "gone" else "folder appeared"
        self._feed.put(FileNews(what, os.fsdecode(path), at))


class _Straight(EventQueue):
    """Calls the handler on the emitter's own thread: a queue and a thread between them cost more than it does."""

    def __init__(self, handler: _Handler) -> None:
        super().__init__()
        self._handler = handler

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Called by the emitter with an event and its watch, and by the observer with what ends its thread."""
        if isinstance(item, tuple):
            self._handler.dispatch(item[0])
        else:
            super().put(item, block, timeout)


class _Observer(Observer):  # type: ignore[misc, valid-type, unused-ignore]
    """This platform's observer with a queue of ours: `event_queue` is how watchdog lets it be chosen."""

    def __init__(self, handler: _Handler) -> None:
        self._straight = _Straight(handler)
        super().__init__()

    @property
    def event_queue(self) -> EventQueue:
        """Where the emitters put events, and the observer's thread waits for its end."""
        return self._straight


class Native:
    """One folder's observer. Start it once; a dead one is replaced by a new one."""

    def __init__(self, root: Path, feed: Feed, *, recursive: bool) -> None:
        self._handler = _Handler(feed)
        self._observer = _Observer(self._handler)
        self._before = inotify_watches()
        self._root, self._recursive = root, recursive

    tells_closes = TELLS_CLOSES

    def start(self) -> None:
        """Start to watch. Raises NoEventsError."""
        try:
            self._observer.schedule(
                self._handler, str(self._root), recursive=self._recursive, event_filter=list(_WANTED)
            )
            self._observer.start()
        except (OSError, RuntimeError) as error:
            self.stop()
            raise NoEventsError(_told(error)) from error

    @property
    def is_alive(self) -> bool:
        """Whether all of its threads are: watchdog's observer outlives its emitters and says nothing."""
        emitters = list(self._observer.emitters)
        return self._observer.is_alive() and bool(emitters) and all(emitter.is_alive() for emitter in emitters)

    def misses(self, folders: int) -> bool:
        """Whether fewer than so many folders are watched. watchdog doesn't say that it ran out of watches below one."""
        watches = inotify_watches()
        return self._recursive and watches is not None and watches - (self._before or 0) < folders

    def stop(self) -> None:
        """End its threads."""
        with contextlib.suppress(Exception):  # one that never ran can't be joined
            self._observer.stop()
            self._observer.join(STOP_SECONDS)


def _told(error: Exception) -> str:
    if "inotify" in str(error):
        return f"{error}; raise fs.inotify.max_user_watches or max_user_instances"
    return f"{type(error).__name__}: {error}"
