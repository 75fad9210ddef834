"""Upkeep: SQLite's log and its search index are kept short, and not by whoever commits when they are due."""

import hashlib
from pathlib import Path

import pytest
from run_recorder.telemetry.models.listing import Filter
from run_recorder.telemetry.models.record import NodeRecord, PromptRecord
from run_recorder.telemetry.store.changes import Change
from run_recorder.telemetry.store.database import Database
from run_recorder.telemetry.store.retention import erase_until
from run_recorder.telemetry.store.store import Store
from run_recorder.telemetry.store.upkeep import DUE_ROWS, forget_words, is_due, keep_up

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
    assert [one.prompt_id for one in store.prompts.page(Filter(q="shot 17"), 9)] == ["p17"]


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


def index_bytes(store: Store) -> bytes:
    """What the pages of the search index hold."""
    with store.database.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT block FROM prompt_search_data").scalars()
        return b"".join(rows)


def name(store: Store, prompt_id: str, workflow: str) -> None:
    record = PromptRecord(prompt_id, 1, "i", "success", queued_ms=1000, workflow_name=workflow)
    store.save([Change(record)])


@ON_SQLITE
@pytest.mark.parametrize("how", ["by id", "by time"])
def test_pieces_of_an_erased_name_leave_the_search_index(store: Store, how: str) -> None:
    name(store, "erased", "жщю ёъэ")
    end(store, 5000, 200)
    keep_up(store, no_pause)
    assert "жщ".encode() in index_bytes(store)
    if how == "by id":
        assert store.erasing.erase_prompt("erased") == 1
    else:
        assert erase_until(store, 5000, no_pause) == 1
    forget_words(store, no_pause)
    assert not any(letter.encode() in index_bytes(store) for letter in "жщюёъэ")
    assert [one.prompt_id for one in store.prompts.page(Filter(q="shot 5017"), 9)] == ["p5017"]
    folder = store.database.file
    assert folder is not None
    for path in folder.parent.glob(f"{folder.name}*"):
        assert "жщ".encode() not in path.read_bytes(), path.name


@ON_SQLITE
def test_a_later_process_does_what_is_left_of_it(store: Store, database_url: str) -> None:
    name(store, "erased", "жщю")
    end(store, 5000, 60)
    keep_up(store, no_pause)
    store.erasing.erase_prompt("erased")
    store.database.close()
    database = Database(database_url)
    database.open()
    later = Store(database)
    assert later.erasing.owes_words
    forget_words(later, no_pause)
    assert not later.erasing.owes_words
    assert "ж".encode() not in index_bytes(later)
    database.close()


@ON_SQLITE
def test_what_comes_in_while_pieces_are_removed_is_found(store: Store) -> None:
    name(store, "erased", "жщю")
    for number in range(300):
        name(store, f"filler-{number}", hashlib.sha512(str(number).encode()).hexdigest())
    keep_up(store, no_pause)
    store.erasing.erase_prompt("erased")
    numbers = iter(range(100_000, 200_000))

    def record_meanwhile(_seconds: float) -> None:
        end(store, next(numbers), 1)

    forget_words(store, record_meanwhile)
    assert next(numbers) > 100_001, "in more than one batch"
    assert "ж".encode() not in index_bytes(store)
    assert [one.prompt_id for one in store.prompts.page(Filter(q="shot 100000"), 9)] == ["p100000"]
