"""The database is private, in WAL where that is safe, brought to the newest schema, and refused where it is newer."""

import os
import sqlite3
import stat
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from run_recorder.telemetry.store import database as database_module
from run_recorder.telemetry.store import migrations, tables
from run_recorder.telemetry.store.database import Database, default_url, file_system_of, is_corrupt, is_on_network
from run_recorder.telemetry.store.database_file import leave_note
from run_recorder.telemetry.store.migrations import HEAD, REVISIONS, VERSION_TABLE, NewerDatabaseError, current_revision
from run_recorder.telemetry.store.search import SEARCH_TABLE
from sqlalchemy.exc import DatabaseError

from ..older import older
from .support import write


def opened(folder: Path) -> Database:
    database = Database(default_url(folder))
    database.open()
    return database


def pragma(database: Database, name: str) -> Any:
    with database.engine.connect() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


def on(monkeypatch: pytest.MonkeyPatch, *mounts: tuple[str, str, str]) -> None:
    """Let these (mount point, file system, options) be what is mounted."""
    found = [SimpleNamespace(mountpoint=where, fstype=kind, opts=opts) for where, kind, opts in mounts]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: found)


# ---------------------------------------------------------------- where and how


def test_a_new_database_is_private_and_in_wal(tmp_path: Path) -> None:
    database = Database(default_url(tmp_path / "new" / "private"))
    assert database.file == tmp_path / "new" / "private" / "run-recorder.sqlite3"
    assert not database.is_open
    assert database.open() == [revision.revision for revision in REVISIONS]
    assert database.is_open
    assert stat.S_IMODE(database.file.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(database.file.stat().st_mode) == 0o600
    assert [pragma(database, name) for name in ("journal_mode", "synchronous", "foreign_keys")] == ["wal", 1, 1]
    size = database.bytes()
    assert size is not None
    assert size >= database.file.stat().st_size > 0
    database.close()
    assert not database.is_open
    assert database.open() == []
    database.close()


def test_the_files_of_a_database_stay_private_while_it_is_used(tmp_path: Path) -> None:
    database = opened(tmp_path)
    names = [path for path in tmp_path.iterdir() if "sqlite3" in path.name]
    assert names
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in names)
    database.close()


def test_on_a_network_file_system_there_is_no_wal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, ("/", "ext4", "rw"), (str(tmp_path), "nfs4", "rw"))
    database = opened(tmp_path / "private")
    assert database.on_network
    assert pragma(database, "journal_mode") == "delete"
    database.close()


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        ([("/", "ext4", "rw")], "ext4"),
        ([("/", "ext4", "rw"), ("/mnt/share", "NFS4", "rw")], "nfs4"),
        ([("/mnt/share", "cifs", "rw"), ("/", "ext4", "rw")], "cifs"),
        ([("/", "ext4", "rw"), ("/mnt/sha", "nfs", "rw")], "ext4"),
        ([("/", "ext4", "rw"), ("/mnt/share/", "nfs", "rw")], "nfs"),
        ([("/", "ext4", "rw"), ("/mnt/share", "ext4", "rw"), ("/mnt/share", "nfs", "rw")], "nfs"),
        ([("/", "NTFS", "rw,remote")], "cifs"),
        ([("/elsewhere", "nfs", "rw")], None),
        ([], None),
    ],
)
def test_a_folder_is_on_the_file_system_that_is_mounted_nearest(
    monkeypatch: pytest.MonkeyPatch, mounts: list[tuple[str, str, str]], kind: str | None
) -> None:
    on(monkeypatch, *mounts)
    assert file_system_of(Path("/mnt/share/folder")) == kind
    assert is_on_network(Path("/mnt/share/folder")) is (kind in ("nfs", "nfs4", "cifs"))


def test_where_mounts_cannot_be_told_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(**_named: object) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "disk_partitions", denied)
    assert file_system_of(Path("/")) is None
    assert not is_on_network(Path("/"))


