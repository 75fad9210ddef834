"""Brings files from a server to their place, several at a time, until frames are not waited for any more."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from ..client.errors import ServerError
from ..client.outputs import OutputFile
from ..telemetry.files.temporaries import temporary_name
from ..telemetry.markers.file import remove
from ..telemetry.markers.prefix import PrefixError
from .collected import Collected
from .destination import OF_THE_NAME, Destination, shown_name
from .policy import Policy
from .server_files import ServerFiles
from .together import together

AT_ONCE = 4
"""Files that are fetched at a time: to open and close one takes longer than to move its bytes."""


class Fetching:
    """Fetches the files of one attempt."""

    def __init__(self, server: ServerFiles, policy: Policy, destination: Destination) -> None:
        self._server = server
        self._policy = policy
        self._destination = destination
        self.until = float("inf")
        """When frames are not waited for any more, however long single steps may still take; on time.monotonic."""

    def is_late(self) -> bool:
        """Whether frames are not waited for any more."""
        return time.monotonic() >= self.until

    async def fetch_all(self, files: list[OutputFile], got: Collected) -> None:
        """The post-execution time is for files that are still missing, and only for those."""
        deadline = min(self.until, time.monotonic() + self._policy["post_execution_timeout_seconds"])
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
        while left and not got.files and not self.is_late():
            file = left.popleft()
            if not await self.fetch(file, got):
                missing.append(file)
            elif got.files:
                self._destination.check_room(got.files[0], len(left))

        async def some() -> None:
            while left and not self.is_late():
                file = left.popleft()
                if not await self.fetch(file, got):
                    missing.append(file)

        await together(some() for _ in range(AT_ONCE))
        return [*missing, *left]

    async def fetch(self, file: OutputFile, got: Collected, *, again: bool = False) -> bool:
        """Whether it is there and not empty. A name that leads out of the destination is refused, and done with."""
        try:
            target = self._destination.place_of(file)
        except PrefixError as error:
            got.refused.append(str(error))
            return True
        temporary = target.parent / temporary_name()
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if not await self._server.take(file, temporary):
                return False
            temporary.replace(target)
        except ServerError as error:
            got.trouble = str(error)
            return False
        except OSError as error:
            if error.errno not in OF_THE_NAME:
                raise
            got.refused.append(f"{shown_name(file.relative)!r}: {error.strerror}")
            return True
        finally:
            remove(temporary)
        if not again:
            got.files.append(file.relative)
        return True


def _in_order(files: list[OutputFile], names: list[str]) -> list[str]:
    """Names in the order in which the outputs have them, whichever came first; others at the end."""
    places = {file.relative: place for place, file in enumerate(files)}
    return sorted(names, key=lambda name: places.get(name, len(places)))
