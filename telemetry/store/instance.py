"""The identity of this process, and how another process can tell that it is dead.

Each process holds an OS lock on a file of its own for as long as it lives, where locks can be held. A process is dead
where its lock can be taken, or it has none, and it can't be seen among this machine's processes either. Of a process of
another machine or container that holds no lock nothing is known, and it is let alone.
"""

from __future__ import annotations

import contextlib
import socket
import stat
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from ..files.guarded_files import regular_status
from ..models.prompt import Instance
from ..process.identity import UNKNOWN, Identity, is_alive, this_process
from .database_file import make_private_folder

FOLDER = "instances"
OLD_SECONDS = 3600


class InstanceLocks:
    """The lock files of all processes that share one private folder."""

    def __init__(self, folder: Path, *, shared_with_all: bool = True) -> None:
        """`shared_with_all`: every process of the same database keeps its lock here, as beside an SQLite file."""
        self.folder = folder / FOLDER
        self._shared_with_all = shared_with_all
        self._own: FileLock | None = None

    def begin(self, port: int | None) -> Instance:
        """Take a new identity and hold its lock. Raises as `hold` does."""
        instance = self.without_lock(port)
        self.hold(instance)
        return instance

    def hold(self, instance: Instance) -> None:
        """Hold this process' lock until `end` or death; nothing is done where it is held.

        Raises OSError, also where something else than a folder of ours lies at its place.
        """
        if self._own is not None:
            return
        make_private_folder(self.folder)
        if not stat.S_ISDIR(self.folder.lstat().st_mode):
            raise NotADirectoryError(f"{self.folder.name} is no folder")
        own = FileLock(self._file(instance.id), thread_local=False)
        own.acquire(timeout=0)
        self._own = own

    def without_lock(self, port: int | None) -> Instance:
        """A new identity that nobody can test for life: where no lock can be held, or none is held yet."""
        return Instance(id=str(uuid.uuid4()), hostname=socket.gethostname()[:255], port=port)

    def _file(self, instance_id: str) -> str:
        return str(self.folder / f"{uuid.UUID(instance_id)}.lock")

    def is_dead(self, instance_id: str, identity: Identity = UNKNOWN) -> bool:
        """True where the process that had this id is gone. Never true of this process, and not where nobody can tell.

        `identity` is what the store has of it; unknown of one that an older version of this package entered.
        """
        try:
            name = self._file(instance_id)
        except ValueError:
            return True
        if self._own is not None and name == self._own.lock_file:
            return False
        process = identity.process
        if process == this_process().process:  # of an earlier recorder of this process only its lock tells
            process = None
        alive = is_alive(process)
        try:
            regular_status(Path(name))
        except FileNotFoundError:  # cleanly stopped, or never able to lock, or somebody has removed it
            return alive is False or (process is None and self._shared_with_all)
        except OSError:  # a link or a pipe: locking it would open it
            return alive is False
        try:
            with FileLock(name, timeout=0):
                return alive is not True
        except Timeout:
            return False
        except OSError:
            return alive is False

    def forget(self, instance_id: str) -> None:
        """Remove a dead process' lock file."""
        with contextlib.suppress(OSError, ValueError):
            Path(self._file(instance_id)).unlink()

    def sweep(self, dead: Mapping[str, bool]) -> None:
        """Remove the lock files of dead processes: of those that are known to be, and any old one that can be taken.

        A young one may be a process' that has made its file and not yet locked it.
        """
        with contextlib.suppress(OSError):
            for path in list(self.folder.glob("*.lock")):
                old = time.time() - path.lstat().st_mtime > OLD_SECONDS
                if dead.get(path.stem) or (path.stem not in dead and old and self.is_dead(path.stem)):
                    self.forget(path.stem)

    def end(self) -> None:
        """Give the lock back and remove its file."""
        if self._own is not None:
            self._own.release()
            with contextlib.suppress(OSError):
                Path(self._own.lock_file).unlink()
            self._own = None
