"""One sentinel a folder: an OS lock in the folder itself, so that other machines on a share see it, too.

Whoever dies gives it back. What the holder says of itself stands beside it, and is only ever shown.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path

from filelock import FileLock, Timeout

from ..telemetry.files.guarded_files import read_regular, regular_status, write_whole
from ..telemetry.process.printable import printable

LOCK_NAME = ".run-recorder-sentinel.lock"
HOLDER_NAME = ".run-recorder-sentinel.json"
MAX_HOLDER_BYTES = 4096
MAX_HOST = 255


class HeldError(RuntimeError):
    """Another sentinel watches the folder. The message says which."""


class FolderLock:
    """The lock of one folder; released by `release` or by death."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = FileLock(str(folder / LOCK_NAME), thread_local=False)

    @property
    def is_held(self) -> bool:
        """Whether we hold it."""
        return bool(self._lock.is_locked)

    def acquire(self) -> None:
        """Take it. Raises HeldError, and OSError where no lock can be made, or what lies at its name is no file."""
        with contextlib.suppress(FileNotFoundError):
            regular_status(self._folder / LOCK_NAME)  # the lock's library would follow a link, and empty its target
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise HeldError(f"{self._folder} is already watched by {self._holder()}") from None
        told = {"pid": os.getpid(), "host": socket.gethostname()}
        with contextlib.suppress(OSError):
            write_whole(self._folder / HOLDER_NAME, json.dumps(told).encode())

    def _holder(self) -> str:
        try:
            told = json.loads(read_regular(self._folder / HOLDER_NAME, MAX_HOLDER_BYTES))
            host = printable(str(told["host"])[:MAX_HOST])
            return f"the sentinel with process number {int(told['pid'])} on {host}"
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return "another sentinel"

    def release(self) -> None:
        """Give it back, and leave nothing behind. Does nothing where it isn't held."""
        if not self.is_held:
            return
        # Both files go while the lock is held: who opens the lock's file a moment before sees that it is gone.
        for name in (HOLDER_NAME, LOCK_NAME) if os.name != "nt" else (HOLDER_NAME,):
            with contextlib.suppress(OSError):
                (self._folder / name).unlink()
        with contextlib.suppress(OSError):
            self._lock.release()
        if os.name == "nt":
            with contextlib.suppress(OSError):
                (self._folder / LOCK_NAME).unlink()