def test_a_windows_share_is_on_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, ("/", "ext4", "rw"))
    monkeypatch.setattr(database_module, "sys", SimpleNamespace(platform="win32"))
    assert is_on_network(Path("\\\\host\\share"))
    assert not is_on_network(Path("/local"))


@pytest.mark.skipif(os.name == "nt", reason="has no such names")
@pytest.mark.parametrize("name", ["a%41", "a?b=c", "a#b", "a:b@c"])
def test_a_folder_is_called_what_it_is_called(tmp_path: Path, name: str) -> None:
    opened(tmp_path / name).close()
    assert (tmp_path / name / "run-recorder.sqlite3").is_file()


def test_on_windows_no_mode_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "sys", SimpleNamespace(platform="win32"))
    monkeypatch.setattr(Path, "chmod", lambda *_given: pytest.fail("chmod"))
    opened(tmp_path).close()


def test_a_server_is_no_file_and_is_told_nothing_of_pragmas() -> None:
    pytest.importorskip("psycopg")
    database = Database("postgresql+psycopg://me:pw@host/db")
    assert (database.file, database.bytes(), database.set_aside()) == (None, None, None)


def test_a_tilde_is_the_user_s_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert Database("sqlite:///~/in/a.db").file == tmp_path / "in" / "a.db"
    assert Database("sqlite:///~a.db").file == Path("~a.db"), "a name like any other"


# ---------------------------------------------------------------- a database that is broken


def test_garbage_is_corrupt_and_can_be_set_aside_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    database = Database(default_url(tmp_path))
    assert database.file is not None
    leave_note(database.file)
    write(database.file, b"\0no database" * 100)
    with pytest.raises(DatabaseError) as broken:
        database.open()
    assert is_corrupt(broken.value)
    assert not database.is_open
    write(tmp_path / (database.file.name + "-journal"), b"x")
    aside = database.set_aside()
    assert aside is not None
    assert aside.name.startswith("run-recorder.sqlite3.corrupt-")
    assert aside.read_bytes().startswith(b"\0no database")
    assert (tmp_path / (aside.name + "-journal")).exists()
    assert database.open()
    database.close()


def test_a_second_corrupt_database_in_one_second_does_not_overwrite_the_first(tmp_path: Path) -> None:
    database = Database(default_url(tmp_path))
    assert database.file is not None
    leave_note(database.file)
    for said in (b"first\0", b"second\0"):
        write(database.file, said)
        database.set_aside()
    assert sorted(path.read_bytes() for path in tmp_path.glob("*.corrupt-*")) == [b"first\0", b"second\0"]


@pytest.mark.parametrize(
    ("error", "corrupt"),
    [
        (sqlite3.DatabaseError("file is not a database"), True),
        (sqlite3.DatabaseError("database disk image is malformed"), True),
        (sqlite3.OperationalError("database is locked"), False),
        (sqlite3.OperationalError("disk I/O error"), False),
        (OSError("full"), False),
    ],
)
def test_only_a_broken_file_is_corrupt(error: Exception, corrupt: bool) -> None:
    assert is_corrupt(error) is corrupt
    assert is_corrupt(DatabaseError("statement", {}, error)) is corrupt


# ---------------------------------------------------------------- migrations


