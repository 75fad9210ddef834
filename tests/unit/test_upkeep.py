"""Upkeep: SQLite's log and its search index are kept short, and not by whoever commits when they are due."""

from pathlib import Path

from run_recorder.telemetry.database import Database
from run_recorder.telemetry.record import NodeRecord, PromptRecord
from run_recorder.telemetry.search import Filter
from run_recorder.telemetry.store import Change, Store
from run_recorder.telemetry.upkeep import DUE_ROWS, is_due, keep_up

from ..older import older
from .conftest import ON_SQLITE


def no_pause(_seconds: float) -> None:
    pass


def end(store: Store, first: int, count: int) -> None:
    """Each in a transaction of its own, as they come."""
    for number in range(first, first + count):
        record = PromptRecord(f"p{number}", 1, "i", "success", queued_ms=number, workflow_name=f"shot {number}")
        nodes = [NodeRecord(seq, str(seq), "K") for seq in range(50)]
        store.save([Change(record, nodes)])


def pieces(store: Store) -> int:
    """Of how many pieces the search index consists."""
    with store.database.engine.connect() as connection:
        return connection.exec_driver_sql("SELECT count(DISTINCT segid) FROM prompt_search_idx").scalar() or 0


def log_bytes(store: Store) -> int:
    assert store.database.file is not None
    return store.database.file.with_name(store.database.file.name + "-wal").stat().st_size


@ON_SQLITE
def test_the_index_is_merged_by_upkeep_and_by_nobody_else(store: Store) -> None:
    end(store, 0, 40)
    assert pieces(store) >= 40, "no commit had to do it"
    keep_up(store, no_pause)
    assert pieces(store) < 10
    assert [one.prompt_id for one in store.page(Filter(q="shot 17"), 9)] == ["p17"]


@ON_SQLITE
def test_it_is_due_after_so_many_rows(store: Store) -> None:
    assert not is_due(store)
    end(store, 0, DUE_ROWS // 50 + 1)
    assert is_due(store)
    keep_up(store, no_pause)
    assert not is_due(store)


@ON_SQLITE
def test_the_log_is_used_again_after_upkeep(store: Store) -> None:
    end(store, 0, 40)
    longest = log_bytes(store)
    for number in range(1, 6):
        keep_up(store, no_pause)
        end(store, 40 * number, 40)
    assert log_bytes(store) < 2 * longest


@ON_SQLITE
def test_one_who_reads_meanwhile_is_no_obstacle(store: Store) -> None:
    end(store, 0, 20)
    with store.database.engine.execution_options(run_recorder_reads=True).connect() as reader:
        reader.exec_driver_sql("SELECT count(*) FROM prompts").scalar()
        keep_up(store, no_pause)
        end(store, 20, 5)
        assert reader.exec_driver_sql("SELECT count(*) FROM prompts").scalar() == 20
    assert store.count() == 25


def test_an_older_database_gets_the_setting(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite3'}")
    with older("0003"):
        database.open()
    database.close()
    assert "0004" in database.open()
    with database.engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT k, v FROM prompt_search_config WHERE k LIKE '%merge'").all()
    assert dict(tuple(row) for row in found) == {"automerge": 0, "crisismerge": 1000}
    database.close()
