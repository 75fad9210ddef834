"""Fixtures of the core's tests: an output folder, a real database, a clock's zone."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_recorder.telemetry.contract import Instance
from run_recorder.telemetry.database import Database, default_url
from run_recorder.telemetry.store import Store


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An empty output folder."""
    folder = tmp_path / "output"
    folder.mkdir()
    return folder


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(default_url(tmp_path / "private"))
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def store(database: Database) -> Store:
    """An empty store with one instance, `me`."""
    made = Store(database)
    made.add_instance(Instance(id="me", hostname="here", port=8188))
    return made


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
