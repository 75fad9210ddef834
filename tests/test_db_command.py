"""`run-recorder db` on files that are ours, and on files that are not."""

import sqlite3
from pathlib import Path

import pytest
from run_recorder.telemetry.database import Database

from .hosts import cli
from .older import older


def commands(file: Path) -> list[tuple[str, ...]]:
    where = ("--database", str(file))
    return [("upgrade", *where), ("prune", "--prompts", "5", *where), ("export", *where)]


@pytest.mark.parametrize("kind", ["text", "sqlite"])
def test_another_programs_file_is_named_and_stays_as_it_is(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "shared"
    folder.mkdir(mode=0o777)
    folder.chmod(0o1777)
    file = folder / "notes"
    if kind == "text":
        file.write_text("do not lose this\n")
    else:
        with sqlite3.connect(file) as connection:
            connection.execute("CREATE TABLE mine(a)")
        connection.close()
    before = file.read_bytes(), file.stat().st_mtime_ns, folder.stat().st_mode
    for arguments in commands(file):
        done = cli("db", *arguments)
        assert done.returncode == 2, arguments
        assert "notes is" in done.stderr and "nothing was changed" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    assert (file.read_bytes(), file.stat().st_mtime_ns, folder.stat().st_mode) == before
    assert [path.name for path in folder.iterdir()] == ["notes"]


def test_export_reads_an_older_database_only_after_an_upgrade(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a.sqlite3'}")
    with older("0003"):
        database.open()
    database.empty_log()
    database.close()
    before = (tmp_path / "a.sqlite3").read_bytes()
    done = cli("db", "export", "--database", str(tmp_path / "a.sqlite3"))
    assert done.returncode == 1
    assert "db upgrade" in done.stderr
    assert (tmp_path / "a.sqlite3").read_bytes() == before
    assert cli("db", "upgrade", "--database", str(tmp_path / "a.sqlite3")).returncode == 0
    assert cli("db", "export", "--database", str(tmp_path / "a.sqlite3")).returncode == 0


def test_a_url_that_is_none_is_refused_without_its_password() -> None:
    done = cli("db", "export", "--database", "postgresql://me:hunter2@host:port/x")
    assert done.returncode == 2
    assert "hunter2" not in done.stderr + done.stdout
    assert "no SQLAlchemy URL" in done.stderr
