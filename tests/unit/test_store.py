"""What is saved is found again: by id, by page, by filter, by graph; and what is deleted is gone."""

import sqlite3
from typing import Any

import pytest
from run_recorder.telemetry.live.stream import StreamEvent
from run_recorder.telemetry.markers.folder import FileStamp
from run_recorder.telemetry.markers.outputs import ReportedFile
from run_recorder.telemetry.markers.requests import MarkerPlan, MarkerRequest
from run_recorder.telemetry.models.environment import Environment
from run_recorder.telemetry.models.listing import Filter, Position
from run_recorder.telemetry.models.marker import PromptMarker
from run_recorder.telemetry.models.prompt import Batch, CurrentNode, Instance, PromptError
from run_recorder.telemetry.models.record import NodeRecord, PromptRecord
from run_recorder.telemetry.store.changes import Change
from run_recorder.telemetry.store.database import Database
from run_recorder.telemetry.store.errors import StoreClosedError
from run_recorder.telemetry.store.retention import erase_until
from run_recorder.telemetry.store.store import Store
from sqlalchemy.exc import DBAPIError, IntegrityError

from .conftest import ON_SQLITE

ERROR = PromptError(node_id="1", class_type="A", exception_type="E", message="m")


def record(prompt_id: str = "p", run_number: int = 1, status: Any = "success", **more: Any) -> PromptRecord:
    made = PromptRecord(prompt_id, run_number, "me", status)
    made.queued_ms = 1000
    for name, value in more.items():
        setattr(made, name, value)
    return made


def kept(store: Store, *records: PromptRecord, **more: Any) -> list[PromptRecord]:
    store.save([Change(one, outputs=bool(one.outputs), **more) for one in records])
    return list(records)


def ids(found: list[PromptRecord]) -> list[str]:
    return [one.prompt_id for one in found]


def file(name: str, subfolder: str = "", **more: Any) -> ReportedFile:
    return ReportedFile(**{"node_id": "1", "filename": name, "subfolder": subfolder, "type": "output", **more})


# ---------------------------------------------------------------- saving


def test_a_record_comes_back_as_it_was(store: Store) -> None:
    full = record(
        "p",
        started_ms=2000,
        ended_ms=3000,
        queue_wait_seconds=1.0,
        duration_seconds=1.5,
        client_id="c",
        queue_number=-1.5,
        workflow_name="w",
        workflow_fingerprint="1:a",
        settings_fingerprint="1:b",
        graph_digest="d",
        environment_id="e",
        node_total=3,
        node_executed=2,
        node_cached=1,
        current_node=CurrentNode(node_id="1", class_type="A", title=None, value=1, max=2),
        error=ERROR,
        markers=[PromptMarker(path="a.done", status="success", written_at="x")],
        notes=["n"],
        batch=Batch(run_id="r", attempt=2),
        plan=MarkerPlan([MarkerRequest("9", None)], {"3": "a"}),
        pending=[("a", "success", ".rr-x")],
        outputs=[
            file("a.png", "s", stamp=FileStamp(5, 2**62, str(2**64))),
            file("b\ud800", node_id=None, type=None, cached=True),
        ],
    )
    kept(store, full)
    full.outputs[1].filename = "b\\ud800"
    assert store.prompts.record("p") == full


def test_a_record_that_is_saved_again_is_changed_not_added(store: Store) -> None:
    (one,) = kept(store, record("p", status="queued"))
    key = one.pk
    one.status, one.notes = "running", ["n"]
    kept(store, one)
    assert (one.pk, store.count()) == (key, 1)
    found = store.prompts.record("p")
    assert found is not None
    assert (found.status, found.notes) == ("running", ["n"])


def test_nodes_are_added_and_changed_in_their_order(store: Store) -> None:
    one = record("p")
    nodes = [NodeRecord(0, "1", "A", "t", "1", None, 1000, None), NodeRecord(1, "1.0.0.1", "B", None, "1", "1")]
    store.save([Change(one, new_nodes=nodes)])
    nodes[0].duration_seconds, nodes[0].progress_max, nodes[1].cached, nodes[1].error = 2.5, 20.0, True, ERROR
    nodes[1].started_ms = 2000
    store.save([Change(one, new_nodes=[NodeRecord(2, "3")], changed_nodes=nodes)])
    assert one.pk is not None
    assert store.prompts.nodes(one.pk) == [*nodes, NodeRecord(2, "3")]
    assert store.prompts.nodes(one.pk + 1) == []


