"""What a watch logs: each trouble once, until it is over."""

from __future__ import annotations

from pathlib import Path

from ..telemetry.process.printable import logger


class WatchLog:
    """The log of one watched folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._said: set[str] = set()

    def say(self, text: str) -> None:
        """Log something, once until it is over."""
        if text not in self._said:
            self._said.add(text)
            logger.warning("Run Recorder: %s", text)

    def goes_well(self) -> None:
        """It goes well again: what made trouble is said again when it comes again."""
        kept = {text for text in self._said if "polled" in text or "keeps times" in text or "can't be locked" in text}
        if self._said - kept:
            logger.warning("Run Recorder: watching %s", self._folder)
        self._said = kept
