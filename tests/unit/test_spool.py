"""What was acknowledged while the store could not take it outlives a kill, and is handed in once."""

import os
import sqlite3
import stat
import sys
import threading
import uuid
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from run_recorder.telemetry.markers.marking import Marking
from run_recorder.telemetry.markers.requests import INPUTS_READY
from run_recorder.telemetry.models.prompt import Instance, PromptError
from run_recorder.telemetry.models.record import NodeRecord, PromptRecord
from run_recorder.telemetry.process.identity import Identity
from run_recorder.telemetry.record.events import MarkerRun, PromptQueued
from run_recorder.telemetry.record.spool import Kept, Spool, SpoolFullError, left_in, owner_of, read_spool
from sqlalchemy.exc import OperationalError

from .desk import Desk, now
from .support import marker_node, node, saver, write


def away(*_given: object, **_named: object) -> Any:
    raise OperationalError("SELECT", {}, sqlite3.OperationalError("unable to open database file"))


def unlisted(desk: Desk) -> None:
    """As if the folder had been listed only after the first node had run: the store must be asked."""
    (run,) = desk.runs
    evidence = run.markers.evidence
    assert evidence is not None
    evidence.started_listings.clear()
    evidence.queued_listings.clear()
    evidence.undisturbed_folders = frozenset()


def spool_of(desk: Desk, name: str = "one") -> Spool:
    """Let a desk keep what its store can't take."""
    spool = Spool(desk.folder / "spool", str(uuid.uuid5(uuid.NAMESPACE_OID, name)), desk.context.instance)
    desk.writer.keep_spool(spool)
    return spool


def kept(prompt_id: str, **more: Any) -> Kept:
    return Kept(PromptRecord(prompt_id, 1, "me", queued_ms=1000, queue_number=1.0, **more))


# ---------------------------------------------------------------- the file


def test_what_is_kept_is_read_back_whole(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", str(uuid.uuid4()), Instance(id="me", hostname="here", port=8188))
    record = PromptRecord("p", 1, "me", status="error", queued_ms=5, samples=b"\0curve", notes=["one"], pk=7)
    record.error = PromptError(node_id="1", class_type="A", exception_type="ValueError", message="no")
    nodes = [NodeRecord(0, "1", "A", error=record.error, duration_seconds=0.5)]
    spool.keep([Kept(record, nodes, ended=True)])
    assert read_spool(spool.file) == [Kept(record, nodes, ended=True)]
    assert owner_of(spool.file) == (Instance(id="me", hostname="here", port=8188), Identity())
    assert sys.platform == "win32" or stat.S_IMODE(spool.file.stat().st_mode) == 0o600
    assert [path for _, path in left_in(tmp_path / "spool")] == [spool.file]


def test_the_newest_state_of_a_run_is_the_one_that_counts(tmp_path: Path) -> None:
    spool = Spool(tmp_path, str(uuid.uuid4()), Instance(id="me"))
    spool.keep([kept("p"), kept("q")])
    spool.keep([kept("p", status="success")])
    assert [(one.record.prompt_id, one.record.status) for one in spool.read()] == [("p", "success"), ("q", "queued")]


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_line_that_a_kill_cut_off_costs_only_itself(tmp_path: Path, cut: int) -> None:
    spool = Spool(tmp_path, str(uuid.uuid4()), Instance(id="me"))
    spool.keep([kept("p")])
    spool.keep([kept("q")])
    data = spool.file.read_bytes()
    spool.file.write_bytes(data[:-cut])
    assert [one.record.prompt_id for one in read_spool(spool.file)] == ["p"] if cut > 1 else ["p", "q"]
    spool.file.write_bytes(data.replace(b"queued", b"quEued", 1))
    assert [one.record.prompt_id for one in read_spool(spool.file)] == ["q"]


def test_a_spool_that_is_full_says_so_and_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, str(uuid.uuid4()), Instance(id="me"))
    spool.keep([kept("p")])
    monkeypatch.setattr("run_recorder.telemetry.record.spool.MAX_BYTES", 10)
    with pytest.raises(SpoolFullError):
        spool.keep([kept("q")])
    assert [one.record.prompt_id for one in spool.read()] == ["p"]


