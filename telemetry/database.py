"""Opens the database: where it lies, how it commits, who else may be using it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, StatementError

from . import migrations

NETWORK_FILE_SYSTEMS = frozenset(
    "nfs nfs3 nfs4 cifs smb smbfs smb2 smb3 afpfs webdav davfs davfs2 9p afs ceph glusterfs lustre gpfs "
    "fuse.sshfs fuse.rclone fuse.s3fs fuse.glusterfs fuse.ceph fuse.davfs2 ncpfs vboxsf prl_fs vmhgfs".split()
)
"""Where SQLite's WAL must not be used: its shared memory doesn't cross machines."""
BUSY_TIMEOUT_MS = 1000
LOG_PAGES = 16_384
"""SQLite moves its log into the database within a commit from this length on (64 MiB); upkeep does so much earlier."""
CONNECT_SECONDS = 5
_CORRUPT_CODES = (11, 26)
"""SQLITE_CORRUPT and SQLITE_NOTADB; Python 3.10 doesn't tell the code, only the words."""
FILE_NAME = "run-recorder.sqlite3"


def default_url(folder: Path) -> str:
    """SQLite, in a private folder."""
    return f"sqlite:///{folder / FILE_NAME}"


def file_system_of(folder: Path) -> str | None:
    """The kind of file system that a folder is on (`ext4`, `nfs4`, ...); null where that can't be told."""
    where = os.path.realpath(folder)
    best: tuple[int, str] | None = None
    try:
        mounts = psutil.disk_partitions(all=True)
    except (OSError, psutil.Error):
        return None
    for mount in mounts:
        root = mount.mountpoint.rstrip("/\\") + os.sep
        if (where + os.sep).lower().startswith(root.lower()) and (best is None or len(root) >= best[0]):
            best = len(root), "cifs" if "remote" in mount.opts.split(",") else mount.fstype
    return None if best is None else best[1].lower()


def is_on_network(folder: Path) -> bool:
    """Whether a folder lies on a network file system."""
    return (sys.platform == "win32" and str(folder).startswith("\\\\")) or (
        file_system_of(folder) in NETWORK_FILE_SYSTEMS
    )


class StoreClosedError(RuntimeError):
    """The database is not open, or can't be."""


class Database:
    """An engine, set up. Not opened before `open`.

    `durable` transactions are on the disk when they return (`synchronous=FULL`); the others survive a death of
    the process, not a loss of power.
    """

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.backend = self.url.get_backend_name()
        self.on_network = False
        self.is_open = False
        self.opened = 0
        """How often it was opened: after a corrupt one was set aside it is another database."""
        self.engine: Engine = create_engine(self.url, hide_parameters=True, **_options(self.url))
        if self.backend == "sqlite":
            event.listen(self.engine, "connect", self._on_connect)
            event.listen(self.engine, "begin", _begin_immediate)

    @property
    def file(self) -> Path | None:
        """The database's file; null for a server and for a database in memory."""
        name = self.url.database
        return Path(name) if self.backend == "sqlite" and name and name != ":memory:" else None

    def open(self) -> list[str]:
        """Make the file, private to its user, and bring it to the newest schema; the revisions that were run.

        Raises sqlalchemy.exc.DBAPIError and migrations.NewerDatabaseError.
        """
        if self.file is not None:
            self._make_file(self.file)
        with self.engine.begin() as connection:
            done = migrations.upgrade(connection)
        self.is_open = True
        self.opened += 1
        return done

    def set_aside(self) -> Path | None:
        """Give a corrupt file, and what belongs to it, a name with the date, and make room; null for a server."""
        if self.file is None:
            return None
        self.close()
        stem = f"{self.file.name}.corrupt-{time.strftime('%Y%m%d-%H%M%S')}"
        aside, number = self.file.with_name(stem), 1
        while aside.exists():
            number += 1
            aside = self.file.with_name(f"{stem}-{number}")
        for suffix in ("", "-wal", "-shm", "-journal"):
            path = self.file.with_name(self.file.name + suffix)
            if path.exists():
                path.replace(aside.with_name(aside.name + suffix))
        return aside

    def _make_file(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        if sys.platform != "win32":
            file.parent.chmod(0o700)
        self.on_network = is_on_network(file.parent)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))

    def _on_connect(self, connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        cursor.execute(f"PRAGMA journal_mode={'DELETE' if self.on_network else 'WAL'}")
        cursor.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES}")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA secure_delete=ON")  # what is erased, or moved to another page, is overwritten
        cursor.close()

    def set_durable(self, connection: Connection, durable: bool) -> None:
        """Say how the connection's next transaction is to commit; to be called outside of one."""
        if self.backend == "sqlite":
            raw = connection.connection.dbapi_connection
            if raw is not None:
                raw.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")

    def empty_log(self) -> None:
        """Move everything from SQLite's log into the database, and cut the log; as far as readers let it."""
        self._checkpoint("TRUNCATE")

    def move_log(self) -> None:
        """Move what can be moved from SQLite's log into the database; nobody has to wait for it."""
        self._checkpoint("PASSIVE")

    def _checkpoint(self, mode: str) -> None:
        if self.backend == "sqlite":
            raw = self.engine.raw_connection()
            try:
                raw.cursor().execute(f"PRAGMA wal_checkpoint({mode})").close()
            finally:
                raw.close()

    def changes(self, connection: Connection) -> int:
        """How many rows this connection has changed so far, those of indexes of words with them; 0 where unknown."""
        raw = connection.connection.dbapi_connection
        return int(getattr(raw, "total_changes", 0))

    def bytes(self) -> int | None:
        """How large the database is on the disk; null where that can't be told."""
        if self.file is None:
            return None
        total = 0
        for suffix in ("", "-wal"):
            path = self.file.with_name(self.file.name + suffix)
            if path.exists():
                total += path.stat().st_size
        return total

    def close(self) -> None:
        """Give every connection back; `open` opens it again."""
        self.is_open = False
        self.engine.dispose()


def _options(url: URL) -> dict[str, Any]:
    """A server that does not answer is given up after some seconds, unless the URL says otherwise."""
    if url.get_backend_name() == "postgresql" and "connect_timeout" not in url.query:
        return {"connect_args": {"connect_timeout": CONNECT_SECONDS}}
    return {}


def is_corrupt(error: BaseException) -> bool:
    """Whether an error says that the file is no database, or a broken one."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    told = str(getattr(error, "orig", error)).lower()
    return code in _CORRUPT_CODES or "not a database" in told or "malformed" in told


def is_fault_of_data(error: BaseException) -> bool:
    """Whether an error is one of what was to be written, and not of where: trying again would not help."""
    if isinstance(error, (DataError, InterfaceError)):
        return True
    if isinstance(error, StatementError) and not isinstance(error, DBAPIError):
        return True
    return isinstance(error, (ValueError, TypeError, OverflowError, RecursionError))


def _begin_immediate(connection: Connection) -> None:
    readonly = connection.get_execution_options().get("run_recorder_reads", False)
    connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")