@pytest.mark.parametrize("durable", [True, False])
def test_all_of_a_transaction_is_saved_or_nothing(store: Store, durable: bool) -> None:
    kept(store, record("p"))
    good, twice = record("q"), record("p")
    with pytest.raises(IntegrityError):
        store.save([Change(good), Change(twice)], durable=durable)
    assert (good.pk, twice.pk) == (None, None)
    assert store.count() == 1
    store.save([Change(good)], durable=durable)
    assert store.count() == 2


@ON_SQLITE
def test_a_durable_commit_is_full_and_the_next_one_normal_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    real = store.database.set_durable

    def spy(connection: Any, durable: bool) -> None:
        real(connection, durable)
        seen.append(connection.connection.dbapi_connection.execute("PRAGMA synchronous").fetchone()[0])

    monkeypatch.setattr(store.database, "set_durable", spy)
    store.save([Change(record("p"))], durable=True)
    store.save([Change(record("q"))])
    assert seen == [2, 1]


def test_text_of_any_kind_is_stored_as_data(store: Store) -> None:
    nasty = "'; DROP TABLE prompts; -- %_\\ \u202e 😀"
    kept(store, record(nasty, workflow_name=nasty, outputs=[file(nasty)]))
    found = store.prompts.record(nasty)
    assert found is not None
    assert (found.workflow_name, found.outputs[0].filename) == (nasty, nasty)
    assert ids(store.prompts.page(Filter(q=nasty), 5)) == [nasty]


# ---------------------------------------------------------------- finding


def test_the_newest_run_of_an_id_is_found_unless_a_number_is_given(store: Store) -> None:
    kept(store, record(run_number=2), record(run_number=1), record(run_number=3), record("q"))
    found = [store.prompts.record("p", number) for number in (None, 1, 2, 9)]
    assert [one and one.run_number for one in found] == [3, 1, 2, None]
    assert store.prompts.record("nobody") is None
    assert [store.history.last_run_number(one) for one in ("p", "q", "nobody")] == [3, 1, 0]


def test_pages_go_back_in_time_and_lose_or_repeat_nothing(store: Store) -> None:
    times = [5000, 1000, 3000, 3000, 3000, 2000, 9000]
    kept(store, *(record(str(number), queued_ms=at) for number, at in enumerate(times)))
    for limit in (1, 2, 3, 10):
        seen: list[str] = []
        after: Position | None = None
        while found := store.prompts.page(Filter(), limit, after):
            assert len(found) <= limit
            seen += ids(found)
            assert found[-1].pk is not None
            after = store.prompts.position(found[-1].pk)
        assert seen == ["6", "0", "4", "3", "2", "5", "1"]
    assert store.prompts.position(999) is None


