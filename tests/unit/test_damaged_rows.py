"""One damaged row of the database costs itself, and no other: lists, exports and recovery go on, and say so."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from run_recorder.cli import main
from run_recorder.server_routes.prompts import delete_prompt
from run_recorder.server_routes.route import Call
from run_recorder.telemetry.live.stream import StreamEvent
from run_recorder.telemetry.markers.outputs import ReportedFile
from run_recorder.telemetry.models.listing import Filter, Position
from run_recorder.telemetry.models.prompt import CurrentNode
from run_recorder.telemetry.models.record import NodeRecord, PromptRecord
from run_recorder.telemetry.models.view import prompt_of
from run_recorder.telemetry.process.settings import ServerSettings
from run_recorder.telemetry.record.recording import Recording
from run_recorder.telemetry.store.changes import Change
from run_recorder.telemetry.store.errors import UnreadableRecordError
from run_recorder.telemetry.store.store import Store
from sqlalchemy import text

from .conftest import ON_SQLITE
from .test_recording import host, problems

EVERYWHERE = ["""error='"x"'""", "figures='[1,2]'", "markers='[1]'", "plan='[1]'", """pending='["x"]'"""]
"""What PostgreSQL lets be written, too."""
IN_PART = [*EVERYWHERE, "current_node='{'", "queued_ms='abc'", "batch='['", "notes=x'ff'", "workflow_name=x'ff00'"]
GONE = ["status='bogus'", "run_number=0", "prompt_id=x'ff00'", "instance_id=x'ff'"]
Spoil = Callable[[str], None]


@pytest.fixture
def spoil(store: Store) -> Spoil:
    """Three prompts, `a` to `c`, each with a node and a file, of which something is overwritten."""
    for number, name in enumerate("abc"):
        record = PromptRecord(name, 1, "me", "running", queued_ms=1000 + number, started_ms=2000)
        record.current_node = CurrentNode(node_id="1", class_type=None, title=None)
        record.outputs = [ReportedFile("1", f"{name}.png", "", "output")]
        news = [StreamEvent("prompt.started", name, 1000, {"x": 1}, number + 1)]
        store.save([Change(record, new_nodes=[NodeRecord(0, "1")], outputs=True)], news=news)

    def overwrite(what: str) -> None:
        with store.database.engine.begin() as connection:
            connection.execute(text(what))

    return overwrite


def met(store: Store) -> dict[str, str]:
    """What the store tells of damage, as it is told."""
    told: dict[str, str] = {}
    store.rows.on_damaged = lambda which, what: told.update({which: what})
    return told


def served(found: list[PromptRecord]) -> list[str]:
    """The ids, of what can be served."""
    return [json.loads(prompt_of(one, {}).model_dump_json())["prompt_id"] for one in found]


def check_in_part(store: Store, spoil: Spoil, what: str) -> None:
    spoil(f"UPDATE prompts SET {what} WHERE prompt_id='b'")
    told, field = met(store), what.partition("=")[0]
    assert served(store.prompts.page(Filter(), 9)) == ["c", "b", "a"]
    assert served([record for record, _ in store.prompts.export()]) == ["a", "b", "c"]
    assert sorted(served(store.history.unsettled())) == ["a", "b", "c"]
    assert told == {"record 2, prompt b": f"told without {field}"}
    found = store.prompts.record("b")
    assert found is not None and field in found.notes[-1]
    store.save([Change(found)])
    told.clear()
    assert (store.prompts.record("b"), told) == (found, {}), "it is whole again, with the note"


@pytest.mark.parametrize("what", EVERYWHERE)
def test_what_can_be_read_of_a_record_is_told(store: Store, spoil: Spoil, what: str) -> None:
    check_in_part(store, spoil, what)


@ON_SQLITE
@pytest.mark.parametrize("what", IN_PART[len(EVERYWHERE) :])
def test_what_sqlite_takes_besides(store: Store, spoil: Spoil, what: str) -> None:
    check_in_part(store, spoil, what)


@ON_SQLITE
@pytest.mark.parametrize("what", GONE)
@pytest.mark.parametrize("limit", [1, 2, 9])
def test_a_record_of_nobody_is_left_out_and_pages_go_on_behind_it(
    store: Store, spoil: Spoil, what: str, limit: int
) -> None:
    spoil(f"UPDATE prompts SET {what} WHERE prompt_id='b'")
    told, seen, after = met(store), list[str](), None
    while found := store.prompts.page(Filter(), limit, after):
        seen += served(found)
        after = store.prompts.position(found[-1].pk or 0)
    assert seen == ["c", "a"]
    assert [record.prompt_id for record, _ in store.prompts.export(batch=limit)] == ["a", "c"]
    ((which, why),) = told.items()
    assert which.startswith("record 2, prompt ") and what.partition("=")[0] in why
    assert {"a", "c"} >= set(served(store.history.unsettled()))


def test_a_record_of_nobody_is_not_called_unknown(store: Store, spoil: Spoil) -> None:
    spoil("UPDATE prompts SET status='bogus' WHERE prompt_id='b'")
    with pytest.raises(UnreadableRecordError):
        store.prompts.record("b")
    assert store.erasing.erase_prompt("b") == 1
    assert store.prompts.record("b") is None


@ON_SQLITE
@pytest.mark.parametrize("sort", ["'abc'", "1000.5", "9e999", "10000000000000000"])
def test_where_a_page_begins_is_a_number_whatever_stands_there(store: Store, spoil: Spoil, sort: str) -> None:
    spoil(f"UPDATE prompts SET sort_ms={sort} WHERE prompt_id='b'")
    seen, after = list[str](), None
    while found := store.prompts.page(Filter(), 1, after):
        seen += served(found)
        after = store.prompts.position(found[-1].pk or 0)
        assert after is not None and 0 <= after.sort_ms < 10**15
    assert sorted(seen) == ["a", "b", "c"]


@ON_SQLITE
@pytest.mark.parametrize(
    "what",
    [
        "UPDATE nodes SET error='{' WHERE prompt_pk=2",
        "UPDATE nodes SET node_id=x'ff' WHERE prompt_pk=2",
        "UPDATE outputs SET filename=x'ff' WHERE prompt_pk=2",
        "UPDATE instances SET hostname=x'ff', machine=x'ff', process=x'ff'",
        "UPDATE events SET data='[1]' WHERE number=2",
        "UPDATE events SET data='{' WHERE number=2",
        "UPDATE events SET kind=x'ff' WHERE number=2",
    ],
)
def test_other_rows_cost_only_themselves(store: Store, spoil: Spoil, what: str) -> None:
    spoil(what)
    told = met(store)
    assert served(store.prompts.page(Filter(), 9)) == ["c", "b", "a"]
    assert len(list(store.prompts.export())) == 3
    store.servers.instances(["me"])
    assert store.servers.identities(["me"])["me"].process is None
    assert [event.number for event in store.events.newest()] == ([1, 3] if "events" in what else [1, 2, 3])
    assert len(told) == 1


@ON_SQLITE
def test_a_number_that_is_none_counts_no_runs(store: Store, spoil: Spoil) -> None:
    spoil("UPDATE prompts SET run_number='abc' WHERE prompt_id='b'")
    assert store.history.last_run_number("b") == 0


@ON_SQLITE
def test_a_text_that_is_none_is_read_with_escapes(store: Store, spoil: Spoil) -> None:
    spoil("UPDATE prompts SET workflow_name=CAST(x'61ff' AS TEXT) WHERE prompt_id='b'")
    assert [record.workflow_name for record in store.prompts.page(Filter(), 9)] == [None, "a\\xff", None]


@ON_SQLITE
def test_health_names_it_and_recovery_settles_the_others(
    store: Store, spoil: Spoil, database_url: str, tmp_path: Path
) -> None:
    spoil("UPDATE prompts SET current_node='{' WHERE prompt_id='b'")
    spoil("UPDATE prompts SET status='bogus' WHERE prompt_id='a'")
    store.database.close()
    recording = Recording(host(tmp_path, settings=ServerSettings(RUN_RECORDER_DATABASE_URL=database_url)))
    recording.start()
    try:
        assert recording.ready.wait(10)
        items, after = recording.reading.page(Filter(), 1, None)
        assert ([one.prompt_id for one in items], after) == (["c"], Position(1002, 3))
        items, after = recording.reading.page(Filter(), 1, after)
        assert ([one.prompt_id for one in items], after) == (["b"], None)
        known = problems(recording)
        assert "prompt b: told without current_node" in known["record 2"]
        assert "prompt a: left out for its status" in known["record 1"]
        asked: Any = SimpleNamespace(recording=recording)
        call: Any = Call(asked, asked, {"prompt_id": "a"}, SimpleNamespace(run=None))
        assert asyncio.run(delete_prompt(call)).status == 204, "to delete it is the way to be rid of it"
        assert not recording.store.history.known(["a"])
    finally:
        recording.stop()


@ON_SQLITE
def test_export_goes_on_and_names_it(
    store: Store, spoil: Spoil, database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    spoil("UPDATE prompts SET figures='[1,2]' WHERE prompt_id='a'")
    spoil("UPDATE prompts SET status='bogus' WHERE prompt_id='b'")
    store.database.close()
    assert main(["db", "export", "--database", database_url]) == 1
    out, told = capfd.readouterr()
    assert [json.loads(line)["prompt_id"] for line in out.splitlines()] == ["a", "c"]
    assert told.splitlines() == [
        "record 1, prompt a: damaged in the database, told without figures",
        "record 2, prompt b: damaged in the database, left out for its status",
    ]
