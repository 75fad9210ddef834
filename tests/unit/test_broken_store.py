"""A database that turns out to be corrupt while it is used: set aside, and everything open goes into a new one."""

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_recorder.telemetry.models.environment import Environment
from run_recorder.telemetry.models.times import Stamp
from run_recorder.telemetry.record.events import (
    NodeFinished,
    NodeStarted,
    PromptDone,
    PromptOutcome,
    PromptQueued,
    PromptStarted,
)
from run_recorder.telemetry.record.host import HostProcess
from run_recorder.telemetry.record.recording import Recording
from run_recorder.telemetry.record.spool import FOLDER, SUFFIX, read_spool
from sqlalchemy.exc import DatabaseError


def now() -> Stamp:
    return Stamp(time.time(), time.perf_counter())


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    roots = {name: tmp_path / name for name in ("output", "temp", "input")}
    for folder in roots.values():
        folder.mkdir()
    host = HostProcess(
        private_folder=tmp_path / "private",
        roots=lambda: roots,
        worker_alive=lambda: True,
        is_choice=lambda *_: False,
        port=lambda: 8188,
        environment=lambda: Environment(id="e"),
    )
    found = Recording(host)
    found.start()
    assert found.ready.wait(10)
    yield found
    found.stop()


def run(recording: Recording, prompt_id: str, number: int = 0) -> None:
    graph = {"1": {"class_type": "WriteDoneMarker", "inputs": {"filename_prefix": f"shot/{prompt_id}"}}}
    recording.inbox.urge(PromptQueued(prompt_id, now(), number, graph, frozenset({"1"}), False))
    recording.inbox.urge(PromptStarted(prompt_id, now(), number))
    recording.inbox.append(NodeStarted(prompt_id, "1", time.perf_counter()))
    recording.inbox.append(NodeFinished(prompt_id, "1", time.perf_counter()))
    recording.inbox.append(PromptOutcome(prompt_id, now(), "success"))
    recording.inbox.urge(PromptDone(prompt_id, now(), {}, True))


def until_saved(recording: Recording, prompt_id: str) -> None:
    deadline = time.monotonic() + 10
    while recording.reading.is_open(prompt_id):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def until_stored(recording: Recording, prompt_id: str, run_number: int = 1) -> None:
    deadline = time.monotonic() + 10
    while recording.reading.is_failing or recording.store.prompts.record(prompt_id, run_number) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_store_that_breaks_is_set_aside_and_the_open_prompt_is_kept(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(recording, "one")
    until_saved(recording, "one")
    store = recording.store
    honest = store.save

    def broken(*args: object, **kwargs: object) -> None:
        monkeypatch.setattr(store, "save", honest)
        raise DatabaseError("UPDATE", {}, sqlite3.DatabaseError("database disk image is malformed"))

    monkeypatch.setattr(store, "save", broken)
    run(recording, "two")
    until_saved(recording, "two")
    found = recording.reading.prompt("two")
    assert found is not None and found.status == "success"
    until_stored(recording, "two")
    assert recording.reading.prompt("one") is None, "it is in the file that was set aside"
    private = recording.host.private_folder
    assert len(list(private.glob("*.corrupt-*"))) >= 1
    assert {problem.what for problem in recording.problems.all()} == {"store corrupt"}
    assert (recording.host.roots()["output"] / "shot" / "two.done").exists()


def refusing(*args: object, **kwargs: object) -> None:
    raise DatabaseError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))


def test_ended_prompts_beyond_the_bound_are_let_go_and_counted_where_the_spool_is_full_too(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("run_recorder.telemetry.record.writer.MAX_UNSAVED", 3)
    monkeypatch.setattr("run_recorder.telemetry.record.store_access.STORE_RETRY_SECONDS", 0.05)
    monkeypatch.setattr("run_recorder.telemetry.record.spool.MAX_BYTES", 10)
    store = recording.store
    honest = store.save
    monkeypatch.setattr(store, "save", refusing)
    for number in range(8):
        run(recording, f"p{number}", number)
    deadline = time.monotonic() + 10
    while recording.store_health().dropped < 5:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "records dropped" in {problem.what for problem in recording.problems.all()}
    monkeypatch.setattr(store, "save", honest)
    for number in (5, 6, 7):
        until_saved(recording, f"p{number}")
        kept = recording.reading.prompt(f"p{number}")
        assert kept is not None and kept.status == "success"
    assert recording.store_health().dropped == 5


def test_ends_in_the_spool_are_certain_and_handed_in_in_their_order(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("run_recorder.telemetry.record.kept_ends.MAX_IN_MEMORY", 3)
    counted: list[str] = []
    recording.when_ended(lambda record, _nodes: counted.append(record.prompt_id))
    store = recording.store
    honest = store.save
    monkeypatch.setattr(store, "save", refusing)
    for number in range(8):
        run(recording, f"p{number}", number)
    for number in range(8):
        until_saved(recording, f"p{number}")
        assert (recording.host.roots()["output"] / "shot" / f"p{number}.done").exists()
    newest = recording.reading.prompt("p7")
    assert newest is not None and newest.status == "success" and newest.markers[0].status == "success"
    assert recording.reading.nodes("p7")
    monkeypatch.setattr(store, "save", honest)
    for number in range(8):
        until_stored(recording, f"p{number}")
        stored = store.prompts.record(f"p{number}")
        assert stored is not None and stored.pk is not None and stored.status == "success"
        assert [node.class_type for node in store.prompts.nodes(stored.pk)] == ["WriteDoneMarker"]
    (spool,) = (recording.host.private_folder / FOLDER).glob(f"*{SUFFIX}")
    deadline = time.monotonic() + 5
    while read_spool(spool):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert store.count() == 8
    assert sorted(counted) == [f"p{number}" for number in range(8)], "each once"
    assert recording.store_health().dropped == 0
    assert not recording.problems.all()


def test_run_numbers_are_put_right_when_the_store_could_not_be_asked(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(recording, "again")
    until_saved(recording, "again")
    store = recording.store
    honest = store.history.last_run_number

    def locked(_prompt_id: str) -> int:
        monkeypatch.setattr(store.history, "last_run_number", honest)
        raise DatabaseError("SELECT", {}, sqlite3.OperationalError("database is locked"))

    monkeypatch.setattr(store.history, "last_run_number", locked)
    run(recording, "again")
    until_saved(recording, "again")
    until_stored(recording, "again", 2)
    newest = recording.reading.prompt("again")
    assert newest is not None and newest.run_number == 2