def test_a_write_that_fails_half_way_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, str(uuid.uuid4()), Instance(id="me"))
    spool.keep([kept("p")])

    def broken(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(OSError):
            spool.keep([kept("q")])
    spool.keep([kept("r")])
    assert [one.record.prompt_id for one in spool.read()] == ["p", "r"]


def test_a_thread_whose_write_fails_takes_nothing_of_another_s_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, str(uuid.uuid4()), Instance(id="me"))
    spool.keep([kept("p")])
    written, others_turn = threading.Event(), threading.Event()
    honest = os.fsync

    def fail_late(descriptor: int) -> None:
        if threading.current_thread() is not unlucky:
            return honest(descriptor)
        written.set()
        others_turn.wait(0.3)  # without a lock the other thread's line is written now, and cut off with this one
        raise OSError(28, "No space left on device")

    def try_in_vain() -> None:
        with pytest.raises(OSError):
            spool.keep([kept("unlucky")])

    monkeypatch.setattr(os, "fsync", fail_late)
    unlucky = threading.Thread(target=try_in_vain)
    unlucky.start()
    assert written.wait(5)
    spool.keep([kept("lucky")])
    others_turn.set()
    unlucky.join(5)
    assert [one.record.prompt_id for one in spool.read()] == ["p", "lucky"]


def test_an_empty_spool_leaves_no_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path, str(uuid.uuid4()), Instance(id="me"))
    spool.keep([kept("p")])
    spool.clear()
    assert spool.read() == []
    spool.keep([kept("q")])
    assert owner_of(spool.file) == (Instance(id="me"), Identity())
    spool.clear()
    spool.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="makes links")
def test_a_spool_is_never_written_or_read_through_a_link(tmp_path: Path) -> None:
    spool = Spool(tmp_path, str(uuid.uuid4()), Instance(id="me"))
    target = write(tmp_path / "target")
    spool.file.symlink_to(target)
    with pytest.raises(OSError):
        spool.keep([kept("p")])
    with pytest.raises(OSError):
        read_spool(spool.file)
    assert target.read_bytes() == b"data"


# ---------------------------------------------------------------- the store is away at a prompt's end


def test_a_marker_is_written_and_told_while_the_store_is_away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = spool_of(desk)
    desk.begin()
    write(desk.output / "shot" / "a_00001_.png")
    desk.step(*desk.ran("1", "3"))
    monkeypatch.setattr(desk.store, "save", away)
    desk.end(outputs={"3": {"images": [{"filename": "a_00001_.png", "subfolder": "shot", "type": "output"}]}})
    assert desk.names() == ["a_00001_.png"]
    assert not desk.runs
    assert desk.record().status != "success"
    assert spool.read()[0].record.status == "success"
    monkeypatch.undo()
    desk.later()
    desk.step()
    assert (desk.record().status, desk.record().pending) == ("success", [])
    assert spool.read() == []
    assert not desk.hints()
    told = [event.kind for event in desk.store.events.newest()]
    assert told == ["prompt.queued", "prompt.started", "marker.written", "prompt.finished"]


