"""Whose a database's file is: ours is opened, another program's stays as it is to the last bit of its mode."""

import os
import shutil
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from run_recorder.telemetry.record.opening import digest_key
from run_recorder.telemetry.store import database_file
from run_recorder.telemetry.store.database import Database, default_url, is_corrupt
from run_recorder.telemetry.store.database_file import ForeignFileError, examine, note_of, set_aside
from run_recorder.telemetry.store.instance import InstanceLocks
from run_recorder.telemetry.store.migrations import OlderDatabaseError
from run_recorder.telemetry.store.store import Store
from sqlalchemy.exc import ArgumentError, DatabaseError

from .support import write


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "shared" / "records.sqlite3"


@pytest.fixture
def ours(file: Path) -> Iterator[Database]:
    """A database of ours, used and closed."""
    database = Database(f"sqlite:///{file}")
    database.open()
    database.empty_log()
    database.close()
    yield database
    database.close()


def other_sqlite(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE cookies(name TEXT)")
        connection.execute("INSERT INTO cookies VALUES ('mine')")
    connection.close()


def other_application(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA application_id=252006674")
        connection.execute("CREATE TABLE fossil(name TEXT)")
    connection.close()


FOREIGN: dict[str, Callable[[Path], object]] = {
    "a text": lambda file: file.write_text("root:x:0:0\n" * 50),
    "binary": lambda file: file.write_bytes(os.urandom(100_000)),
    "an empty file": lambda file: file.touch(),
    "another's SQLite database": other_sqlite,
    "another's SQLite database that says so": other_application,
    "half a header": lambda file: file.write_bytes(b"SQLite format 3\0"),
    "a dump of ours": lambda file: file.write_text(
        "CREATE TABLE run_recorder_version (version_num VARCHAR(32));\n" * 9
    ),
}


def picture(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything in a folder and the folder itself: mode, time of change, content."""
    found = {".": (folder.stat().st_mode, folder.stat().st_mtime_ns, b"")}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_mtime_ns, content)
    return found


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("mode", [0o1777, 0o2775, 0o755])
def test_another_programs_file_is_refused_and_untouched(tmp_path: Path, kind: str, mode: int) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    file = folder / "precious"
    FOREIGN[kind](file)
    file.chmod(0o640)
    folder.chmod(mode)
    before = picture(folder)
    database = Database(f"sqlite:///{file}")
    for attempt in (database.open, database.open_to_read, database.set_aside):
        with pytest.raises(ForeignFileError, match=r"precious is .*not a database of Run Recorder"):
            attempt()
    database.close()
    assert picture(folder) == before


@pytest.mark.skipif(sys.platform == "win32", reason="makes pipes and links")
def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "text")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    for name, what in {
        "pipe": "a named pipe",
        "folder": "a folder",
        "link": "no database",
        "dangling": "a link to nothing",
    }.items():
        with pytest.raises(ForeignFileError, match=f"is {what}"):
            Database(f"sqlite:///{tmp_path / name}").open()
    assert not (tmp_path / "nothing").exists()
    assert (tmp_path / "text").read_text() == "mine"


def test_a_link_to_a_database_of_ours_is_followed(ours: Database, tmp_path: Path) -> None:
    assert ours.file is not None
    (tmp_path / "link.sqlite3").symlink_to(ours.file)
    linked = Database(f"sqlite:///{tmp_path / 'link.sqlite3'}")
    linked.open()
    linked.close()
    assert (tmp_path / "link.sqlite3").is_symlink()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_permissions_are_set_on_folders_that_were_made_just_now_and_on_no_others(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    Database(f"sqlite:///{shared / 'a.sqlite3'}").open()
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777
    Database(f"sqlite:///{shared / 'new' / 'below' / 'a.sqlite3'}").open()
    assert stat.S_IMODE((shared / "new").stat().st_mode) == 0o700
    assert stat.S_IMODE((shared / "new" / "below").stat().st_mode) == 0o700
    assert stat.S_IMODE((shared / "a.sqlite3").stat().st_mode) == 0o600


def test_an_empty_file_with_a_databases_name_is_taken(file: Path) -> None:
    file.parent.mkdir()
    file.touch()
    database = Database(f"sqlite:///{file}")
    database.open()
    database.close()
    assert examine(file) == "ours"


def test_a_database_says_whose_it_is_in_its_header(ours: Database) -> None:
    assert ours.file is not None
    note_of(ours.file).unlink()
    assert ours.file.read_bytes()[68:72] == b"RREC"
    assert examine(ours.file) == "ours"


def test_a_database_of_a_version_that_did_not_sign_it_is_known_by_its_schema(ours: Database) -> None:
    assert ours.file is not None
    with sqlite3.connect(ours.file) as connection:
        connection.execute("PRAGMA application_id=0")
    connection.close()
    note_of(ours.file).unlink()
    assert examine(ours.file) == "ours"
    ours.open()
    ours.empty_log()
    assert ours.file.read_bytes()[68:72] == b"RREC"


def test_a_database_whose_header_is_destroyed_is_known_by_what_is_left(ours: Database) -> None:
    assert ours.file is not None
    note_of(ours.file).unlink()
    with ours.file.open("r+b") as broken:
        broken.write(b"\xff" * 1000)
    with pytest.raises(DatabaseError) as error:
        ours.open()
    assert is_corrupt(error.value)
    assert ours.set_aside() is not None
    ours.open()


def test_a_database_of_which_nothing_is_left_is_known_by_the_note_beside_it(ours: Database) -> None:
    assert ours.file is not None
    ours.file.write_bytes(os.urandom(50_000))
    aside = ours.set_aside()
    assert aside is not None and ".corrupt-" in aside.name
    assert not ours.file.exists()


def test_a_foreign_file_in_the_place_of_the_note_is_left_alone(file: Path) -> None:
    file.parent.mkdir()
    note_of(file).write_text("a shopping list")
    database = Database(f"sqlite:///{file}")
    database.open()
    database.close()
    assert note_of(file).read_text() == "a shopping list"
    file.write_bytes(b"x" * 5000)
    with pytest.raises(ForeignFileError):
        set_aside(file)


def test_a_log_without_its_database_is_not_erased(ours: Database) -> None:
    assert ours.file is not None
    ours.open()
    log = ours.file.with_name(ours.file.name + "-wal")
    with ours.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO counters VALUES ('x', 1)")
    kept = log.read_bytes()
    shutil.copy(log, log.with_name("copy"))
    ours.close()
    ours.file.unlink()
    (log.with_name("copy")).rename(log)
    ours.open()
    ours.close()
    assert [path.read_bytes() for path in log.parent.glob("*.corrupt-*-wal")] == [kept]


def test_the_log_of_another_database_is_left_alone(file: Path) -> None:
    file.parent.mkdir()
    log = file.with_name(file.name + "-wal")
    log.write_bytes(b"another's")
    with pytest.raises(ForeignFileError, match="is the log of a database that isn't there"):
        Database(f"sqlite:///{file}").open()
    assert log.read_bytes() == b"another's"
    assert not file.exists()


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("in_use", [False, True])
def test_reading_changes_nothing(ours: Database, in_use: bool) -> None:
    assert ours.file is not None
    if in_use:
        ours.open()
        with ours.engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO counters VALUES ('x', 1)")
    before = picture(ours.file.parent)
    reader = Database(str(ours.url))
    reader.open_to_read()
    assert Store(reader).count() == 0
    with reader.engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT value FROM counters WHERE name = 'x'").scalar()
        assert found == (1 if in_use else None)
        with pytest.raises(DatabaseError, match="readonly"):
            connection.exec_driver_sql("INSERT INTO counters VALUES ('y', 1)")
    reader.close()
    after = picture(ours.file.parent)
    shm = f"{ours.file.name}-shm"  # the readers' marks in memory that all processes share
    assert {**before, shm: None} == {**after, shm: None}


def test_a_database_that_is_not_there_is_not_made_by_reading(file: Path) -> None:
    file.parent.mkdir()
    with pytest.raises(FileNotFoundError):
        Database(f"sqlite:///{file}").open_to_read()
    assert list(file.parent.iterdir()) == []


def test_an_older_database_is_not_changed_by_reading(ours: Database) -> None:
    assert ours.file is not None
    with sqlite3.connect(ours.file) as connection:
        connection.execute("UPDATE run_recorder_version SET version_num = '0003'")
    connection.close()
    before = picture(ours.file.parent)
    with pytest.raises(OlderDatabaseError, match="at revision 0003"):
        Database(str(ours.url)).open_to_read()
    assert picture(ours.file.parent) == before


# ---------------------------------------------------------------- the setting


@pytest.mark.parametrize(
    "url",
    [
        "no url",
        "postgresql://user:hunter2@host:notaport/db",
        "postgresql://user:hunter2@host:99999999999999999999x/db",
        "sqlite:///file:/tmp/x?mode=memory&uri=true",
        "://:hunter2@",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///a%00b.db",
        "sqlite:///x.db?timeout=abc",
        "sqlite:///x.db?check_same_thread=x",
        "sqlite:///x.db?password=hunter2",
        "sqlite://me:hunter2@host/x.db",
        "sqlite+aiosqlite:////p/x.db",
        "mysql://me:hunter2@host/x",
    ],
)
def test_a_url_that_is_none_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ArgumentError) as error:
        Database(url)
    assert "hunter2" not in str(error.value)


# ---------------------------------------------------------------- what else is made in private folders


@pytest.mark.skipif(sys.platform == "win32", reason="makes links")
def test_the_digest_key_is_not_written_through_a_link(tmp_path: Path) -> None:
    target = tmp_path / "target"
    (tmp_path / "digest.key").symlink_to(target)
    assert len(digest_key(tmp_path)) == 32
    assert not target.exists()


def test_what_is_no_digest_key_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "digest.key").write_text("another program's key")
    assert len(digest_key(tmp_path)) == 32
    assert (tmp_path / "digest.key").read_text() == "another program's key"


def test_a_digest_key_that_was_cut_off_when_it_was_made_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "digest.key").touch()
    assert digest_key(tmp_path) == digest_key(tmp_path)
    assert stat.S_IMODE((tmp_path / "digest.key").stat().st_mode) == 0o600 or sys.platform == "win32"


@pytest.mark.skipif(sys.platform == "win32", reason="makes links")
def test_a_lock_that_is_a_link_is_never_opened(tmp_path: Path) -> None:
    locks = InstanceLocks(tmp_path)
    locks.begin(None)
    target = tmp_path / "target"
    target.write_text("mine")
    other = "12345678-1234-4234-8234-123456789abc"
    (locks.folder / f"{other}.lock").symlink_to(target)
    assert not locks.is_dead(other)
    os.utime(locks.folder / f"{other}.lock", (0, 0), follow_symlinks=False)
    locks.sweep({})
    assert target.read_text() == "mine"
    assert (locks.folder / f"{other}.lock").is_symlink()
    locks.end()


def test_foreign_files_among_the_locks_stay(tmp_path: Path) -> None:
    locks = InstanceLocks(tmp_path)
    locks.begin(None)
    foreign = write(locks.folder / "apt.lock", b"")
    os.utime(foreign, (0, 0))
    locks.sweep({})
    assert foreign.exists()
    locks.end()


def test_where_the_folder_of_locks_is_a_file_no_lock_is_held(tmp_path: Path) -> None:
    (tmp_path / "instances").write_text("a list of instances")
    with pytest.raises(OSError):
        InstanceLocks(tmp_path).begin(None)
    assert (tmp_path / "instances").read_text() == "a list of instances"


def test_the_default_database_is_named_by_its_folder(tmp_path: Path) -> None:
    assert Database(default_url(tmp_path)).file == tmp_path / "run-recorder.sqlite3"
    assert database_file.note_of(tmp_path / "a") == tmp_path / "a.run-recorder"


def an_id_alone(file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA application_id=252006674")
    connection.close()


def a_thesis(file: Path) -> None:
    file.write_text("My thesis, of Łódź and elsewhere.\n" * 5000, "utf-8")


@pytest.mark.parametrize("make", [other_sqlite, other_application, an_id_alone, a_thesis])
def test_a_note_makes_nothing_ours_that_says_itself_whose_it_is(ours: Database, make: Callable[[Path], None]) -> None:
    """The note outlives its database: another program may have made a file of the name since."""
    assert ours.file is not None
    ours.file.unlink()
    make(ours.file)
    before = ours.file.read_bytes(), ours.file.stat().st_mode
    with pytest.raises(ForeignFileError):
        examine(ours.file)
    with pytest.raises(ForeignFileError):
        set_aside(ours.file)
    with pytest.raises(ForeignFileError):
        Database(f"sqlite:///{ours.file}").open()
    assert (ours.file.read_bytes(), ours.file.stat().st_mode) == before


@pytest.mark.parametrize("content", [b"", bytes(5000), os.urandom(5000), b"SQLite format 3\0" + bytes(4080)])
def test_a_note_makes_ours_what_says_nothing(ours: Database, content: bytes) -> None:
    assert ours.file is not None
    ours.file.write_bytes(content)
    assert examine(ours.file) == "ours"