def schema(connection: sa.Connection) -> dict[str, list[tuple[str, str, bool]]]:
    inspector = sa.inspect(connection)
    return {
        name: sorted(
            (column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(name)
        )
        for name in sorted(inspector.get_table_names())
        if name != VERSION_TABLE and not name.startswith(SEARCH_TABLE)
    }


def test_the_migrations_make_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    database = opened(tmp_path)
    with database.engine.connect() as connection:
        migrated = schema(connection)
    database.close()
    engine = sa.create_engine("sqlite://")
    tables.metadata.create_all(engine)
    with engine.connect() as connection:
        assert schema(connection) == migrated


@pytest.mark.parametrize("known", range(1, len(REVISIONS) + 1))
def test_a_database_of_any_older_version_is_brought_to_the_newest(tmp_path: Path, known: int) -> None:
    database = Database(default_url(tmp_path))
    with older(REVISIONS[known - 1].revision):
        database.open()
    with database.engine.connect() as connection:
        assert current_revision(connection) == REVISIONS[known - 1].revision
    database.close()
    assert database.open() == [revision.revision for revision in REVISIONS[known:]]
    with database.engine.connect() as connection:
        assert current_revision(connection) == HEAD
    database.close()


def test_revisions_follow_one_another() -> None:
    before = [None, *(revision.revision for revision in REVISIONS)]
    assert [revision.down_revision for revision in REVISIONS] == before[:-1]


def test_a_database_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    opened(tmp_path).close()
    file = tmp_path / "run-recorder.sqlite3"
    with sqlite3.connect(file) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    connection.close()
    with pytest.raises(NewerDatabaseError, match="revision 9999"):
        opened(tmp_path)
    with sqlite3.connect(file) as connection:
        assert connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchall() == [("9999",)]
    connection.close()


def test_a_migration_that_was_cut_off_before_its_version_was_written_is_whole_or_not_there(tmp_path: Path) -> None:
    database = Database(default_url(tmp_path))

    class Broken:
        revision, down_revision = "x", HEAD

        @staticmethod
        def upgrade(op: Any) -> None:
            op.create_table("half", sa.Column("x", sa.Integer()))
            raise OSError("the power is gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "REVISIONS", (*REVISIONS, Broken))
        with pytest.raises(OSError):
            database.open()
    with database.engine.connect() as connection:
        assert sa.inspect(connection).get_table_names() == []
    database.close()
    assert len(database.open()) == len(REVISIONS)
    database.close()


def test_an_empty_version_table_is_an_empty_database(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "run-recorder.sqlite3") as connection:
        connection.execute(f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32))")
    connection.close()
    database = opened(tmp_path)
    with database.engine.connect() as connection:
        assert current_revision(connection) == HEAD
    database.close()


ENV = """
import time
from alembic import context
from sqlalchemy import create_engine
engine = create_engine(context.config.get_main_option("sqlalchemy.url"))
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
"""
REVISION = """
import time
import sqlalchemy as sa
from alembic import op
revision, down_revision = "{name}", {before}
def upgrade():
    op.create_table("theirs_{name}", sa.Column("x", sa.Integer()))
    time.sleep(0.02)
def downgrade():
    op.drop_table("theirs_{name}")
"""


def test_our_migration_and_the_host_s_own_run_at_once_in_one_process(tmp_path: Path) -> None:
    scripts = tmp_path / "alembic"
    (scripts / "versions").mkdir(parents=True)
    (scripts / "env.py").write_text(ENV)
    (scripts / "script.py.mako").write_text("")
    names = [f"r{number}" for number in range(12)]
    for before, name in zip([None, *names], names, strict=False):
        (scripts / "versions" / f"{name}.py").write_text(REVISION.format(name=name, before=repr(before)))
    config = Config()
    config.set_main_option("script_location", str(scripts))
    config.set_main_option("sqlalchemy.url", f"sqlite:///{tmp_path / 'theirs.sqlite3'}")
    failed: list[BaseException] = []
    begun = threading.Event()

    def theirs() -> None:
        try:
            begun.set()
            command.upgrade(config, "head")
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=theirs)
    thread.start()
    begun.wait()
    ours = 0
    while thread.is_alive() or ours == 0:
        database = Database(default_url(tmp_path / f"ours{ours}"))
        assert len(database.open()) == len(REVISIONS)
        with database.engine.connect() as connection:
            assert not [name for name in sa.inspect(connection).get_table_names() if name.startswith("theirs")]
        database.close()
        ours += 1
    thread.join()
    assert failed == []
    assert ours > 1
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'theirs.sqlite3'}")
    with engine.connect() as connection:
        found = sa.inspect(connection).get_table_names()
    assert sorted(found) == sorted(["alembic_version", *(f"theirs_{name}" for name in names)])
    engine.dispose()
