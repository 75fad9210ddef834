"""Brings a prompt's files to their place, all of them, and believes a marker only after a careful look."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from ..client import limits
from ..client.comfy_client import ComfyClient
from ..client.outputs import OutputFile
from .collected import Collected
from .destination import Destination
from .fetching import Fetching
from .marker_wait import MarkerWait
from .policy import Policy
from .server_files import ServerFiles


class Collector:
    """Collects one attempt of a prompt into a folder."""

    def __init__(
        self, client: ComfyClient, policy: Policy, destination: Path, debug_folder: Path, disk: Path | None = None
    ) -> None:
        """`disk` is where the server's outputs may lie on this machine; null where that is not known."""
        self._policy = policy
        self._server = ServerFiles(client, disk)
        self._destination = Destination(destination)
        self._fetching = Fetching(self._server, policy, self._destination)
        self._marker = MarkerWait(self._server, policy, self._destination, self._fetching, debug_folder)

    async def collect(
        self, prompt_id: str, named: list[OutputFile], markers: list[str], due: bool, got: Collected | None = None
    ) -> Collected:
        """All named files; with a due marker only once that is believed, else once they have stopped to change.

        What is collected is entered in `got` as it comes, so that it is known where this ends early. Raises OSError
        where the destination can't be written.
        """
        got = Collected() if got is None else got
        self._fetching.until = time.monotonic() + self._policy["frame_wait_timeout_seconds"]
        files: list[OutputFile] = []
        for file in {file.relative: file for file in named}.values():
            files += await self._server.spelled_out(file, limits.MOST_FILES - len(files), self._fetching.is_late)
        await self._fetching.fetch_all(files, got)
        if due:
            await self._marker.wait(prompt_id, files, markers, got)
        await asyncio.to_thread(self._destination.sync, list(got.files))
        return got
