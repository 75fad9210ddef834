"""Brings a prompt's files to their place, all of them, and believes a marker only after a careful look."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import shutil
import time
from collections import deque
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..client import limits
from ..client.answers import OutputFile
from ..client.errors import ServerError
from ..client.parsing import UnreadableError, parse
from ..telemetry.files.guarded_files import copy_regular, read_regular, write_whole
from ..telemetry.files.temporaries import temporary_name
from ..telemetry.markers.file import (
    MarkedFile,
    MarkerError,
    MarkerPlace,
    make_marker,
    remove,
    sync_folder,
    write_marker,
)
from ..telemetry.markers.folder import stamp_of
from ..telemetry.markers.grouping import name_at, prefixes_of, stem_of
from ..telemetry.markers.prefix import MAX_PREFIX_BYTES, PrefixError, PrefixPath, confine, parse_prefix
from ..telemetry.models.marker import DoneMarker
from ..telemetry.models.text import clean
from .comfy_client import ComfyClient, Stat, seconds_of
from .disk import sync_files
from .policy import Policy
from .proof import NoRoomError, copy_proved, take_time
from .summary import one_line

MARKER_POLL_SECONDS = 0.2
MOST_MARKER_BYTES = 8 * limits.MIB
MOST_SHOWN = 120
"""Characters of a file's name in a message."""
OF_THE_NAME = (
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.EILSEQ,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENOTEMPTY,
    errno.ELOOP,
)
"""What the disk says to a name that can't stand there: the server's fault, and not the disk's."""
AT_ONCE = 4
"""Files that are fetched at a time: to open and close one takes longer than to move its bytes."""
MIB = 2**20
MARKER_MISSING = "Done marker not found after {limit} seconds (waited {waited} seconds)"
FRESH = "Frames appeared freshly written; forced copy after {checks} stability checks"
FORCED = "Forced copy after stability retries; see {path}"