def test_a_prompt_whose_queueing_was_not_told_stands_where_it_started(store: Store) -> None:
    kept(store, record("a", queued_ms=2000), record("b", queued_ms=None, started_ms=1500), record("c", queued_ms=1000))
    assert ids(store.prompts.page(Filter(), 9)) == ["a", "b", "c"]
    kept(store, record("d", queued_ms=None))
    assert ids(store.prompts.page(Filter(), 9))[0] == "d"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, "cba"),
        ({"statuses": ("success",)}, "a"),
        ({"statuses": ("success", "error")}, "ba"),
        ({"since_ms": 2000}, "cb"),
        ({"until_ms": 2000}, "a"),
        ({"since_ms": 2000, "until_ms": 2001}, "b"),
        ({"q": "PORTRAIT"}, "b"),
        ({"q": "portrait of"}, ""),
        ({"q": "shot_00001"}, "a"),
        ({"q": "ksampler"}, "c"),
        ({"q": "%"}, "b"),
        ({"q": "_00001_"}, "a"),
        ({"q": "c"}, "cb"),
        ({"class_type": "KSampler"}, "c"),
        ({"class_type": "ksampler"}, ""),
        ({"output": "shot_00001_.png"}, "a"),
        ({"output": "shot_00001_"}, ""),
        ({"workflow": "1:w"}, "ba"),
        ({"workflow": "1:"}, ""),
        ({"workflow": "1:w", "settings": "2:s"}, "a"),
        ({"settings": "2:S"}, ""),
        ({"environment": "other"}, "b"),
        ({"instance": "i2", "statuses": ("error",)}, "b"),
        ({"instance": "i2", "environment": "e"}, ""),
        ({"statuses": ("success",), "output": "shot_00001_.png", "until_ms": 5000}, "a"),
        ({"statuses": ("error",), "output": "shot_00001_.png"}, ""),
    ],
)
def test_filters_take_what_is_asked_for_and_only_that(store: Store, wanted: dict[str, Any], found: str) -> None:
    about = {"workflow_fingerprint": "1:w", "settings_fingerprint": "2:s"}
    kept(store, record("a", queued_ms=1000, outputs=[file("shot_00001_.png")], **about))
    about = {"workflow_fingerprint": "1:w", "environment_id": "other", "instance_id": "i2"}
    kept(store, record("b", queued_ms=2000, status="error", workflow_name="Portrait 100% c", **about))
    store.save(
        [
            Change(
                record("c", queued_ms=3000, status="running"),
                new_nodes=[NodeRecord(0, "1", "KSampler")],
            )
        ]
    )
    assert "".join(ids(store.prompts.page(Filter(**wanted), 9))) == found


def test_open_prompts_and_markers_not_yet_in_place_are_unsettled(store: Store) -> None:
    kept(store, record("q", status="queued", queued_ms=3000), record("r", status="running", queued_ms=2000))
    kept(store, record("s"), record("t", pending=[("a", "success", "x")], queued_ms=1000))
    assert ids(store.history.unsettled()) == ["t", "r", "q"]
    settled = store.prompts.record("t")
    assert settled is not None
    assert settled.pk is not None
    store.clear_pending([settled.pk])
    store.clear_pending([])
    assert ids(store.history.unsettled()) == ["r", "q"]


def test_versions_of_files_that_are_listed_are_known_by_folder_and_name(store: Store) -> None:
    one, two = FileStamp(1, 2, "3"), FileStamp(4, 5, "6")
    kept(store, record("p", outputs=[file("a", "s", stamp=one), file("b", "s"), file("a", "t", stamp=two)]))
    kept(store, record("q", outputs=[file("a", "s", stamp=two)]))
    assert store.history.listed("s", ["a", "b", "c"]) == {("a", one), ("a", two)}
    assert store.history.listed("t", ["a"]) == {("a", two)}
    assert store.history.listed("", ["a"]) == set()
    assert store.history.listed("s", (str(number) for number in range(1201))) == set()
    assert store.history.listed("s", [*map(str, range(1200)), "a"]) == {("a", one), ("a", two)}


def test_the_outputs_of_a_graph_are_those_of_its_last_success(store: Store) -> None:
    kept(store, record("p", graph_digest="d", outputs=[file("old")]))
    kept(store, record("q", graph_digest="d", outputs=[file("b"), file("a")]))
    kept(store, record("r", graph_digest="d", status="error", outputs=[file("failed")]))
    kept(store, record("s", graph_digest="e", outputs=[file("other")]))
    assert [one.filename for one in store.history.outputs_of_graph("d")] == ["b", "a"]
    assert store.history.outputs_of_graph("x") == []


# ---------------------------------------------------------------- deleting


def test_an_ended_prompt_is_deleted_with_its_nodes_and_outputs(store: Store) -> None:
    one = record("p", outputs=[file("a", stamp=FileStamp(1, 2, "3"))])
    store.save([Change(one, new_nodes=[NodeRecord(0, "1")], outputs=True)])
    kept(store, record("p", 2), record("q"))
    assert store.erasing.erase_prompt("p", 1) == 1
    assert one.pk is not None
    assert store.prompts.nodes(one.pk) == []
    assert store.history.listed("", ["a"]) == set()
    assert store.erasing.erase_prompt("p") == 1
    assert store.erasing.erase_prompt("p") == 0
    assert ids(store.prompts.page(Filter(), 9)) == ["q"]