def test_a_store_that_refuses_at_the_end_again_and_again_costs_no_marker(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked of the store to decide a marker is asked until it answers."""
    spool_of(desk)
    desk.begin()
    write(desk.output / "shot" / "a_00001_.png")
    desk.step(*desk.ran("1", "3"))
    monkeypatch.setattr(desk.store.history, "listed", away)
    monkeypatch.setattr(desk.store, "save", away)
    unlisted(desk)
    desk.end()
    for _ in range(5):
        desk.later()
        desk.step()
    assert not (desk.output / "shot" / "a.done").exists()
    assert "markers" not in desk.hints()
    monkeypatch.undo()
    desk.later()
    desk.step()
    assert desk.names() == ["a_00001_.png"]
    assert not desk.hints()


def test_inputs_ready_is_written_though_the_store_is_away_and_the_marker_says_so(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = {"3": saver("shot/a"), "4": marker_node(filename_prefix="shot/a", when=INPUTS_READY)}
    desk.begin(graph=graph)
    write(desk.output / "shot" / "a_00001_.png")
    unlisted(desk)
    monkeypatch.setattr(desk.store.history, "listed", away)
    settled: Future[str] = Future()
    desk.step(MarkerRun("p", "4", "shot/a", INPUTS_READY, "write .failed", False, settled))
    assert settled.result(0) == "shot/a.done"
    assert (desk.marker().Status, desk.names()) == ("running", ["a_00001_.png"])
    assert any("could not be asked" in note for note in desk.marker().Notes)


def test_inputs_ready_that_was_held_up_until_the_prompt_had_ended_is_still_written(desk: Desk) -> None:
    graph = {"3": saver("shot/a"), "4": marker_node(filename_prefix="shot/a", when=INPUTS_READY)}
    desk.begin(graph=graph)
    write(desk.output / "shot" / "a_00001_.png")
    settled: Future[str] = Future()
    desk.inbox.append(MarkerRun("p", "4", "shot/a", INPUTS_READY, "write .failed", False, settled))
    desk.end()
    assert desk.marker().Status == "running"
    assert not any("did not run" in note for note in desk.record().notes)
    assert [entry.status for entry in desk.record().markers] == ["running"]


# ---------------------------------------------------------------- what a dead process left


def queue_into_spool(desk: Desk, prompt_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = {"1": node("A")}
    event = PromptQueued(prompt_id, now(), 3, graph, frozenset(graph), False)
    with monkeypatch.context() as patch:
        patch.setattr(desk.store, "save", away)
        desk.step(event)
        (run,) = desk.runs.of(prompt_id)
        assert desk.context.kept.keep([Kept(run.record)])


def test_a_prompt_that_was_only_in_the_spool_is_abandoned_by_the_next_process(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spool = spool_of(desk)
    queue_into_spool(desk, "p", monkeypatch)
    assert desk.record("p") is None
    later = Desk(tmp_path, "later")
    later.writer.inherit(spool.file)
    later.step()
    later.step()
    found = later.record("p")
    assert (found.status, found.instance_id) == ("abandoned", "me")
    assert not spool.file.exists()
    told = [event.kind for event in later.store.events.newest() if event.prompt_id == "p"]
    assert told == ["prompt.queued", "prompt.finished"]


def test_an_end_that_was_only_in_the_spool_is_handed_in_with_its_marker_s_rename(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spool = spool_of(desk)
    desk.begin()
    write(desk.output / "shot" / "a_00001_.png")
    desk.step(*desk.ran("1", "3"))
    monkeypatch.setattr(desk.store, "save", away)
    monkeypatch.setattr(Marking, "place", lambda _self, _record, _prepared: True)  # killed before the rename
    desk.end(outputs={"3": {"images": [{"filename": "a_00001_.png", "subfolder": "shot", "type": "output"}]}})
    assert not (desk.output / "shot" / "a.done").exists()
    monkeypatch.undo()
    later = Desk(tmp_path, "later")
    later.writer.inherit(spool.file)
    later.step()
    later.step()
    found = later.record("p")
    assert (found.status, found.run_number, found.pending) == ("success", 1, [])
    assert later.names() == ["a_00001_.png"]
    assert [file.filename for file in found.outputs] == ["a_00001_.png"]
    assert [one.class_type for one in later.store.prompts.nodes(found.pk)] == ["EmptyImage", "SaveImage"]


def test_what_the_store_has_already_is_not_handed_in_twice(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spool = spool_of(desk)
    queue_into_spool(desk, "p", monkeypatch)
    left = spool.file.read_bytes()
    desk.later()
    desk.step()
    assert desk.record("p").status == "queued"
    spool.file.write_bytes(left)  # killed between the commit and the emptying
    later = Desk(tmp_path, "later")
    later.writer.inherit(spool.file)
    later.step()
    assert later.store.count() == 1


def test_a_spool_waits_while_the_store_is_away(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spool = spool_of(desk)
    queue_into_spool(desk, "p", monkeypatch)
    later = Desk(tmp_path, "later")
    later.writer.inherit(spool.file)
    monkeypatch.setattr(later.store.history, "find_run", away)
    later.step()
    assert spool.file.exists()
    monkeypatch.undo()
    later.later()
    later.step()
    later.step()
    assert later.record("p").status == "abandoned"
    assert not spool.file.exists()


# ---------------------------------------------------------------- health comes back


def test_health_is_well_again_after_each_time_that_the_store_is_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool_of(desk)
    for number in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(desk.store, "save", away)
            desk.whole(f"p{number}")
            assert set(desk.hints()) == {"store"}
        desk.later()
        desk.step()
        assert desk.hints() == {}


def test_health_is_well_again_once_markers_can_be_written(desk: Desk) -> None:
    for number in range(3):
        (desk.output / "shot" / "a.done").unlink(missing_ok=True)
        (desk.output / "shot" / "a.done").mkdir(parents=True)
        desk.whole(f"bad{number}")
        assert set(desk.hints()) == {"marker"}
        (desk.output / "shot" / "a.done").rmdir()
        desk.whole(f"good{number}")
        assert desk.hints() == {}


def test_health_is_well_again_once_markers_can_be_decided(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("run_recorder.telemetry.record.settling.decide", lambda *_: 1 / 0)
        desk.whole("bad")
        for _ in range(3):
            desk.step()
        assert set(desk.hints()) == {"markers"}
    desk.whole("good")
    assert desk.hints() == {}, "the next prompt was settled"
