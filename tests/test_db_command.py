"""`run-recorder db` on files that are ours, and on files that are not."""

import os
import sqlite3
from pathlib import Path

import pytest
from run_recorder.cli import main
from run_recorder.telemetry.store.database import Database

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


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:////{}/x.db?timeout=abc",
        "sqlite:////{}/x.db?foo=bar",
        "sqlite:////{}/a%00b.db",
        "sqlite+aiosqlite:////{}/x.db",
        "mysql://host/x",
    ],
)
@pytest.mark.parametrize("command", ["upgrade", "export"])
def test_a_url_of_no_file_and_no_postgresql_is_refused_in_one_line(
    url: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["db", command, "--database", url.format(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("run-recorder: --database: ") and len(said.splitlines()) == 1 and "pip" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="has no such names")
@pytest.mark.parametrize("name", ["a%41.db", "a?b=c.db", "a#b.db"])
def test_a_file_is_called_what_it_is_called(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert main(["db", "upgrade", "--database", str(tmp_path / name)]) == 0
    assert (tmp_path / name).stat().st_size


@pytest.mark.parametrize("given", ["", "  "])
def test_an_empty_name_is_not_the_folder_that_one_stands_in(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Database(f"sqlite:///{tmp_path / 'run-recorder.sqlite3'}").open()
    assert main(["db", "export", "--database", given]) == 2
    assert "--database is empty" in capsys.readouterr().err


def test_spaces_around_the_setting_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUN_RECORDER_DATABASE_URL", f"  sqlite:///{tmp_path / 'a.sqlite3'}\n")
    assert main(["db", "upgrade"]) == 0
    assert (tmp_path / "a.sqlite3").is_file()


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal", "-WAL"])
def test_no_database_is_made_under_the_name_of_another_s_log(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["db", "upgrade", "--database", f"sqlite:///{tmp_path / 'foreign.db'}{suffix}"]) == 2
    assert "another database's log" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
