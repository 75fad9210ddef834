"""Opens the database: where it lies, how it commits, who else may be using it."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from ..models.text import json_text, json_value
from . import database_file, migrations, postgresql
from .patience import patience

NETWORK_FILE_SYSTEMS = frozenset(
    "nfs nfs3 nfs4 cifs smb smbfs smb2 smb3 afpfs webdav davfs davfs2 9p afs ceph glusterfs lustre gpfs "
    "fuse.sshfs fuse.rclone fuse.s3fs fuse.glusterfs fuse.ceph fuse.davfs2 ncpfs vboxsf prl_fs vmhgfs".split()
)
"""Where SQLite's WAL must not be used: its shared memory doesn't cross machines."""
BUSY_TIMEOUT_MS = 1000
LOG_PAGES = 16_384
"""SQLite moves its log into the database within a commit from this length on (64 MiB); upkeep does so much earlier."""
_CORRUPT_CODES = (11, 26)
"""SQLITE_CORRUPT and SQLITE_NOTADB; Python 3.10 doesn't tell the code, only the words."""
_SQLITE = ("sqlite", "sqlite+pysqlite")
FILE_NAME = "run-recorder.sqlite3"
_COMMON: dict[str, Any] = {"hide_parameters": True, "json_serializer": json_text, "json_deserializer": json_value}


def file_url(file: Path) -> URL:
    """SQLite in a file, whose name may hold what stands for something else in a URL's text."""
    return URL.create("sqlite", database=str(file))


def default_url(folder: Path) -> URL:
    """SQLite, in a private folder."""
    return file_url(folder / FILE_NAME)


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


class Database:
    """An engine, set up. Not opened before `open`.

    `durable` transactions are on the disk when they return (`synchronous=FULL`); the others survive a death of
    the process, not a loss of power.
    """

    def __init__(self, url: str | URL) -> None:
        """Of an SQLAlchemy URL. Raises ArgumentError for what is none, ImportError where its driver is missing."""
        self.url = _parsed(url)
        self.backend = self.url.get_backend_name()
        self.on_network = False
        self.is_open = False
        self.opened = 0
        """How often it was opened: after a corrupt one was set aside it is another database."""
        if self.url.drivername == postgresql.DRIVER:
            settings = postgresql.settings_of(self.url)
            self.url = settings.url
            self.engine: Engine = create_engine(self.url, **_COMMON, **settings.options)
            postgresql.bound(self.engine, settings.session)
            return
        self.engine = create_engine(self.url, **_COMMON)
        if self.backend == "sqlite":
            event.listen(self.engine, "connect", self._on_connect)
            event.listen(self.engine, "begin", _begin_immediate)

    @property
    def file(self) -> Path | None:
        """The database's file; null for a server."""
        return Path(self.url.database or "") if self.backend == "sqlite" else None

    def open(self) -> list[str]:
        """Make the file, private to its user, and bring it to the newest schema; the revisions that were run.

        A file that is there already must be ours. Raises sqlalchemy.exc.DBAPIError, OSError,
        database_file.ForeignFileError and migrations.NewerDatabaseError.
        """
        if self.file is not None:
            database_file.prepare(self.file)
            self.on_network = is_on_network(self.file.parent)
        with self.engine.begin() as connection:
            done = self._upgraded(connection)
            if self.file is not None:
                _sign(connection)
        self.is_open = True
        self.opened += 1
        return done

    def _upgraded(self, connection: Connection) -> list[str]:
        if self.backend != "postgresql":
            return migrations.upgrade(connection)
        postgresql.require_fit(connection)
        if migrations.current_revision(connection) == migrations.HEAD:
            return []
        with patience(postgresql.UPGRADE_SECONDS):
            postgresql.begin_upgrade(connection)
            return migrations.upgrade(connection)

    def open_to_read(self) -> None:
        """Open it so that nothing in it or beside it is changed, whatever is asked afterwards.

        Raises FileNotFoundError where there is none, migrations.OlderDatabaseError for one that would have to be
        brought to the newest schema first, and what `open` raises.
        """
        if self.file is not None:
            if database_file.examine(self.file) != "ours":
                raise FileNotFoundError(f"there is no database in {self.file.name}")
            file = self.file
            self.engine.dispose()
            self.engine = create_engine("sqlite://", creator=lambda: _reader(file), poolclass=NullPool, **_COMMON)
        event.listen(self.engine, "begin", _begin_reading)
        with self.engine.connect() as connection:
            migrations.require_newest(connection)
        self.is_open = True
        self.opened += 1

    def set_aside(self) -> Path | None:
        """Give a corrupt file, and what belongs to it, a name with the date, and make room; null for a server.

        Raises database_file.ForeignFileError for a file that isn't ours, which stays where it is.
        """
        if self.file is None:
            return None
        self.close()
        return database_file.set_aside(self.file)

    def _on_connect(self, connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.text_factory = _text_of
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


def is_corrupt(error: BaseException) -> bool:
    """Whether an error says that the file is no database, or a broken one."""
    cause = getattr(error, "orig", error)
    if not isinstance(cause, sqlite3.Error):  # a server's error may quote a record that has the same words
        return False
    code = getattr(cause, "sqlite_errorcode", None)
    told = str(cause).lower()
    return code in _CORRUPT_CODES or "not a database" in told or "malformed" in told


def _parsed(url: str | URL) -> URL:
    """The URL in its parts. Raises ArgumentError, whose message never holds the URL: it may hold a password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ArgumentError("it is no SQLAlchemy URL, such as sqlite:////folder/file.sqlite3") from None
    if driver := postgresql.driver_of(parsed.drivername):
        return parsed.set(drivername=driver)
    if parsed.drivername not in _SQLITE:
        raise ArgumentError("it is a URL of neither sqlite:// nor postgresql://, and no other is accepted")
    name = parsed.database or ""
    if name in ("", ":memory:") or name.startswith("file:") or "\0" in name:
        raise ArgumentError("an SQLite URL names a file by its path; memory and file: URIs are not accepted")
    if parsed != URL.create(parsed.drivername, database=name):
        raise ArgumentError("an SQLite URL names a file and nothing else: no host, no user, and no ?query")
    if name.startswith("~/"):  # or SQLite would make a folder of that name where the process runs
        return parsed.set(database=str(Path(name).expanduser()))
    return parsed


def _reader(file: Path) -> sqlite3.Connection:
    """A connection that reads, and leaves no file beside the database.

    While nobody else has it open there is no log, and the file can be read as it stands; else SQLite reads both.
    """
    how = "mode=ro" if database_file.has_log(file) else "mode=ro&immutable=1"
    connection = sqlite3.connect(
        f"{file.absolute().as_uri()}?{how}", uri=True, isolation_level=None, check_same_thread=False
    )
    connection.text_factory = _text_of
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    return connection


def _text_of(data: bytes) -> str:
    """SQLite's text, which need not be any: one that is damaged costs no other row."""
    return data.decode("utf-8", "backslashreplace")


def _sign(connection: Connection) -> None:
    """Note in the database's header whose it is; one that an older version made gets it now."""
    if connection.exec_driver_sql("PRAGMA application_id").scalar() != database_file.APPLICATION_ID:
        connection.exec_driver_sql(f"PRAGMA application_id={database_file.APPLICATION_ID}")


def _begin_reading(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN")
    else:
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")


def _begin_immediate(connection: Connection) -> None:
    readonly = connection.get_execution_options().get("run_recorder_reads", False)
    connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")
