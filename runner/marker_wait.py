"""Waits for a marker that speaks of the collected files; where none comes, for the files to stop to change."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Iterable
from pathlib import Path

from ..client.errors import ServerError
from ..client.outputs import OutputFile
from ..telemetry.files.guarded_files import write_whole
from ..telemetry.files.temporaries import temporary_name
from ..telemetry.markers.file import MarkedFile, MarkerError, MarkerPlace, make_marker, remove, write_marker
from ..telemetry.markers.folder import stamp_of
from ..telemetry.markers.grouping import prefixes_of, stem_of
from ..telemetry.markers.prefix import PrefixError, parse_prefix
from ..telemetry.models.marker import DoneMarker
from .collected import Collected
from .destination import OF_THE_NAME, Destination
from .fetching import Fetching
from .marker_belief import MOST_MARKER_BYTES, disbelief, read_marker
from .policy import Policy
from .server_files import ServerFiles
from .summary import one_line

MARKER_POLL_SECONDS = 0.2
MARKER_MISSING = "Done marker not found after {limit} seconds (waited {waited} seconds)"
FRESH = "Frames appeared freshly written; forced copy after {checks} stability checks"
FORCED = "Forced copy after stability retries; see {path}"


class MarkerWait:
    """Waits for the marker of one attempt."""

    def __init__(
        self, server: ServerFiles, policy: Policy, destination: Destination, fetching: Fetching, debug_folder: Path
    ) -> None:
        self._server = server
        self._policy = policy
        self._destination = destination
        self._fetching = fetching
        self._debug_folder = debug_folder

    async def wait(self, prompt_id: str, files: list[OutputFile], markers: list[str], got: Collected) -> None:
        """Wait for a marker that is believed; where none comes, take the files once nothing changes, and say so.

        Raises OSError where the destination can't be written.
        """
        began, limit = time.monotonic(), self._policy["done_marker_timeout_seconds"]
        candidates = list(
            dict.fromkeys([*markers, *(f"{prefix}.done" for prefix in prefixes_by_path(files, markers).values())])
        )
        why: dict[str, str] = {}
        while True:
            for candidate in candidates:
                if self._fetching.is_late():
                    break
                why[candidate] = await self.look_at(candidate, prompt_id, files, got)
            got.marker_wait_seconds = time.monotonic() - began
            if got.marker_detected:
                return
            if got.marker_wait_seconds >= limit or self._fetching.is_late():
                break
            await asyncio.sleep(MARKER_POLL_SECONDS)
        got.notes.append(MARKER_MISSING.format(limit=limit, waited=round(got.marker_wait_seconds)))
        await self._force(prompt_id, files, why, got)

    async def look_at(self, marker: str, prompt_id: str, files: list[OutputFile], got: Collected) -> str:
        """Why a marker is not believed; empty where it is, and then it is kept beside the files."""
        subfolder, _, name = marker.rpartition("/")
        try:
            target = self._destination.place_of(OutputFile(name, subfolder))
        except PrefixError as error:
            return str(error)
        temporary = target.parent / temporary_name()
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if await self._server.view(OutputFile(name, subfolder), temporary, MOST_MARKER_BYTES) is None:
                return "isn't there"
            marker_read = await asyncio.to_thread(read_marker, temporary)
            if marker_read.PromptId == prompt_id:
                await self._fetch_unnamed(marker_read, subfolder, got)
            why = await asyncio.to_thread(disbelief, marker_read, prompt_id, self._destination.path / subfolder)
            if not why:
                temporary.replace(target)
                got.marker_detected, got.marker_path = True, str(target)
            return why
        except (ServerError, MarkerError) as error:
            return str(error)
        except OSError as error:
            if error.errno not in OF_THE_NAME:
                raise
            return str(error.strerror)
        finally:
            remove(temporary)

    async def _fetch_unnamed(self, marker: DoneMarker, subfolder: str, got: Collected) -> None:
        """A saver that reports nothing leaves its files to the marker alone, which was written by who saw them."""
        known = set(got.files)
        for file in marker.Files:
            one = OutputFile(file.Name, subfolder)
            if one.relative not in known and not self._fetching.is_late():
                await self._fetching.fetch(one, got)

    async def _force(self, prompt_id: str, files: list[OutputFile], why: dict[str, str], got: Collected) -> None:
        """No marker came: once more, when nothing has changed for the window, or after the retries."""
        stable = await self._stable(files)
        known = set(got.files)
        for file in files:
            if not self._fetching.is_late():
                await self._fetching.fetch(file, got, again=file.relative in known)
        if not stable:
            known = set(got.files)
            got.forced = True
            debug = self._debug_folder / f"forced-copy-debug-{_part_of_a_name(prompt_id)}.txt"
            lines = [f"{marker}: {reason}" for marker, reason in why.items()]
            lines += [f"{file.relative}: {'copied' if file.relative in known else 'missing'}" for file in files]
            debug.parent.mkdir(parents=True, exist_ok=True)
            write_whole(debug, "".join(f"{one_line(line)}\n" for line in lines).encode("utf-8", "backslashreplace"))
            got.debug_path = str(debug)
            got.notes += [FRESH.format(checks=self._policy["stability_retries"]), FORCED.format(path=debug)]
        self._write_markers(prompt_id, files, got)

    async def _stable(self, files: list[OutputFile]) -> bool:
        """Whether size and time of all stayed as they were for one window, within the retries."""
        before = await self._server.stats(files, self._fetching.is_late)
        for _ in range(max(1, self._policy["stability_retries"])):
            if time.monotonic() + self._policy["stability_seconds"] > self._fetching.until:
                break
            await asyncio.sleep(self._policy["stability_seconds"])
            after = await self._server.stats(files, self._fetching.is_late)
            if after == before and None not in after:
                return True
            before = after
        return False

    def _write_markers(self, prompt_id: str, files: list[OutputFile], got: Collected) -> None:
        """Ours, atomically, beside the collected files: one for each prefix."""
        groups: dict[str, list[str]] = {}
        known = set(got.files)
        prefixes = prefixes_by_path(files)
        for file in files:
            if file.relative in known:
                groups.setdefault(prefixes[file.relative], []).append(file.filename)
        for prefix, names in groups.items():
            place = MarkerPlace.of(self._destination.path, parse_prefix(prefix))
            stamps = [(name, stamp_of(place.folder / name)) for name in names]
            marked = [MarkedFile(name, stamp) for name, stamp in stamps if stamp is not None]
            marker = make_marker(
                place, marked, status="success", producer="runner", prompt_id=prompt_id, notes=["no marker was found"]
            )
            with contextlib.suppress(MarkerError):
                got.marker_path = str(write_marker(place, marker))


def _part_of_a_name(prompt_id: str) -> str:
    """A prompt's id as a part of a file's name: a server may give it any."""
    return re.sub(r"[^A-Za-z0-9-]+", "_", prompt_id)[:64]


def prefixes_by_path(files: list[OutputFile], markers: Iterable[str] = ()) -> dict[str, str]:
    """The prefixes of files by their paths, both below the output folder; `markers` are those that the server named."""
    named: dict[str, list[str]] = {}
    for marker in markers:
        folder, name = _split(marker)
        named.setdefault(folder, []).append(stem_of(name))
    saved = {file.relative: (file.node_id, *_split(file.relative)) for file in files}
    prefixes = prefixes_of(saved.values(), lambda _, folder: sorted(named.get(folder, ()), key=len, reverse=True))
    return {path: f"{one[1]}/{prefixes[one]}" if one[1] else prefixes[one] for path, one in saved.items()}


def _split(path: str) -> tuple[str, str]:
    folder, _, name = path.rpartition("/")
    return folder, name
