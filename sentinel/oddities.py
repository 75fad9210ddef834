"""What lies in a watched folder and no writer of files or markers puts there: told once, known till it is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from ..telemetry.process.printable import logger

MOST = 10_000
"""So many are remembered; more are neither told nor taken back."""
SAID = 100
"""So many are named in the log."""


class Oddities:
    """The odd entries of one watched folder. Each costs its own group its marker, and no other group anything."""

    def __init__(self, tell: Callable[[Path, str | None], None]) -> None:
        """`tell` is called with an entry and why it is odd; with null once it is gone or is odd no more."""
        self._tell = tell
        self._known: dict[Path, str] = {}
        self._said = 0

    def __contains__(self, path: Path) -> bool:
        return path in self._known

    def __bool__(self) -> bool:
        return bool(self._known)

    def all(self) -> list[Path]:
        """What is odd now."""
        return list(self._known)

    def met(self, path: Path, why: str) -> None:
        """Something odd was met, perhaps again."""
        if self._known.get(path) == why or (len(self._known) >= MOST and path not in self._known):
            return
        self._known[path] = why
        self._said += 1
        if self._said <= SAID:
            more = "" if self._said < SAID else "; more of this kind are not named here"
            logger.warning("Run Recorder: %s %s, so there is no marker%s", path, why, more)
        self._tell(path, why)

    def over(self, paths: Iterable[Path]) -> None:
        """These are gone, or are as they should be."""
        if self._known:
            for path in paths:
                if self._known.pop(path, None) is not None:
                    self._tell(path, None)

    def forget(self) -> None:
        """The folder is gone, and they with it."""
        self.over(self.all())
