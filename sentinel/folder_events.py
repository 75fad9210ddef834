"""Where news of a folder comes from: the platform's events, or polling where they are not to be had."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .feed import Feed
from .filesystems import tells_of_changes
from .options import Options
from .tree import count_folders
from .watch_log import WatchLog

if TYPE_CHECKING:
    from .native import Native


class FolderEvents:
    """Watches one folder by events as long as that works."""

    def __init__(self, folder: Path, options: Options, feed: Feed, log: WatchLog) -> None:
        self._folder = folder
        self._options = options
        self._feed = feed
        self._log = log
        self.native: Native | None = None
        """Null while the folder is polled, or is not watched."""
        self.why_polling: str | None = None
        """In a few words; null while it is not polled."""
        self._is_share = False
        """Whether the folder was seen to be on a file system that doesn't tell of what others change."""

    @property
    def mode(self) -> str:
        """How it watches now: `events`, `polling`, or `waiting` for the folder or its lock."""
        if self.native is not None:
            return "events"
        return "polling" if self.why_polling is not None else "waiting"

    @property
    def state(self) -> str:
        """The same in a few words, once it watches."""
        return "watching by events" if self.native is not None else f"polling: {self.why_polling}"

    @property
    def has_died(self) -> bool:
        """Whether the observer has ended by itself."""
        return self.native is not None and not self.native.is_alive

    @property
    def tells_closes(self) -> bool:
        """Whether news of closed files come."""
        return self.native is not None and self.native.tells_closes

    def is_unmounted(self) -> bool:
        """Whether the folder, which was a share, now is one of this machine: a mount point without its mount."""
        return self._is_share and tells_of_changes(self._folder)

    def start(self, root: Path) -> None:
        """Start to watch the folder, which is this path without links; else say why it is polled."""
        self.why_polling = None
        if self._options.polling:
            self.why_polling = "as asked"
        elif not tells_of_changes(root):
            self._is_share = True
            self.why_polling = "its file system doesn't tell of changes that others make"
        else:
            self._try_events(root)
        if self.why_polling is not None:
            self._say_polling(self.why_polling)

    def _try_events(self, root: Path) -> None:
        try:
            from .native import Native

            native = Native(root, self._feed, recursive=self._options.recursive)
            native.start()
        except ImportError:
            self.why_polling = "watchdog is not installed"
        except (RuntimeError, OSError) as error:
            self.why_polling = str(error)
        else:
            self.native = native

    def _say_polling(self, why: str) -> None:
        self._log.say(f"{self._folder} is polled every {self._options.scan_interval:g} s ({why})")

    def has_run_out(self, root: Path) -> bool:
        """Whether the platform has run out of watches for the folders below; then it is polled from now on."""
        if self.native is None or not self._options.recursive or not self.native.misses(count_folders(root)):
            return False
        self.native.stop()
        self.native = None
        self.why_polling = "inotify has run out of watches; raise fs.inotify.max_user_watches"
        self._say_polling(self.why_polling)
        return True

    def stop(self) -> None:
        """Watch no more."""
        if self.native is not None:
            self.native.stop()
        self.native = self.why_polling = None