@pytest.mark.parametrize("status", ["queued", "running"])
def test_an_open_prompt_is_never_deleted(store: Store, status: str) -> None:
    kept(store, record("p", status=status, queued_ms=1))
    assert store.erasing.erase_prompt("p") == 0
    assert [store.erasing.delete_oldest(99, before_ms) for before_ms in (10**15, None)] == [0, 0]
    assert store.count() == 1


def test_everything_before_a_time_is_deleted(store: Store) -> None:
    kept(store, *(record(str(at), queued_ms=at) for at in (1000, 2000, 3000)))
    assert store.erasing.delete_oldest(99, before_ms=2000) == 1
    assert ids(store.prompts.page(Filter(), 9)) == ["3000", "2000"]


@ON_SQLITE
@pytest.mark.parametrize("how", ["by id", "by time"])
def test_what_is_erased_is_nowhere_in_the_files_any_more(store: Store, how: str) -> None:
    names = [f"secret-project-{number}" for number in range(30)]
    for name in names:
        one = record(name, queued_ms=1000, workflow_name=f"workflow of {name}", outputs=[file(f"{name}_00001_.png")])
        news = [StreamEvent("marker.written", name, 1000, {"path": f"{name}.done"}, store.events.reserve_numbers(1))]
        store.save([Change(one, [NodeRecord(0, "1", "K", title=f"title of {name}")], outputs=True)], news=news)
    kept(store, record("stays", queued_ms=5000))
    if how == "by id":
        assert [store.erasing.erase_prompt(name) for name in names] == [1] * 30
    else:
        assert erase_until(store, 5000, lambda _seconds: None) == 30
    store.erasing.forget_log()
    assert store.events.newest() == []
    folder = store.database.file
    assert folder is not None
    for path in folder.parent.glob(f"{folder.name}*"):
        assert b"secret-project" not in path.read_bytes(), path.name
    assert ids(store.prompts.page(Filter(), 9)) == ["stays"]


def test_a_key_is_never_given_again(store: Store) -> None:
    (one,) = kept(store, record("p"))
    store.erasing.erase_prompt("p")
    (two,) = kept(store, record("q"))
    assert one.pk is not None
    assert two.pk is not None
    assert two.pk > one.pk


# ---------------------------------------------------------------- instances, environments


def test_instances_and_environments_are_found_by_id(store: Store) -> None:
    store.servers.add_instance(Instance(id="other", hostname="there", port=None))
    store.servers.set_port("other", 9000)
    assert store.servers.instances(["me", "other", "gone"]) == {
        "me": Instance(id="me", hostname="here", port=8188),
        "other": Instance(id="other", hostname="there", port=9000),
    }
    environment = Environment(id="e", devices=["cpu"])
    store.servers.add_environment(environment)
    store.servers.add_environment(environment)
    assert store.servers.environment("e") == environment
    assert store.servers.environment("x") is None


def test_every_prompt_is_exported_with_its_nodes_oldest_first(store: Store) -> None:
    for number in range(5):
        store.save([Change(record(str(number)), new_nodes=[NodeRecord(0, f"n{number}")])])
    exported = [(one.prompt_id, [node.node_id for node in nodes]) for one, nodes in store.prompts.export(batch=2)]
    assert exported == [(str(number), [f"n{number}"]) for number in range(5)]


# ---------------------------------------------------------------- event numbers


def test_event_numbers_are_reserved_once_and_for_all(store: Store, database_url: str) -> None:
    assert [store.events.reserve_numbers(count) for count in (10, 5, 1)] == [1, 11, 16]
    store.database.close()
    again = Database(database_url)
    again.open()
    assert Store(again).events.reserve_numbers(1) == 17
    again.close()


# ---------------------------------------------------------------- a store that is not there


def test_a_closed_store_says_so(store: Store) -> None:
    store.database.close()
    with pytest.raises(StoreClosedError):
        store.count()
    with pytest.raises(StoreClosedError):
        store.save([Change(record())])
    store.database.open()
    assert store.count() == 0


@ON_SQLITE
def test_a_store_that_someone_locks_says_so_and_nothing_is_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    file = store.database.file
    assert file is not None
    one = record("p")
    with sqlite3.connect(file, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DBAPIError, match="locked"):
            store.save([Change(one)])
        assert store.count() == 0
        other.execute("ROLLBACK")
    other.close()
    assert one.pk is None
    store.save([Change(one)])
    assert store.count() == 1
