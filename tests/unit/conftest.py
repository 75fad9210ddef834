"""Fixtures of the core's tests: an output folder, a real database of each kind, a clock's zone."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_recorder.telemetry.models.prompt import Instance
from run_recorder.telemetry.store.database import Database
from run_recorder.telemetry.store.store import Store

from .desk import Desk, empty_database

BACKENDS = ("sqlite", "postgresql")
ON_SQLITE = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
"""For a test that is about SQLite's own files and ways."""
ON_POSTGRESQL = pytest.mark.parametrize("backend", ["postgresql"], indirect=True)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An empty output folder."""
    folder = tmp_path / "output"
    folder.mkdir()
    return folder


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Which database a test runs on: each of them, unless the test or its module says otherwise."""
    return str(request.param)


@pytest.fixture
def database_url(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The URL of an empty database of this test's own."""
    if backend == "sqlite":
        return empty_database(tmp_path / "private")
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def store(database: Database) -> Store:
    """An empty store with one instance, `me`."""
    made = Store(database)
    made.servers.add_instance(Instance(id="me", hostname="here", port=8188))
    return made


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A writer on a folder and a database of this test's own."""
    made = Desk(tmp_path)
    yield made
    made.database.close()


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