@dataclass(slots=True)
class Collected:
    """What was collected, below the destination with forward slashes, and what was seen of markers."""

    files: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Names that lead out of the destination, or are no names of files."""
    trouble: str | None = None
    """What a server last did instead of sending a file; null where each was there or not."""
    post_execution_reached: bool = False
    marker_detected: bool = False
    marker_wait_seconds: float = 0.0
    marker_path: str | None = None
    forced: bool = False
    debug_path: str | None = None
    notes: list[str] = field(default_factory=list)


class Collector:
    """Collects one attempt of a prompt into a folder."""

    def __init__(
        self, client: ComfyClient, policy: Policy, destination: Path, debug_folder: Path, disk: Path | None = None
    ) -> None:
        """`disk` is where the server's outputs may lie on this machine; null where that is not known."""
        self._client = client
        self._disk = disk
        self._policy = policy
        self._destination = destination
        self._debug_folder = debug_folder
        self._until = float("inf")
        """When frames are not waited for any more, however long single steps may still take."""

    async def collect(
        self, prompt_id: str, named: list[OutputFile], markers: list[str], due: bool, got: Collected | None = None
    ) -> Collected:
        """All named files; with a due marker only once that is believed, else once they have stopped to change.

        What is collected is entered in `got` as it comes, so that it is known where this ends early. Raises OSError
        where the destination can't be written.
        """
        got = Collected() if got is None else got
        self._until = time.monotonic() + self._policy["frame_wait_timeout_seconds"]
        files: list[OutputFile] = []
        for file in {file.relative: file for file in named}.values():
            files += await self._spelled_out(file, limits.MOST_FILES - len(files))
        await self._fetch_all(files, got)
        if due:
            await self._await_marker(prompt_id, files, markers, got)
        await asyncio.to_thread(self._sync, list(got.files))
        return got

    async def _spelled_out(self, file: OutputFile, most: int) -> list[OutputFile]:
        """The files that a name like `frame_%03d.png` stands for, from 0 or 1 on as far as they go; else itself."""
        found: list[OutputFile] = []
        try:
            if name_at(file.filename, 0) is None or await self._client.stat(file) is not None:
                return [file]
            for number in range(most):
                one = replace(file, filename=name_at(file.filename, number) or "")
                if not self._is_late and await self._client.stat(one) is not None:
                    found.append(one)
                elif number:
                    break
        except ServerError:
            pass  # what it does not send is told when it is fetched
        return found or [file]

    def _sync(self, names: list[str]) -> None:
        paths = [self._destination / name for name in names]
        sync_files(paths)
        for folder in {path.parent for path in paths}:
            sync_folder(folder)

    # ------------------------------------------------------------ files

    async def _fetch_all(self, files: list[OutputFile], got: Collected) -> None:
        """The post-execution time is for files that are still missing, and only for those."""
        deadline = min(self._until, time.monotonic() + self._policy["post_execution_timeout_seconds"])
        left = files
        while True:
            try:
                left = await self._round(left, got)
            finally:
                got.files = _in_order(files, got.files)
            if not left:
                return
            if time.monotonic() >= deadline:
                break
            await asyncio.sleep(self._policy["history_poll_interval_seconds"])
        got.post_execution_reached = True
        got.missing = [file.relative for file in left]

    async def _round(self, files: list[OutputFile], got: Collected) -> list[OutputFile]:
        """Fetch each once: one by one until one is there, then several at a time; those that are not there."""
        missing = []
        left = deque(files)
        while left and not got.files and not self._is_late:
            file = left.popleft()
            if not await self._fetch(file, got):
                missing.append(file)
            elif got.files:
                self._check_room(got.files[0], len(left))

        async def some() -> None:
            while left and not self._is_late:
                file = left.popleft()
                if not await self._fetch(file, got):
                    missing.append(file)

        await _together([some() for _ in range(AT_ONCE)])
        return [*missing, *left]

    @property
    def _is_late(self) -> bool:
        return time.monotonic() >= self._until

    def _check_room(self, first: str, more: int) -> None:
        """Raises OSError where as many more files of the first one's size don't fit, before the disk is full."""
        size = (self._destination / first).stat().st_size
        free = shutil.disk_usage(self._destination).free
        if size * more > free:
            needed = f"{more} more files of about {size / MIB:.1f} MiB need {size * more / MIB:.0f} MiB"
            raise NoRoomError(
                errno.ENOSPC, f"no room: {needed}, {free / MIB:.0f} MiB are free", str(self._destination.parent)
            )

    async def _fetch(self, file: OutputFile, got: Collected, *, again: bool = False) -> bool:
        """Whether it is there and not empty. A name that leads out of the destination is refused, and done with."""
        try:
            target = self._place(file)
        except PrefixError as error:
            got.refused.append(str(error))
            return True
        temporary = target.parent / temporary_name()
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if not await self._take(file, temporary):
                return False
            temporary.replace(target)
        except ServerError as error:
            got.trouble = str(error)
            return False
        except OSError as error:
            if error.errno not in OF_THE_NAME:
                raise
            got.refused.append(f"{_shown(file.relative)!r}: {error.strerror}")
            return True
        finally:
            remove(temporary)
        if not again:
            got.files.append(file.relative)
        return True

    async def _take(self, file: OutputFile, temporary: Path) -> bool:
        """From the server's own folder where it is proved to be that file, else by `/view`.

        False where it isn't there, or is empty. Raises ServerError and OSError.
        """
        if self._disk is not None and await copy_proved(self._client, file, self._disk, temporary):
            return True
        stat = await self._client.view(file, temporary)
        if stat is None or not stat.bytes:
            return False
        modified = _set_time(temporary, stat)
        if self._disk is not None:
            await asyncio.to_thread(take_time, temporary, self._disk / file.relative, self._disk, modified)
        return True

    def _place(self, file: OutputFile) -> Path:
        """Raises PrefixError for what is no name of a file, is hidden, or leads out of the destination."""
        shown = _shown(file.relative)
        if len(file.relative) > MAX_PREFIX_BYTES:
            raise PrefixError(shown, f"is too long: at most {MAX_PREFIX_BYTES} bytes are accepted")
        if not file.filename or parse_prefix(file.filename) != PrefixPath("", file.filename):
            raise PrefixError(shown, "is no name of a file")
        prefix = parse_prefix(file.relative)
        if any(part.startswith(".") for part in (*prefix.folder.split("/"), prefix.name)):
            raise PrefixError(shown, "is a hidden name")
        return confine(self._destination, prefix) / prefix.name

    # ------------------------------------------------------------ the marker

    async def _await_marker(self, prompt_id: str, files: list[OutputFile], markers: list[str], got: Collected) -> None:
        began, limit = time.monotonic(), self._policy["done_marker_timeout_seconds"]
        candidates = list(
            dict.fromkeys([*markers, *(f"{prefix}.done" for prefix in _prefixes_of(files, markers).values())])
        )
        why: dict[str, str] = {}
        while True:
            for candidate in candidates:
                if self._is_late:
                    break
                why[candidate] = await self._look_at(candidate, prompt_id, files, got)
            got.marker_wait_seconds = time.monotonic() - began
            if got.marker_detected:
                return
            if got.marker_wait_seconds >= limit or self._is_late:
                break
            await asyncio.sleep(MARKER_POLL_SECONDS)
        got.notes.append(MARKER_MISSING.format(limit=limit, waited=round(got.marker_wait_seconds)))
        await self._force(prompt_id, files, why, got)

    async def _look_at(self, marker: str, prompt_id: str, files: list[OutputFile], got: Collected) -> str:
        """Why a marker is not believed; empty where it is, and then it is kept beside the files."""
        subfolder, _, name = marker.rpartition("/")
        try:
            target = self._place(OutputFile(name, subfolder))
        except PrefixError as error:
            return str(error)
        temporary = target.parent / temporary_name()
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if await self._client.view(OutputFile(name, subfolder), temporary, MOST_MARKER_BYTES) is None:
                return "isn't there"
            marker_read = await asyncio.to_thread(_read_marker, temporary)
            if marker_read.PromptId == prompt_id:
                await self._fetch_unnamed(marker_read, subfolder, got)
            why = await asyncio.to_thread(disbelief, marker_read, prompt_id, self._destination / subfolder)
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
            if one.relative not in known and not self._is_late:
                await self._fetch(one, got)

    async def _force(self, prompt_id: str, files: list[OutputFile], why: dict[str, str], got: Collected) -> None:
        """No marker came: once more, when nothing has changed for the window, or after the retries."""
        stable = await self._stable(files)
        known = set(got.files)
        for file in files:
            if not self._is_late:
                await self._fetch(file, got, again=file.relative in known)
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
        before = await self._stats(files)
        for _ in range(max(1, self._policy["stability_retries"])):
            if time.monotonic() + self._policy["stability_seconds"] > self._until:
                break
            await asyncio.sleep(self._policy["stability_seconds"])
            after = await self._stats(files)
            if after == before and None not in after:
                return True
            before = after
        return False

    async def _stats(self, files: list[OutputFile]) -> list[Stat | None]:
        stats: list[Stat | None] = []
        for file in files:
            if self._is_late:
                return [None]
            try:
                stats.append(await self._client.stat(file))
            except ServerError:
                stats.append(None)
        return stats

    def _write_markers(self, prompt_id: str, files: list[OutputFile], got: Collected) -> None:
        """Ours, atomically, beside the collected files: one for each prefix."""
        groups: dict[str, list[str]] = {}
        known = set(got.files)
        prefixes = _prefixes_of(files)
        for file in files:
            if file.relative in known:
                groups.setdefault(prefixes[file.relative], []).append(file.filename)
        for prefix, names in groups.items():
            place = MarkerPlace.of(self._destination, parse_prefix(prefix))
            stamps = [(name, stamp_of(place.folder / name)) for name in names]
            marked = [MarkedFile(name, stamp) for name, stamp in stamps if stamp is not None]
            marker = make_marker(
                place, marked, status="success", producer="runner", prompt_id=prompt_id, notes=["no marker was found"]
            )
            with contextlib.suppress(MarkerError):
                got.marker_path = str(write_marker(place, marker))


