"""Which files of a folder a prompt wrote: by listings made before it started, else by the time of each file."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from .evidence import Evidence
from .expected import name_starts_by_folder
from .folder import FileStamp, Listing, changed, folder_clock, list_folder
from .prefix import PrefixError, PrefixPath, confine

SLACK_SECONDS = 2.0
"""How much older than the prompt's start a file of it may look where its folder was listed too late, and the file
system may count in steps of two seconds, as FAT does.
"""
FINE_SLACK_SECONDS = 0.02
"""The same for a file system that is seen to count in fractions of a second."""


class FreshFiles:
    """What one prompt wrote, by folder. Each folder is looked at once."""

    def __init__(self, evidence: Evidence, saved: Iterable[PrefixPath]) -> None:
        """`saved` are the prefixes of what was reported."""
        self._evidence = evidence
        self._saved = list(saved)
        self._found: dict[str, dict[str, FileStamp]] = {}

    def in_folder(self, folder: str) -> dict[str, FileStamp]:
        """What this prompt wrote in a folder, as far as the disk can tell."""
        if folder not in self._found:
            self._found[folder] = self._look(folder)
        return self._found[folder]

    def _look(self, folder: str) -> dict[str, FileStamp]:
        evidence = self._evidence
        try:
            path = confine(evidence.output_folder, PrefixPath(folder, ""))
        except PrefixError:
            return {}
        now = list_folder(path, self._name_starts(folder))
        found: dict[str, FileStamp] = {}
        before = evidence.started_listings.get(folder)
        if before is not None and self._in_time(before):
            found = changed({name: stamp for name, stamp in now.items() if before.saw(name)}, before.files)
            now = {name: stamp for name, stamp in now.items() if not before.saw(name)}
        return {**found, **self._by_time(folder, path, now)} if now else found

    def _name_starts(self, folder: str) -> tuple[str, ...]:
        """What the names begin with that can matter in a folder."""
        evidence = self._evidence
        known = name_starts_by_folder(evidence.plan, evidence.started.wall, evidence.prompt_id).get(folder, ())
        return (*known, *(prefix.name for prefix in self._saved if prefix.folder == folder))

    def _by_time(self, folder: str, path: Path, now: dict[str, FileStamp]) -> dict[str, FileStamp]:
        """The files among `now` that can only be this prompt's by their time, where no listing can tell."""
        evidence = self._evidence
        before = evidence.queued_listings.get(folder)
        if before is not None and not self._in_time(before):
            before = None
        if before is not None:
            now = changed(now, before.files)
        started = self._start_by_clock_of(path)
        recent = {name: stamp for name, stamp in now.items() if stamp.modified_ns >= (started - _slack(stamp)) * 1e9}
        undisturbed = before if folder in evidence.undisturbed_folders else None
        doubtful = [name for name in recent if undisturbed is None or not undisturbed.saw(name)]
        known = evidence.listed(folder, doubtful) if doubtful else set()
        return {name: stamp for name, stamp in recent.items() if (name, stamp) not in known}

    def _in_time(self, listing: Listing) -> bool:
        first = self._evidence.first_node_mono
        return first is None or listing.finished <= first

    def _start_by_clock_of(self, path: Path) -> float:
        started = self._evidence.started
        clock = folder_clock(path) if self._evidence.this_process else None
        return started.wall if clock is None else clock - (time.perf_counter() - started.mono)

    def why_unread(self, folder: str) -> str | None:
        """That a folder can't be listed; null where it can, or isn't there."""
        try:
            os.scandir(confine(self._evidence.output_folder, PrefixPath(folder, ""))).close()
        except (FileNotFoundError, PrefixError):
            pass
        except OSError as error:
            return f"the folder {folder} can't be read ({error.strerror}), so files that nobody reported are not known"
        return None


def _slack(stamp: FileStamp) -> float:
    return FINE_SLACK_SECONDS if stamp.modified_ns % 1_000_000_000 else SLACK_SECONDS
