"""A server's files: whether they are there, and how one comes here."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..client.comfy_client import ComfyClient
from ..client.errors import ServerError
from ..client.files import Stat, seconds_of
from ..client.outputs import OutputFile
from ..telemetry.markers.grouping import name_at
from .proof import copy_proved, take_time


class ServerFiles:
    """The files of one server. `take` and `view` raise ServerError where it does not answer as a ComfyUI does."""

    def __init__(self, client: ComfyClient, disk: Path | None) -> None:
        """`disk` is where the server's outputs may lie on this machine; null where that is not known."""
        self._client = client
        self._disk = disk

    async def take(self, file: OutputFile, temporary: Path) -> bool:
        """From the server's own folder where it is proved to be that file, else by `/view`.

        False where it isn't there, or is empty. Raises ServerError and OSError.
        """
        if self._disk is not None and await copy_proved(self._client, file, self._disk, temporary):
            return True
        stat = await self._client.files.view(file, temporary)
        if stat is None or not stat.bytes:
            return False
        modified = _set_time(temporary, stat)
        if self._disk is not None:
            await asyncio.to_thread(take_time, temporary, self._disk / file.relative, self._disk, modified)
        return True

    async def view(self, file: OutputFile, target: Path, most: int) -> Stat | None:
        """Fetch at most so many bytes into a file; null where the server has none of this name. Raises OSError."""
        return await self._client.files.view(file, target, most)

    async def stats(self, files: list[OutputFile], is_late: Callable[[], bool]) -> list[Stat | None]:
        """Size and time of each; null where the server has none, or did not answer. One null where it is too late."""
        stats: list[Stat | None] = []
        for file in files:
            if is_late():
                return [None]
            try:
                stats.append(await self._client.files.stat(file))
            except ServerError:
                stats.append(None)
        return stats

    async def spelled_out(self, file: OutputFile, most: int, is_late: Callable[[], bool]) -> list[OutputFile]:
        """The files that a name like `frame_%03d.png` stands for, from 0 or 1 on as far as they go; else itself."""
        found: list[OutputFile] = []
        try:
            if name_at(file.filename, 0) is None or await self._client.files.stat(file) is not None:
                return [file]
            for number in range(most):
                one = replace(file, filename=name_at(file.filename, number) or "")
                if not is_late() and await self._client.files.stat(one) is not None:
                    found.append(one)
                elif number:
                    break
        except ServerError:
            pass  # what it does not send is told when it is fetched
        return found or [file]


def _set_time(path: Path, stat: Stat) -> float | None:
    """The server's time of the file, in whole seconds, as HTTP has it; null where it didn't say."""
    seconds = seconds_of(stat.modified)
    if seconds is not None:
        with contextlib.suppress(OSError, OverflowError):
            os.utime(path, (seconds, seconds))
    return seconds