def disbelief(marker: DoneMarker, prompt_id: str, folder: Path) -> str:
    """Why a marker doesn't speak of this prompt's files; empty where it does."""
    if marker.PromptId != prompt_id:
        return f"is of prompt {marker.PromptId}, not of {prompt_id}"
    if marker.Status != "success":
        return f"says {marker.Status}"
    if marker.FrameCount != len(marker.Files):
        return f"counts {marker.FrameCount} files and lists {len(marker.Files)}"
    for file in marker.Files:
        try:
            place = confine(folder, PrefixPath("", file.Name)) / parse_prefix(file.Name).name
        except PrefixError as error:
            return str(error)
        stamp = stamp_of(place)
        if stamp is None or stamp.bytes != file.Bytes:
            return f"lists {file.Name} with {file.Bytes} bytes, collected were {stamp and stamp.bytes}"
        if file.Sha256 is not None and _hash_of(place, stamp.bytes) != file.Sha256:
            return f"has another hash of {file.Name}"
    return ""


def _hash_of(path: Path, size: int) -> str | None:
    """The SHA-256 of a file of this size; null where it can't be read."""
    digest = hashlib.sha256()
    try:
        copy_regular(path, digest.update, size)
    except OSError:
        return None
    return digest.hexdigest()


def _read_marker(path: Path) -> DoneMarker:
    """A marker that a server sent. Raises MarkerError for what is none."""
    try:
        return DoneMarker.model_validate(parse(read_regular(path, MOST_MARKER_BYTES)))
    except (UnreadableError, OSError) as error:
        raise MarkerError(f"it {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise MarkerError(f"it is no marker: {where}: {first['msg']}") from None


def _part_of_a_name(prompt_id: str) -> str:
    """A prompt's id as a part of a file's name: a server may give it any."""
    return re.sub(r"[^A-Za-z0-9-]+", "_", prompt_id)[:64]


def _shown(name: str) -> str:
    """A name as a message has it."""
    return clean(name) if len(name) <= MOST_SHOWN else f"{clean(name, MOST_SHOWN)}..."


def _prefixes_of(files: list[OutputFile], markers: Iterable[str] = ()) -> dict[str, str]:
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


def _set_time(path: Path, stat: Stat) -> float | None:
    """The server's time of the file, in whole seconds, as HTTP has it; null where it didn't say."""
    seconds = seconds_of(stat.modified)
    if seconds is not None:
        with contextlib.suppress(OSError, OverflowError):
            os.utime(path, (seconds, seconds))
    return seconds


def _in_order(files: list[OutputFile], names: list[str]) -> list[str]:
    """Names in the order in which the outputs have them, whichever came first; others at the end."""
    places = {file.relative: place for place, file in enumerate(files)}
    return sorted(names, key=lambda name: places.get(name, len(places)))


async def _together(work: list[Coroutine[Any, Any, None]]) -> None:
    """Do it all at once; where one raises, the others are given up and waited for."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
