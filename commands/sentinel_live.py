"""The live line of `run-recorder sentinel watch`: what is open now, in a terminal only."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from ..sentinel.service import Sentinel
from .terminal import LiveText

SHOWN = 3
EVERY_SECONDS = 0.5
IDLE_SECONDS = 3600.0


class LiveLine:
    """Shows the open groups on standard error while it is a terminal; else only waits."""

    def __init__(self, sentinel: Sentinel) -> None:
        self._sentinel = sentinel
        self._live = LiveText()

    def __enter__(self) -> LiveLine:
        self._live.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def for_ever(self) -> None:
        """Show it until an exception comes. Where it isn't shown nothing wakes up."""
        is_deaf = sys.platform == "win32"  # there a sleeping main thread hears of Ctrl-C, but not of Ctrl-Break
        every = EVERY_SECONDS if self._live.is_shown or is_deaf else IDLE_SECONDS
        shown = None
        while True:
            time.sleep(every)
            if self._live.is_shown and (text := self.text()) != shown:
                shown = text
                self._live.update(text)

    def text(self) -> str:
        """What it says now."""
        groups = self._sentinel.open_groups()
        if not groups:
            return "; ".join(f"{watch.folder}: {watch.state}" for watch in self._sentinel.watches)
        told = [
            f"{'/'.join(part for part in group.key if part)}: {group.files} files, {group.why}"
            for group in groups[:SHOWN]
        ]
        more = [f"and {len(groups) - SHOWN} more"] if len(groups) > SHOWN else []
        return f"{len(groups)} open: " + "; ".join([*told, *more])
