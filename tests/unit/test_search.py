"""A filter finds the same prompts whether few or many pass it, with the full-text index and without."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_recorder.telemetry.markers.outputs import ReportedFile
from run_recorder.telemetry.models.listing import Filter, Position
from run_recorder.telemetry.models.record import NodeRecord, PromptRecord
from run_recorder.telemetry.store import search as search_module
from run_recorder.telemetry.store.changes import Change
from run_recorder.telemetry.store.database import Database
from run_recorder.telemetry.store.search import SEARCH_TABLE
from run_recorder.telemetry.store.store import Store

from ..postgres import fresh_database
from .conftest import BACKENDS

PIECES = ["shot", "Shöt_7", "a'b\"c", "100%", "kSampler", "絵文字", "xx"]
words = st.lists(st.sampled_from(PIECES), min_size=1, max_size=2).map("_".join)
made = st.tuples(words, words, words, st.sampled_from(["success", "error"]), st.integers(0, 5))
asked = st.one_of(words, st.text("shotaKx%_\"'*é7 ", min_size=1, max_size=6), st.sampled_from([w[1:] for w in PIECES]))


@pytest.fixture(scope="module", params=BACKENDS)
def open_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Store]]:
    """Opens an empty store; the last one is closed by then."""
    stores: list[Store] = []
    with contextlib.ExitStack() as databases:

        def start() -> Store:
            for store in stores:
                store.database.close()
            url = f"sqlite:///{tmp_path_factory.mktemp('search') / 'records.sqlite3'}"
            if request.param == "postgresql":
                databases.close()
                url = databases.enter_context(fresh_database(request.getfixturevalue("postgresql_server")))
            database = Database(url)
            database.open()
            stores[:] = [Store(database)]
            return stores[0]

        yield start
        for store in stores:
            store.database.close()


def change(number: int, workflow: str, output: str, class_type: str, status: Any, queued: int) -> Change:
    record = PromptRecord(f"id-{number}", 1, "me", status=status, queued_ms=queued * 1000, workflow_name=workflow)
    record.outputs = [ReportedFile("9", output, "", "output")]
    nodes = [NodeRecord(0, "1", class_type), NodeRecord(1, "2", class_type), NodeRecord(2, "3", "Any")]
    return Change(record, new_nodes=nodes, outputs=True)


def expected(changes: list[Change], wanted: Filter) -> list[str]:
    """By looking at each, as the documentation describes it."""

    def passes(one: Change) -> bool:
        record, classes = one.record, {node.class_type or "" for node in one.new_nodes}
        texts = [record.prompt_id, record.workflow_name or "", *(file.filename for file in record.outputs), *classes]
        return (
            (not wanted.statuses or record.status in wanted.statuses)
            and (wanted.class_type is None or wanted.class_type in classes)
            and (wanted.output is None or any(file.filename == wanted.output for file in record.outputs))
            and (wanted.q is None or any(wanted.q.lower() in text.lower() for text in texts))
        )

    newest_first = sorted(changes, key=lambda one: (one.record.queued_ms or 0, one.record.pk or 0), reverse=True)
    return [one.record.prompt_id for one in newest_first if passes(one)]


@pytest.mark.host
@settings(max_examples=60, deadline=None)
@given(st.lists(made, max_size=12), asked, words, st.sampled_from([1, 2, 1000]), st.booleans())
def test_a_page_is_what_looking_at_every_prompt_finds(
    open_store: Callable[[], Store], prompts: list[Any], q: str, name: str, few: int, indexed: bool
) -> None:
    store = open_store()
    changes = [change(number, *given) for number, given in enumerate(prompts)]
    store.save(changes)
    store.connections.has_word_index = store.connections.has_word_index and indexed
    patch = pytest.MonkeyPatch()
    patch.setattr(search_module, "FEW", few)
    patch.setattr(search_module, "PROBE", 2)
    patch.setattr(search_module, "RAREST", 2)
    try:
        for wanted in (
            Filter(q=q),
            Filter(q="id-1"),
            Filter(class_type=name),
            Filter(class_type="Any", statuses=("error",)),
            Filter(output=name),
            Filter(q=q, class_type="Any", statuses=("success",)),
        ):
            found = [record.prompt_id for record in store.prompts.page(wanted, 100)]
            assert found == expected(changes, wanted), wanted
    finally:
        patch.undo()
        store.database.close()


def test_what_a_prompt_no_longer_says_is_not_found(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'records.sqlite3'}")
    database.open()
    store = Store(database)
    first = change(1, "before", "a.png", "K", "success", 1)
    store.save([first])
    first.record.workflow_name = "after"
    store.save([Change(first.record)])
    assert store.prompts.page(Filter(q="before"), 9) == []
    assert len(store.prompts.page(Filter(q="after"), 9)) == 1
    store.erasing.erase_prompt("id-1")
    assert store.prompts.page(Filter(q="after"), 9) == []
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql(f"SELECT count(*) FROM {SEARCH_TABLE}('aft')").scalar() == 0
        connection.exec_driver_sql(f"INSERT INTO {SEARCH_TABLE}({SEARCH_TABLE}) VALUES ('integrity-check')")
    database.close()


def test_pages_of_many_and_of_few_follow_each_other(
    open_store: Callable[[], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store()
    store.save([change(number, "shot", "a.png", "K", "success", number) for number in range(7)])
    for few in (3, 1000):
        monkeypatch.setattr(search_module, "FEW", few)
        page = store.prompts.page(Filter(q="shot"), 4)
        assert [record.prompt_id for record in page] == ["id-6", "id-5", "id-4", "id-3"]
        last = page[-1]
        assert last.pk is not None and last.queued_ms is not None
        rest = store.prompts.page(Filter(q="shot"), 4, Position(last.queued_ms, last.pk))
        assert [record.prompt_id for record in rest] == ["id-2", "id-1", "id-0"]
