"""The writer, step by step: what it saves, which markers it writes, whom it answers, and what it does when it can't."""

import asyncio
import gc
import hashlib
import itertools
import json
import os
import sqlite3
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from run_recorder.telemetry.files.temporaries import is_temporary
from run_recorder.telemetry.markers import file as marker_module
from run_recorder.telemetry.markers import folder as folder_module
from run_recorder.telemetry.markers import hashing as hashing_module
from run_recorder.telemetry.markers import listings as listings_module
from run_recorder.telemetry.markers import marking as marking_module
from run_recorder.telemetry.markers import readiness
from run_recorder.telemetry.markers.file import MarkerPlace
from run_recorder.telemetry.markers.hashing import CUT_SHORT, Hashed, HashedFile
from run_recorder.telemetry.markers.listings import PAUSE
from run_recorder.telemetry.markers.marking import OVERTAKEN, Marking
from run_recorder.telemetry.markers.requests import INPUTS_READY, WRITE_NOTHING
from run_recorder.telemetry.markers.share import Share
from run_recorder.telemetry.models.environment import Environment
from run_recorder.telemetry.models.marker import DoneMarker
from run_recorder.telemetry.models.prompt import Prompt
from run_recorder.telemetry.models.record import PromptRecord
from run_recorder.telemetry.models.times import Stamp
from run_recorder.telemetry.process.identity import Identity
from run_recorder.telemetry.record import committing, gathering, hash_waits, settling, starting
from run_recorder.telemetry.record.events import (
    Event,
    ExpandedNode,
    MarkerRun,
    NodeFinished,
    NodeProgress,
    NodeStarted,
    PromptCached,
    PromptDone,
    PromptOutcome,
    PromptQueued,
    PromptStarted,
    PromptUnqueued,
)
from run_recorder.telemetry.record.finishing import Finishing
from run_recorder.telemetry.record.outstanding import Outstanding
from run_recorder.telemetry.record.recorder import UNTOLD_END, UNTOLD_OUTPUTS, WORKER_DIED
from run_recorder.telemetry.record.recovery import ANOTHERS, DIED
from run_recorder.telemetry.record.set_aside import FOLDER as ASIDE
from run_recorder.telemetry.record.settling import FILE_PATIENCE_SECONDS
from run_recorder.telemetry.record.spool import Spool
from run_recorder.telemetry.record.starting import Starting
from run_recorder.telemetry.record.store_access import STORE_RETRY_SECONDS
from run_recorder.telemetry.record.writer import QUEUED_INTERVAL_SECONDS
from run_recorder.telemetry.store.changes import Change
from sqlalchemy.exc import DatabaseError

from .desk import GRAPH, Desk, now
from .support import image, marker_node, node, saver, tree, write

FULL = OSError(28, "No space left on device")
MALFORMED = DatabaseError("a statement", {}, sqlite3.DatabaseError("database disk image is malformed"))


@pytest.fixture
def patient(desk: Desk) -> Callable[[], None]:
    """Call it to turn the clock on so far that missing files and a failing store have been waited for."""
    return lambda: desk.later(FILE_PATIENCE_SECONDS + 1)


def failing(patch: pytest.MonkeyPatch, part: object, name: str = "save", error: Exception = FULL) -> Callable[[], None]:
    """Let a method of the store, or of a part of it, fail until the returned function is called."""
    real = getattr(part, name)
    state = {"broken": True}

    def method(*given: Any, **named: Any) -> Any:
        if state["broken"]:
            raise error
        return real(*given, **named)

    patch.setattr(part, name, method)
    return lambda: state.update(broken=False)


# ---------------------------------------------------------------- a prompt's life in the store


@pytest.mark.parametrize("fails", [False, True], ids=["committed", "not committed"])
def test_what_a_reader_takes_in_during_a_commit_is_saved_by_the_next_one(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, patient: Callable[[], None], fails: bool
) -> None:
    desk.begin()
    save = desk.store.save

    def save_meanwhile(*args: Any, **more: Any) -> None:
        if not fails:
            save(*args, **more)
        desk.inbox.append(NodeFinished("p", "1", now().mono))
        desk.context.take_in()
        if fails:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(desk.store, "save", save_meanwhile)
    desk.step(NodeStarted("p", "1", now().mono))
    monkeypatch.setattr(desk.store, "save", save)
    patient()
    desk.step()
    assert [node.duration_seconds is not None for node in desk.store.prompts.nodes(desk.record().pk)] == [True]
    desk.end()
    assert [node.duration_seconds is not None for node in desk.store.prompts.nodes(desk.record().pk)] == [True]


def test_each_step_of_a_prompt_is_in_the_store_and_its_end_is_committed_with_its_marker(desk: Desk) -> None:
    assert desk.writer.timeout() is None
    desk.queue()
    assert (desk.record().status, desk.record().queued_ms is not None) == ("queued", True)
    assert [one.status for one in desk.record().markers] == ["due"]
    assert desk.writer.timeout() == 1.0
    desk.step(PromptStarted("p", now()), NodeStarted("p", "1", now().mono), NodeProgress("p", "1", 3, 9))
    assert (desk.record().status, desk.record().current_node.node_id, desk.record().current_node.value) == (
        "running",
        "1",
        3,
    )
    assert desk.writer.timeout() == 0.2
    write(desk.output / "shot/a_00001_.png", b"12345")
    desk.step(NodeFinished("p", "1", now().mono), *desk.ran("3"))
    assert not (desk.output / "shot/a.done").exists()
    desk.end(outputs={"3": image("a_00001_.png", "shot")})
    record = desk.record()
    assert (record.status, record.plan, record.pending, record.current_node) == ("success", None, [], None)
    assert (record.node_total, record.node_executed, record.node_cached) == (3, 2, 0)
    assert [(one.path, one.status) for one in record.markers] == [("shot/a.done", "success")]
    assert [(one.node_id, one.filename, one.subfolder, one.stamp.bytes) for one in record.outputs] == [
        ("3", "a_00001_.png", "shot", 5)
    ]
    assert [one.node_id for one in desk.store.prompts.nodes(record.pk)] == ["1", "3"]
    assert record.workflow_fingerprint.startswith("1:")
    assert record.settings_fingerprint.startswith("2:")
    assert record.graph_digest
    marker = desk.marker()
    assert (marker.Status, marker.PromptId, marker.Producer, marker.Cached) == ("success", "p", "node", False)
    assert [(file.Name, file.Bytes, file.NodeId) for file in marker.Files] == [("a_00001_.png", 5, "3")]
    assert marker.Notes == []
    assert marker.Timestamp == record.markers[0].written_at
    assert not desk.runs
    assert desk.writer.timeout() is None
    assert desk.problems.all() == []


def test_all_of_a_prompt_in_one_step_is_recorded_all_the_same(desk: Desk) -> None:
    events: list[Event] = [
        PromptQueued("p", now(), 1, GRAPH, frozenset(GRAPH), False),
        PromptStarted("p", now()),
        *desk.ran("1"),
    ]
    for event in events:
        desk.inbox.append(event)
    write(desk.output / "shot" / "a_00001_.png")
    desk.inbox.append(PromptOutcome("p", now(), "success"))
    desk.step(PromptDone("p", now(), {"3": image("a_00001_.png", "shot")}, True))
    assert desk.record().status == "success"
    assert desk.names() == ["a_00001_.png"]


def test_a_prompt_without_a_marker_node_writes_none(desk: Desk) -> None:
    desk.whole(graph={"1": node("EmptyImage"), "3": saver("shot/a")})
    assert desk.record().status == "success"
    assert [one.filename for one in desk.record().outputs] == ["a_00001_.png"]
    assert tree(desk.output) == ["shot/a_00001_.png"]


def test_a_cancelled_prompt_writes_and_removes_nothing(desk: Desk) -> None:
    write(desk.output / "shot" / "a.done", b"an earlier prompt's")
    desk.queue()
    desk.step(PromptUnqueued("p", now(), GRAPH))
    assert desk.record().status == "cancelled"
    assert [one.status for one in desk.record().markers] == ["not written"]
    assert tree(desk.output) == ["shot/a.done"]


def test_the_environment_of_the_start_is_recorded(desk: Desk) -> None:
    desk.begin()
    desk.writer.runs_on(Environment(id="e"))
    desk.end()
    assert desk.record().environment_id == "e"
    desk.whole("q")
    assert desk.record("q").environment_id == "e"


def test_what_ran_before_the_environment_was_known_is_given_it(desk: Desk, tmp_path: Path) -> None:
    desk.whole()
    desk.queue("cancelled")
    desk.step(PromptUnqueued("cancelled", now(), GRAPH))
    other = Desk(tmp_path, "other")
    other.whole("of another")
    assert desk.record().environment_id is None
    desk.writer.runs_on(Environment(id="e"))
    desk.step()
    assert desk.record().environment_id == "e"
    assert desk.record("cancelled").environment_id is None, "it ran on nothing"
    assert desk.record("of another").environment_id is None
    other.database.close()


def test_what_belongs_to_no_prompt_is_written_later_where_the_disk_is_full(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, patient: Callable[[], None]
) -> None:
    desk.context.instance.port, desk.port = None, 8189
    mend = [failing(monkeypatch, desk.store.servers, name) for name in ("add_environment", "set_port")]
    desk.writer.runs_on(Environment(id="e"))
    desk.step()
    assert "store" in desk.hints()
    assert desk.writer.timeout() == STORE_RETRY_SECONDS, "it is tried again though no prompt runs"
    for each in mend:
        each()
    patient()
    desk.step()
    desk.step()
    assert desk.hints() == {}
    assert desk.store.servers.environment("e") == Environment(id="e")
    assert desk.store.servers.instances(["me"])["me"].port == 8189


def test_a_port_that_is_known_late_is_learnt_once(desk: Desk) -> None:
    desk.context.instance.port, desk.port = None, None
    desk.step()
    assert desk.store.servers.instances(["me"])["me"].port == 8188
    desk.port = 9000
    desk.step()
    assert desk.store.servers.instances(["me"])["me"].port == 9000


def test_a_node_that_only_changes_is_not_added_again(desk: Desk) -> None:
    desk.begin()
    for step in range(3):
        desk.step(NodeStarted("p", "1", now().mono), NodeProgress("p", "1", step, 9))
    desk.step(NodeFinished("p", "1", now().mono))
    desk.step(NodeProgress("p", "1", 9, 10))
    (one,) = desk.store.prompts.nodes(desk.record().pk)
    assert (one.progress_max, one.duration_seconds is not None) == (10, True)


def test_an_event_that_is_not_understood_costs_no_other(desk: Desk) -> None:
    desk.step(PromptQueued("p", None, 1, GRAPH, frozenset(), False))  # type: ignore[arg-type]
    desk.queue("q")
    assert desk.record("q").status == "queued"
    assert "PromptQueued" in desk.hints()["recorder"]


def test_a_graph_that_has_no_fingerprint_is_recorded_without(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_graph: Any, _is_choice: Any) -> tuple[str, str]:
        raise ValueError("odd")

    monkeypatch.setattr(gathering, "fingerprints", broken)
    desk.whole()
    assert (desk.record().status, desk.record().workflow_fingerprint) == ("success", None)
    assert "fingerprint" in desk.hints()


# ---------------------------------------------------------------- which files


def test_a_saver_that_reports_nothing_is_found_on_the_disk(desk: Desk) -> None:
    write(desk.output / "shot" / "a_00001_.exr", b"old")
    write(desk.output / "shot" / "b_00001_.exr", b"another's")
    desk.begin()
    write(desk.output / "shot" / "a_00002_.exr")
    write(desk.output / "shot" / ".hidden_00001_.exr")
    write(desk.output / "shot" / "a_00003_.tmp")
    desk.step(*desk.ran("1", "3"))
    desk.end()
    assert desk.names() == ["a_00002_.exr"]
    assert desk.marker().Files[0].NodeId is None
    assert [(one.node_id, one.filename) for one in desk.record().outputs] == [(None, "a_00002_.exr")]


def test_a_file_that_was_overwritten_is_new(desk: Desk) -> None:
    write(desk.output / "shot" / "a_00001_.exr", b"old", modified=1000)
    write(desk.output / "shot" / "a_00002_.exr", b"old", modified=1000)
    desk.begin()
    write(desk.output / "shot" / "a_00001_.exr", b"newer")
    desk.step(*desk.ran("1", "3"))
    desk.end()
    assert desk.names() == ["a_00001_.exr"]


def test_reported_and_found_files_are_listed_together_in_their_order(desk: Desk) -> None:
    desk.begin()
    for name in ("a_00002_.png", "a_00010_.exr", "a_00001_.exr"):
        write(desk.output / "shot" / name)
    desk.step(*desk.ran("1", "3"))
    desk.end(outputs={"3": image("a_00002_.png", "shot")})
    assert desk.names() == ["a_00001_.exr", "a_00002_.png", "a_00010_.exr"]


def test_temp_files_and_other_folders_are_not_the_marker_s(desk: Desk) -> None:
    desk.begin()
    write(desk.output / "shot" / "a_00001_.png")
    write(desk.roots["temp"] / "a_00009_.png")
    desk.step(*desk.ran("1", "3"))
    outputs = {"3": image("a_00001_.png", "shot"), "1": image("a_00009_.png", "", "temp")}
    desk.end(outputs=outputs)
    assert tree(desk.output) == ["shot/a.done", "shot/a_00001_.png"]
    assert desk.names() == ["a_00001_.png"]
    assert sorted(one.filename for one in desk.record().outputs) == ["a_00001_.png", "a_00009_.png"]


def test_a_path_that_a_node_reports_as_a_string_counts_where_it_is_there(desk: Desk) -> None:
    desk.begin()
    write(desk.output / "shot" / "a_00001_.glb")
    desk.end(outputs={"3": {"result": ["shot/a_00001_.glb", "no/such.glb", None]}})
    assert desk.names() == ["a_00001_.glb"]
    assert desk.marker().Files[0].NodeId == "3"
    assert [one.filename for one in desk.record().outputs] == ["a_00001_.glb"]


def test_a_file_that_two_nodes_report_is_recorded_of_both_and_marked_once(desk: Desk) -> None:
    desk.begin()
    write(desk.output / "shot" / "a_00001_.png")
    desk.end(outputs={"3": image("a_00001_.png", "shot"), "1": image("a_00001_.png", "shot")})
    assert desk.names() == ["a_00001_.png"]
    assert sorted(one.node_id for one in desk.record().outputs) == ["1", "3"]


def test_files_of_two_prefixes_get_a_marker_each(desk: Desk) -> None:
    graph = {"3": saver("shot/a"), "4": saver("b"), "9": marker_node()}
    desk.begin(graph=graph)
    write(desk.output / "shot" / "a_00001_.png")
    write(desk.output / "b_00001_.png")
    desk.end(outputs={"3": image("a_00001_.png", "shot"), "4": image("b_00001_.png")})
    assert desk.names() == ["a_00001_.png"]
    assert desk.names("b.done") == ["b_00001_.png"]
    assert sorted(one.path or "" for one in desk.record().markers) == ["b.done", "shot/a.done"]


def test_two_markers_of_one_prefix_are_one_file_with_the_union(desk: Desk) -> None:
    graph = {"3": saver("a"), "8": marker_node(filename_prefix="a"), "9": marker_node(hash_files=True)}
    desk.begin(graph=graph)
    write(desk.output / "a_00001_.png")
    desk.end(outputs={"3": image("a_00001_.png")})
    desk.rung()
    assert desk.names("a.done") == ["a_00001_.png"]
    assert desk.marker("a.done").Files[0].Sha256
    assert [one.path for one in desk.record().markers] == ["a.done"]


def test_a_marker_of_its_own_prefix_lists_only_what_is_under_it(desk: Desk) -> None:
    graph = {"3": saver("a"), "9": marker_node(filename_prefix="mine/all")}
    desk.begin(graph=graph)
    write(desk.output / "a_00001_.png")
    desk.end(outputs={"3": image("a_00001_.png")})
    assert tree(desk.output) == ["a_00001_.png", "mine/all.done"]
    assert (desk.marker("mine/all.done").FrameCount, desk.marker("mine/all.done").Latest) == (0, None)
    assert desk.marker("mine/all.done").Notes == ["no file was found under this prefix"]


def test_a_marker_takes_the_prefix_under_which_its_saver_reported(desk: Desk) -> None:
    literal = "%year%/%width%_a"
    desk.begin(graph={"3": saver(literal), "9": marker_node(filename_prefix=literal)})
    write(desk.output / "1999" / "64_a_00001_.png")
    desk.end(outputs={"3": image("64_a_00001_.png", "1999")})
    assert desk.names("1999/64_a.done") == ["64_a_00001_.png"]


def test_a_silent_saver_with_tokens_is_found_under_what_they_came_to(desk: Desk) -> None:
    desk.begin(graph={"3": saver("%year%/a_%width%"), "9": marker_node()})
    name = f"{time.strftime('%Y')}/a_64"
    write(desk.output / f"{name}_00001_.exr")
    desk.end()
    assert desk.names(f"{name}.done") == ["a_64_00001_.exr"]


@pytest.mark.parametrize("literal", ["a_%width%", "%height%/x"])
def test_a_marker_with_a_size_in_its_prefix_that_no_saver_filled_in_is_a_note(desk: Desk, literal: str) -> None:
    desk.begin(graph={"3": saver("b"), "9": marker_node(filename_prefix=literal)})
    desk.end()
    assert [one.status for one in desk.record().markers] == ["not written"]
    assert any("which only a saver can fill in" in note for note in desk.record().notes)
    assert tree(desk.output) == []


def test_a_prompt_without_any_saver_has_no_prefix_and_says_so(desk: Desk) -> None:
    desk.begin(graph={"1": node("EmptyImage"), "9": marker_node()})
    desk.end()
    assert desk.record().notes[-1] == "no marker from node 9: no file was saved, so there is no prefix"
    assert [one.status for one in desk.record().markers] == ["not written"]


def test_a_prompt_id_in_a_prefix_is_filled_in(desk: Desk) -> None:
    desk.begin("me", graph={"9": marker_node(filename_prefix="jobs/%prompt_id%")})
    desk.end("me")
    assert tree(desk.output) == ["jobs/me.done"]


def test_a_hostile_prompt_id_in_a_prefix_leads_nowhere(desk: Desk) -> None:
    desk.begin("../../x", graph={"9": marker_node(filename_prefix="jobs/%prompt_id%")})
    desk.end("../../x")
    assert [one.status for one in desk.record("../../x").markers] == ["not written"]
    assert "'..'" in desk.record("../../x").notes[-1]
    assert not (desk.folder / "x.done").exists()


def test_a_wired_prefix_is_learnt_from_the_node_s_run(desk: Desk) -> None:
    desk.begin(graph={"3": saver("b"), "9": marker_node(filename_prefix=["4", 0])})
    desk.step(MarkerRun("p", "9", "wired/x", "prompt completes", WRITE_NOTHING, False))
    desk.end()
    assert tree(desk.output) == ["wired/x.done"]


def test_a_wired_prefix_that_is_bad_is_a_note_and_no_failure(desk: Desk) -> None:
    desk.begin(graph={"3": saver("b"), "9": marker_node(filename_prefix=["4", 0])})
    desk.step(MarkerRun("p", "9", "../x", "prompt completes", WRITE_NOTHING, False))
    desk.end()
    assert (desk.record().status, tree(desk.output)) == ("success", [])
    assert "leads upwards" in desk.record().notes[-1]


def test_a_wired_prefix_that_was_never_told_is_a_note(desk: Desk) -> None:
    desk.begin(graph={"3": saver("b"), "9": marker_node(filename_prefix=["4", 0])})
    desk.end(status="error", message="no")
    assert any("was not known: the node did not run" in note for note in desk.record().notes)


def test_a_marker_that_cannot_be_written_is_a_note_and_a_problem(desk: Desk) -> None:
    write(desk.output / "file")
    desk.begin(graph={"9": marker_node(filename_prefix="file/x")})
    desk.end()
    assert desk.record().status == "success"
    assert [one.status for one in desk.record().markers] == ["not written"]
    assert "stands in a folder that is a file" in desk.record().notes[-1]


def test_a_marker_that_cannot_be_put_in_place_is_taken_back_from_the_record(desk: Desk) -> None:
    (desk.output / "shot" / "a.done").mkdir(parents=True)
    desk.whole()
    record = desk.record()
    assert [(one.path, one.status, one.written_at) for one in record.markers] == [(None, "not written", None)]
    assert "could not be put in place" in record.notes[-1]
    assert "marker" in desk.hints()
    assert [path.name for path in (desk.output / "shot").iterdir() if is_temporary(path.name)] == []
    assert marker_events(desk) == []
    assert "marker.written" not in [kind for _, kind, _ in heard(desk)]
    assert desk.record().pending == []


def marker_events(desk: Desk) -> list[object]:
    """The paths of which the store keeps an event that a marker was written."""
    return [event.data["path"] for event in desk.store.events.newest() if event.kind == "marker.written"]


def test_only_the_marker_that_could_not_be_put_in_place_is_taken_back(desk: Desk) -> None:
    (desk.output / "shot" / "a.done").mkdir(parents=True)
    graph = {"3": saver("shot/a"), "4": saver("b"), "9": marker_node()}
    desk.begin(graph=graph)
    write(desk.output / "shot" / "a_00001_.png")
    write(desk.output / "b_00001_.png")
    desk.end(outputs={"3": image("a_00001_.png", "shot"), "4": image("b_00001_.png")})
    assert marker_events(desk) == ["b.done"]
    assert sorted(one.status for one in desk.record().markers) == ["not written", "success"]


def test_a_marker_is_taken_back_once_the_store_can_be_written_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, patient: Callable[[], None]
) -> None:
    (desk.output / "shot" / "a.done").mkdir(parents=True)
    real, again = Marking.place, []

    def place_and_break(*given: Any) -> bool:
        again.append(failing(monkeypatch, desk.store))
        return real(*given)

    monkeypatch.setattr(Marking, "place", place_and_break)
    desk.whole()
    assert [one.status for one in desk.record().markers] == ["success"], "the store can't be told yet"
    assert desk.writer.timeout() == STORE_RETRY_SECONDS
    assert desk.record().pending, "the next process still has to look"
    again[0]()
    patient()
    desk.step()
    assert [one.status for one in desk.record().markers] == ["not written"]
    assert (marker_events(desk), desk.record().pending) == ([], [])
    assert desk.writer.timeout() is None


def test_a_correction_that_the_store_does_not_take_is_told_and_holds_nothing_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk.output / "shot" / "a.done").mkdir(parents=True)
    real = Marking.place

    def place_and_break(*given: Any) -> bool:
        failing(monkeypatch, desk.store, error=ValueError("odd"))
        return real(*given)

    monkeypatch.setattr(Marking, "place", place_and_break)
    desk.whole()
    assert "correction" in desk.hints()
    assert not desk.runs


@pytest.mark.parametrize("error", [FULL, ValueError("odd")])
def test_a_marker_that_cannot_be_written_costs_neither_the_prompt_nor_other_markers(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    graph = {"3": saver("shot/a"), "4": saver("b"), "9": marker_node()}
    desk.begin(graph=graph)
    write(desk.output / "shot" / "a_00001_.png")
    write(desk.output / "b_00001_.png")
    real = marking_module.write_temporary

    def broken(place: MarkerPlace, marker: DoneMarker) -> Path:
        if place.prefix.name == "a":
            raise error
        return real(place, marker)

    monkeypatch.setattr(marking_module, "write_temporary", broken)
    desk.end(outputs={"3": image("a_00001_.png", "shot"), "4": image("b_00001_.png")})
    assert tree(desk.output) == ["b.done", "b_00001_.png", "shot/a_00001_.png"]
    assert sorted(one.status for one in desk.record().markers) == ["not written", "success"]
    assert desk.record().notes[-1] == f"a marker was not written: {type(error).__name__}"
    assert "marker" in desk.hints()


def test_a_prompt_whose_files_cannot_be_looked_at_ends_without_markers(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_given: object) -> None:
        raise ValueError("odd")

    monkeypatch.setattr(settling, "decide", broken)
    desk.whole()
    for _ in range(20):
        desk.step()
    assert (desk.record().status, [one.status for one in desk.record().markers]) == ("success", ["not written"])
    assert "markers" in desk.hints()
    assert not desk.runs


def test_a_saver_with_a_bad_prefix_costs_no_other_its_marker(desk: Desk) -> None:
    graph = {"3": saver("shot/a"), "4": saver("../x"), "5": saver("%width%/../x"), "9": marker_node()}
    desk.begin(graph=graph)
    write(desk.output / "shot" / "a_00001_.png")
    desk.end(outputs={"3": image("a_00001_.png", "shot")})
    assert desk.names() == ["a_00001_.png"]
    desk.begin("q", graph=graph)
    desk.end("q", status="error")
    assert tree(desk.output) == ["shot/a.failed", "shot/a_00001_.png"]


def test_what_lies_behind_a_link_that_leads_out_is_not_listed(desk: Desk) -> None:
    (desk.output / "link").symlink_to(desk.folder / "outside")
    desk.begin(graph={"3": saver("link/a"), "9": marker_node()})
    write(desk.folder / "outside" / "a_00001_.exr")
    desk.end()
    assert tree(desk.folder / "outside") == ["a_00001_.exr"]
    assert desk.record().outputs == []


# ---------------------------------------------------------------- missing files


def test_a_reported_file_that_is_not_there_is_waited_for(desk: Desk, patient: Callable[[], None]) -> None:
    desk.begin()
    desk.step(*desk.ran("1", "3"))
    desk.end(outputs={"3": image("a_00001_.png", "shot")})
    assert desk.record().status == "running"
    assert desk.writer.timeout() == 0.05
    assert not (desk.output / "shot").exists()
    write(desk.output / "shot" / "a_00001_.png", modified=time.time() + 0.03)
    desk.step()
    desk.step()
    patient()
    desk.step()
    assert (desk.record().status, desk.names()) == ("success", ["a_00001_.png"])


@pytest.mark.parametrize(("data", "said"), [(None, "which isn't there"), (b"", "which is empty")])
def test_a_reported_file_that_never_comes_is_a_note(
    desk: Desk, patient: Callable[[], None], data: bytes | None, said: str
) -> None:
    desk.begin()
    if data is not None:
        write(desk.output / "shot" / "a_00001_.png", data)
    desk.end(outputs={"3": image("a_00001_.png", "shot")})
    assert desk.record().status == "running"
    patient()
    desk.step()
    note = f"node 3 reported a_00001_.png, {said}"
    assert desk.record().status == "success"
    assert desk.record().notes.count(note) == 1
    assert note in desk.marker().Notes
    assert desk.marker().FrameCount == (0 if data is None else 1)


def test_a_file_that_is_still_being_written_is_waited_for(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ended, ahead = now(), [0.0]
    monkeypatch.setattr(readiness, "folder_clock", lambda _folder: ended.wall + ahead[0])
    desk.perf = lambda: ended.mono + ahead[0]
    desk.begin()
    desk.step(*desk.ran("1", "3"))
    path = desk.output / "shot" / "a_00001_.png"
    desk.inbox.append(PromptOutcome("p", ended, "success"))
    ahead[0] = 0.5
    write(path, b"more", modified=ended.wall + ahead[0])
    desk.step(PromptDone("p", ended, {"3": image("a_00001_.png", "shot")}, True))
    ahead[0] = 0.6
    write(path, b"and more", modified=ended.wall + ahead[0])
    for ahead[0] in (0.6, 0.7, 1.5):
        desk.step()
        assert desk.record().status == "running"
    ahead[0] = 1.7
    desk.step()
    assert desk.record().status == "success"
    assert desk.marker().Files[0].Bytes == 8
    assert desk.record().notes == []


def test_a_failed_prompt_waits_for_nothing(desk: Desk) -> None:
    desk.begin()
    desk.end(status="error", outputs={"3": image("a_00001_.png", "shot")})
    assert desk.record().status == "error"
    assert tree(desk.output) == ["shot/a.failed"]


def test_a_file_in_a_folder_outside_is_not_waited_for(desk: Desk) -> None:
    desk.begin()
    desk.end(outputs={"3": image("x.png", "/somewhere/else")})
    assert desk.record().status == "success"


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize("status", ["error", "interrupted"])
def test_a_failed_prompt_leaves_failed_with_its_files_and_removes_done(desk: Desk, status: str) -> None:
    desk.begin()
    write(desk.output / "shot" / "a_00001_.png")
    desk.step(*desk.ran("1"))
    desk.end(status=status, node_id="3", class_type="SaveImage", message="no", exception_type="E")
    assert tree(desk.output) == ["shot/a.failed", "shot/a_00001_.png"]
    assert desk.marker("shot/a.failed").Status == status
    assert desk.names("shot/a.failed") == ["a_00001_.png"]
    assert desk.record().status == status
    assert [(one.path, one.status) for one in desk.record().markers] == [("shot/a.failed", status)]
    assert (desk.record().error is not None) is (status == "error")


def test_a_failure_before_any_file_is_told_under_the_savers_literal_prefixes(desk: Desk) -> None:
    graph = {"3": saver("shot/a"), "4": saver("%year%/b"), "5": saver("x_%width%"), "9": marker_node()}
    desk.begin(graph=graph)
    desk.end(status="error")
    assert tree(desk.output) == sorted([f"{time.strftime('%Y')}/b.failed", "shot/a.failed"])


def test_where_nobody_wants_to_be_told_of_a_failure_nothing_is_written(desk: Desk) -> None:
    desk.begin(graph={"3": saver("a"), "9": marker_node(on_failure=WRITE_NOTHING)})
    desk.end(status="error")
    assert tree(desk.output) == []
    assert desk.record().notes[-1] == "no marker a: the prompt failed, and none was wanted for that"
    assert [one.status for one in desk.record().markers] == ["not written"]


def test_a_worker_that_dies_ends_its_prompt_with_the_node_it_died_in(desk: Desk) -> None:
    desk.begin()
    desk.step(NodeStarted("p", "1", now().mono))
    desk.alive = None
    desk.step()
    assert desk.record().status == "running"
    desk.alive = False
    desk.step()
    assert desk.record().status == "error"
    assert (desk.record().error.node_id, desk.record().error.message) == ("1", WORKER_DIED)
    assert tree(desk.output) == ["shot/a.failed"]


def test_a_prompt_whose_end_was_not_told_is_abandoned_and_a_silent_seam_is_a_problem(desk: Desk) -> None:
    desk.begin("p")
    desk.begin("q", graph={"1": node("A")})
    assert desk.record("p").status == "abandoned"
    assert UNTOLD_END in desk.record("p").notes
    assert "a silent seam" in desk.hints()


def test_files_that_are_never_told_end_the_prompt_after_a_while(desk: Desk) -> None:
    desk.begin()
    desk.step(*desk.ran("1"), PromptOutcome("p", Stamp(time.time() - 9, time.perf_counter() - 9), "success"))
    assert desk.record().status == "success"
    assert UNTOLD_OUTPUTS in desk.record().notes


# ---------------------------------------------------------------- stale markers, overtaking


def test_stale_markers_go_when_the_prompt_starts_and_not_before(desk: Desk) -> None:
    for name in ("shot/a.done", "shot/a.failed", "shot/b.done"):
        write(desk.output / name)
    desk.queue()
    assert len(tree(desk.output)) == 3
    desk.step(PromptStarted("p", now()))
    assert tree(desk.output) == ["shot/b.done"]


def test_stale_markers_of_a_prefix_that_only_the_saver_knows_go_with_its_first_file(desk: Desk) -> None:
    for name in ("64_a.done", "64_a.failed", "32_a.done"):
        write(desk.output / name)
    desk.begin(graph={"3": saver("%width%_a"), "9": marker_node()})
    (run,) = desk.runs
    run.markers.looks = Share(0.0)
    desk.step(*desk.ran("1"))
    assert len(tree(desk.output)) == 3
    write(desk.output / "64_a_00001_.png")
    desk.step(NodeStarted("p", "3", now().mono))
    assert tree(desk.output) == ["32_a.done", "64_a_00001_.png"]
    desk.step(NodeFinished("p", "3", now().mono))
    desk.end(outputs={"3": image("64_a_00001_.png")})
    assert desk.names("64_a.done") == ["64_a_00001_.png"]


def test_a_stale_marker_behind_a_link_that_leads_out_stays(desk: Desk) -> None:
    write(desk.folder / "outside" / "a.done")
    (desk.output / "link").symlink_to(desk.folder / "outside")
    desk.begin(graph={"3": saver("link/a"), "9": marker_node(filename_prefix="link/a")})
    desk.end()
    assert tree(desk.folder / "outside") == ["a.done"]


def test_a_marker_that_a_newer_prompt_has_cleared_is_not_written(desk: Desk, patient: Callable[[], None]) -> None:
    desk.begin("p")
    desk.end("p", outputs={"3": image("a_00001_.png", "shot")})
    assert desk.record("p").status == "running"
    desk.begin("q")
    patient()
    desk.step()
    assert desk.record("p").status == "success"
    assert f"no marker shot/a: {OVERTAKEN}" in desk.record("p").notes
    assert tree(desk.output) == []
    write(desk.output / "shot" / "a_00001_.png")
    desk.end("q", outputs={"3": image("a_00001_.png", "shot")})
    assert desk.marker().PromptId == "q"


def test_a_prompt_that_was_queued_later_overtakes_nobody(desk: Desk, patient: Callable[[], None]) -> None:
    desk.begin("p")
    desk.end("p", outputs={"3": image("a_00001_.png", "shot")})
    desk.queue("q")
    patient()
    desk.step()
    assert desk.marker().PromptId == "p"


def test_a_newer_prompt_with_another_prefix_overtakes_nobody(desk: Desk, patient: Callable[[], None]) -> None:
    desk.begin("p")
    desk.end("p", outputs={"3": image("a_00001_.png", "shot")})
    desk.begin("q", graph={"3": saver("other"), "9": marker_node()})
    patient()
    desk.step()
    assert desk.marker().PromptId == "p"


# ---------------------------------------------------------------- the last sign of life


@pytest.mark.parametrize("seconds", [0.2, 0.9, 1.0, 5.0])
def test_a_running_prompt_says_once_a_second_that_it_lives(desk: Desk, seconds: float) -> None:
    wall, began = time.time(), desk.mono
    desk.wall = lambda: wall + desk.mono - began
    desk.begin()
    desk.step(NodeStarted("p", "1", now().mono))
    before = desk.record().seen_ms
    desk.later(seconds)
    desk.step()
    assert desk.record().seen_ms - before == pytest.approx(seconds * 1000 if seconds >= 1 else 0, abs=1)
    desk.step(*desk.ran("3"))
    desk.end()
    assert desk.record().status == "success"
    ended = desk.record().seen_ms
    desk.later(10)
    desk.step()
    assert desk.record().seen_ms == ended


def test_one_that_waits_shows_no_life(desk: Desk) -> None:
    desk.queue()
    desk.step()
    assert desk.record().seen_ms is None


# ---------------------------------------------------------------- cached


def cached_again(desk: Desk, prompt_id: str, outputs: Any = ()) -> None:
    desk.begin(prompt_id)
    desk.step(PromptCached(prompt_id, frozenset({"1", "3"})), *desk.ran("9", prompt_id=prompt_id))
    desk.end(prompt_id, outputs=outputs)


def test_a_cached_prompt_lists_the_earlier_prompt_s_files_and_says_so(desk: Desk) -> None:
    desk.whole("p")
    cached_again(desk, "q", {"3": image("a_00001_.png", "shot")})
    marker = desk.marker()
    assert (marker.PromptId, marker.Cached, desk.names()) == ("q", True, ["a_00001_.png"])
    assert [one.cached for one in desk.record("q").outputs] == [True]


def test_where_the_cached_outputs_are_not_told_the_last_record_of_the_graph_tells(desk: Desk) -> None:
    desk.whole("p")
    cached_again(desk, "q")
    marker = desk.marker()
    assert (marker.PromptId, marker.Cached, desk.names()) == ("q", True, ["a_00001_.png"])
    assert marker.Files[0].NodeId == "3"
    cached_again(desk, "r")
    assert desk.names() == ["a_00001_.png"]


def test_files_of_a_silent_cached_saver_are_known_from_the_last_record_too(desk: Desk) -> None:
    desk.begin("p")
    write(desk.output / "shot" / "a_00001_.exr")
    desk.step(*desk.ran("1", "3"))
    desk.end("p")
    cached_again(desk, "q")
    assert (desk.marker().Cached, desk.names()) == (True, ["a_00001_.exr"])


def test_an_earlier_file_that_has_changed_since_is_not_listed_and_noted(desk: Desk) -> None:
    desk.whole("p", ("shot/a_00001_.png", "shot/a_00002_.png", "shot/a_00003_.png"))
    write(desk.output / "shot" / "a_00002_.png", b"someone else's", modified=1000)
    (desk.output / "shot" / "a_00003_.png").unlink()
    cached_again(desk, "q")
    assert desk.names() == ["a_00001_.png"]
    assert {f"a_0000{number}_.png of an earlier prompt is no longer what it was" for number in (2, 3)} <= set(
        desk.record("q").notes
    )


def test_files_of_a_node_that_a_cached_one_expanded_into_are_known(desk: Desk) -> None:
    graph = {"5": node("Expander"), "9": marker_node(filename_prefix="a")}
    inner = ExpandedNode("SaveImage", None, "5", "5")
    desk.begin("p", graph)
    write(desk.output / "a_00001_.png")
    desk.step(NodeStarted("p", "5.0.0.1", now().mono, inner), NodeFinished("p", "5.0.0.1", now().mono, inner))
    desk.end("p", outputs={"5.0.0.1": image("a_00001_.png")})
    desk.begin("q", graph)
    desk.step(PromptCached("q", frozenset({"5"})))
    desk.end("q")
    assert (desk.marker("a.done").Cached, desk.names("a.done")) == (True, ["a_00001_.png"])


def test_a_saver_that_ran_this_time_does_not_list_what_it_wrote_last_time(desk: Desk) -> None:
    desk.whole("p")
    desk.begin("q")
    desk.step(PromptCached("q", frozenset({"1"})), *desk.ran("3", prompt_id="q"))
    write(desk.output / "shot" / "a_00002_.png")
    desk.end("q", outputs={"3": image("a_00002_.png", "shot")})
    assert desk.names() == ["a_00002_.png"]
    assert not desk.marker().Cached


def test_a_marker_of_old_and_new_files_says_how_many_are_which(desk: Desk) -> None:
    graph = {"3": saver("a"), "4": saver("a"), "9": marker_node()}
    desk.begin(graph=graph)
    write(desk.output / "a_00001_.png")
    write(desk.output / "a_00002_.png")
    desk.step(PromptCached("p", frozenset({"3"})), *desk.ran("4"))
    desk.end(outputs={"3": image("a_00001_.png"), "4": image("a_00002_.png")})
    assert desk.marker("a.done").Notes == ["1 of the 2 files are an earlier prompt's"]
    assert not desk.marker("a.done").Cached


# ---------------------------------------------------------------- listings that came too late


def late(desk: Desk, *old: tuple[str, float]) -> None:
    """A prompt whose folder could only be listed after its first node had started."""
    for name, age in old:
        write(desk.output / "shot" / name, modified=time.time() - age)
    for event in (
        PromptQueued("p", now(), 1, GRAPH, frozenset(GRAPH), False),
        PromptStarted("p", now()),
        *desk.ran("1"),
    ):
        desk.inbox.append(event)
    write(desk.output / "shot" / "a_00009_.exr", modified=time.time() + 0.02)


def test_where_the_folder_was_listed_too_late_the_folder_s_clock_tells_what_is_new(desk: Desk) -> None:
    late(desk, ("a_00001_.exr", 60))
    desk.step(*desk.ran("3"))
    desk.end()
    assert desk.names() == ["a_00009_.exr"]


def test_what_an_earlier_record_lists_is_not_new(desk: Desk) -> None:
    desk.whole("before", ("shot/a_00001_.png",))
    late(desk)
    desk.step(*desk.ran("3"))
    desk.end()
    assert desk.names() == ["a_00009_.exr"]


def test_the_listing_at_queueing_helps_where_the_one_at_the_start_was_late(desk: Desk) -> None:
    desk.queue()
    write(desk.output / "shot" / "a_00001_.exr", modified=time.time() - 60)
    for event in (PromptStarted("p", now()), *desk.ran("1")):
        desk.inbox.append(event)
    write(desk.output / "shot" / "a_00009_.exr", modified=time.time() + 0.02)
    desk.step(*desk.ran("3"))
    desk.end()
    assert desk.names() == ["a_00009_.exr"]


# ---------------------------------------------------------------- listings for prompts that wait


def scans(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that are listed from now on."""
    scanned: list[Path] = []
    true = os.scandir

    def scandir(path: Any) -> Any:
        scanned.append(Path(path))
        return true(path)

    monkeypatch.setattr(folder_module.os, "scandir", scandir)
    return scanned


def test_prompts_that_wait_share_one_listing_of_their_folder(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        write(desk.output / "shot" / f"a_{number:05}_.png")
    desk.perf = map(float, itertools.count(1)).__next__
    scanned = scans(monkeypatch)
    for number in range(100):
        desk.queue(f"p{number}")
    assert 1 <= len(scanned) <= 20
    (held,) = {run.markers.folders["shot"] for run in desk.runs if run.markers.folders}
    listed = weakref.ref(held)
    del held
    for number in range(100):
        desk.step(PromptUnqueued(f"p{number}", now(), GRAPH))
    gc.collect()
    assert listed() is None, "nobody waits for it any more"


def test_a_folder_is_listed_after_the_commit_that_a_post_waits_for(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(listings_module, "files_in", lambda *_given: done.append("listed") or iter(()))
    desk.writer.when_saved(lambda: done.append("saved"))
    desk.queue()
    assert done == ["saved", "listed"]
    assert desk.record().output_root is not None


def test_a_file_that_the_listing_did_not_look_for_is_no_other_s_in_peace(desk: Desk) -> None:
    """Another prompt's wired prefix: its file is new, but it is in a record."""
    desk.whole("before", ("shot/other_00001_.png",))
    graph = {**GRAPH, "9": marker_node(filename_prefix=["1", 0])}
    desk.queue(graph=graph)
    for event in (PromptStarted("p", now()), *desk.ran("1")):
        desk.inbox.append(event)
    time.sleep(0.02)
    desk.step(MarkerRun("p", "9", "shot/other", "when all outputs are saved", "write .failed", False, None))
    desk.end()
    assert desk.names("shot/other.done") == []


def test_folders_of_time_tokens_are_looked_at_within_a_share_of_the_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = {"1": node("EmptyImage"), "3": saver("shot/%second%_a"), "9": marker_node()}
    desk.begin(graph=graph)
    (run,) = desk.runs
    clock = [1000.0]
    run.markers.looks = Share(PAUSE, clock=lambda: clock[0])
    looked: list[float] = []

    def newly_seen(_evidence: Any) -> list[Any]:
        looked.append(clock[0])
        clock[0] += 0.5
        return []

    monkeypatch.setattr(starting, "newly_seen", newly_seen)
    for number in range(50):
        clock[0] += 0.2
        desk.step(NodeStarted("p", f"n{number}", now().mono))
    assert len(looked) == 3


# ---------------------------------------------------------------- hashes

HASHED = {"1": node("EmptyImage"), "3": saver("shot/a"), "9": marker_node(hash_files=True)}


@pytest.fixture
def held_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Files are read for their hashes only once this is set."""
    go = threading.Event()
    read = hashing_module.hash_file

    def wait(file: HashedFile, is_wanted: Callable[[], bool]) -> Hashed:
        go.wait(30)
        return read(file, is_wanted)

    monkeypatch.setattr(hashing_module, "hash_file", wait)
    yield go
    go.set()


def test_no_other_record_waits_while_files_are_read_for_their_hashes(desk: Desk, held_up: threading.Event) -> None:
    desk.whole(graph=HASHED)
    assert (tree(desk.output), desk.record().status) == (["shot/a_00001_.png"], "running")
    assert desk.settled.is_set() and desk.writer.timeout() == QUEUED_INTERVAL_SECONDS
    other = {"1": node("EmptyImage"), "3": saver("b"), "9": marker_node()}
    desk.whole("other", files=("b_00001_.png",), graph=other)
    assert (desk.record("other").status, desk.names("b.done")) == ("success", ["b_00001_.png"])
    held_up.set()
    desk.rung()
    assert desk.record().status == "success"
    (file,) = desk.marker().Files
    content = (desk.output / "shot" / "a_00001_.png").read_bytes()
    assert (file.Sha256, desk.marker().Notes) == (hashlib.sha256(content).hexdigest(), [])


def test_files_of_a_failed_prompt_are_read_only_for_a_marker_that_is_wanted(
    desk: Desk, held_up: threading.Event
) -> None:
    graph = {**HASHED, "9": marker_node(hash_files=True, on_failure=WRITE_NOTHING)}
    desk.begin(graph=graph)
    write(desk.output / "shot" / "a_00001_.png")
    desk.end(status="error")
    assert desk.record().status == "error"


def test_a_newer_prompt_of_the_same_prefix_keeps_its_place(desk: Desk, held_up: threading.Event) -> None:
    desk.whole(graph=HASHED)
    desk.begin("newer", graph=HASHED)
    held_up.set()
    desk.rung()
    assert "shot/a.done" not in tree(desk.output)
    assert desk.record().notes == [f"no marker shot/a: {OVERTAKEN}"]


def test_the_end_of_the_process_waits_for_hashes_only_so_long(
    desk: Desk, held_up: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hash_waits, "HASH_PATIENCE_SECONDS", 0.0)
    desk.whole(graph=HASHED)
    desk.writer.stop()
    (file,) = desk.marker().Files
    assert (file.Sha256, desk.record().status) == (None, "success")
    assert desk.marker().Notes == [f"a_00001_.png {CUT_SHORT}"]


def test_a_node_that_waits_is_answered_once_its_files_are_read(desk: Desk, held_up: threading.Event) -> None:
    desk.begin(graph=READY)
    write(desk.output / "shot" / "a_00001_.png")
    desk.step(*desk.ran("3"))
    answer: Future[str] = Future()
    desk.step(MarkerRun("p", "9", "shot/a", INPUTS_READY, "write .failed", True, answer))
    assert not answer.done()
    desk.end(outputs={"3": image("a_00001_.png", "shot")})
    assert (desk.record().status, desk.settled.is_set()) == ("running", True)
    held_up.set()
    desk.rung()
    desk.step()
    assert (answer.result(0), desk.record().status) == ("shot/a.done", "success")
    assert desk.marker().Files[0].Sha256 is not None


def test_a_node_that_waits_for_hashes_when_its_prompt_fails_is_answered(desk: Desk, held_up: threading.Event) -> None:
    desk.begin(graph=READY)
    write(desk.output / "shot" / "a_00001_.png")
    answer: Future[str] = Future()
    desk.step(MarkerRun("p", "9", "shot/a", INPUTS_READY, "write .failed", True, answer))
    desk.end(status="error")
    held_up.set()
    while not answer.done():
        desk.rung()  # for the files of the node's own marker, which is no longer wanted, and for those of the end's
    assert (answer.result(0), desk.record().status) == ("", "error")
    assert tree(desk.output) == ["shot/a.failed", "shot/a_00001_.png"]


def test_files_that_a_dead_process_left_are_read_beside_the_other_records(
    desk: Desk, next_desk: Callable[[], Desk], held_up: threading.Event
) -> None:
    desk.begin(graph=HASHED)
    write(desk.output / "shot" / "a_00001_.png")
    after = next_desk()
    assert (after.record().status, after.writer.is_recovering) == ("running", True)
    after.whole("other")
    assert after.record("other").status == "success"
    held_up.set()
    after.rung()
    assert (after.record().status, after.writer.is_recovering) == ("abandoned", False)
    assert [file.filename for file in after.record().outputs] == ["a_00001_.png"]


# ---------------------------------------------------------------- inputs ready


def ready(prefix: str = "shot/a", node_id: str = "9") -> tuple[MarkerRun, "Future[str]"]:
    answer: Future[str] = Future()
    return MarkerRun("p", node_id, prefix, INPUTS_READY, "write .failed", False, answer), answer


READY = {"3": saver("shot/a"), "9": marker_node(filename_prefix="shot/a", when=INPUTS_READY)}


def test_a_node_that_waits_is_answered_once_its_marker_is_there(desk: Desk) -> None:
    desk.begin(graph=READY)
    write(desk.output / "shot" / "a_00001_.png")
    desk.step(*desk.ran("3"))
    event, answer = ready()
    desk.step(event)
    assert answer.result(0) == "shot/a.done"
    assert (desk.marker().Status, desk.names()) == ("running", ["a_00001_.png"])
    desk.end(outputs={"3": image("a_00001_.png", "shot")})
    assert desk.marker().Status == "running"
    assert [(one.path, one.status) for one in desk.record().markers] == [("shot/a.done", "running")]


def test_a_failure_after_the_inputs_were_ready_is_told_all_the_same(desk: Desk) -> None:
    desk.begin(graph=READY)
    event, _ = ready()
    desk.step(event)
    desk.end(status="error")
    assert tree(desk.output) == ["shot/a.failed"]


def test_a_node_with_a_bad_prefix_is_answered_with_nothing(desk: Desk) -> None:
    desk.begin(graph=READY)
    event, answer = ready("../x")
    desk.step(event)
    assert answer.result(0) == ""
    desk.end()
    assert any("leads upwards" in note for note in desk.record().notes)


def test_a_node_whose_marker_cannot_be_written_is_answered_with_nothing(desk: Desk) -> None:
    desk.begin(graph=READY)
    (desk.output / "shot" / "a.done").mkdir(parents=True)
    event, answer = ready()
    desk.step(event)
    assert answer.result(0) == ""
    assert "marker" in desk.hints()


def test_a_node_that_still_waits_at_the_end_is_answered(desk: Desk) -> None:
    desk.begin(graph=READY)
    event, answer = ready()
    desk.inbox.append(event)
    desk.end()
    assert answer.result(0) == "shot/a.done"
    assert desk.record().status == "success"


def test_two_nodes_that_wait_have_a_marker_each(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = {**READY, "8": marker_node(filename_prefix="b", when=INPUTS_READY)}
    desk.begin(graph=graph)
    monkeypatch.setattr(marker_module.time, "time", lambda: 1_800_000_000.0)  # all in the same millisecond
    events = [ready(), ready("b", "8"), ready("inner", "5.0.0.1"), ready()]
    desk.step(*(event for event, _ in events))
    assert [answer.result(0) for _, answer in events] == ["shot/a.done", "b.done", "inner.done", "shot/a.done"]
    desk.end()
    assert sorted((one.path, one.status) for one in desk.record().markers) == [
        ("b.done", "running"),
        ("inner.done", "running"),
        ("shot/a.done", "running"),
    ]


def test_a_node_that_never_ran_has_no_marker_and_says_why(desk: Desk) -> None:
    desk.begin(graph=READY)
    desk.end()
    assert [one.status for one in desk.record().markers] == ["not written"]
    assert desk.record().notes[-1] == "no marker from node 9: it did not run, so its inputs never were ready"


# ---------------------------------------------------------------- a store that fails


def test_a_store_that_fails_costs_nothing_once_it_recovers(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, patient: Callable[[], None]
) -> None:
    recover = failing(monkeypatch, desk.store)
    desk.whole()
    assert "store" in desk.hints()
    assert desk.writer.is_failing
    assert desk.record() is None
    assert tree(desk.output) == ["shot/a_00001_.png"]
    assert desk.writer.timeout() == STORE_RETRY_SECONDS
    desk.step()
    patient()
    desk.step()
    assert tree(desk.output) == ["shot/a_00001_.png"]
    recover()
    patient()
    desk.step()
    assert (desk.record().status, desk.names()) == ("success", ["a_00001_.png"])
    assert not desk.writer.is_failing
    assert desk.problems.all() == []
    assert not desk.runs


def test_a_marker_speaks_only_of_what_is_committed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, patient: Callable[[], None]
) -> None:
    desk.begin()
    write(desk.output / "shot" / "a_00001_.png")
    desk.step(*desk.ran("1", "3"))
    recover = failing(monkeypatch, desk.store)
    desk.end(outputs={"3": image("a_00001_.png", "shot")})
    assert tree(desk.output) == ["shot/a_00001_.png"]
    assert desk.record().status == "running"
    recover()
    patient()
    desk.step()
    assert desk.names() == ["a_00001_.png"]


def test_a_pending_marker_that_could_not_be_noted_is_noted_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, patient: Callable[[], None]
) -> None:
    recover = failing(monkeypatch, desk.store, "clear_pending")
    desk.whole()
    assert desk.record().pending
    assert desk.writer.timeout() == STORE_RETRY_SECONDS
    recover()
    patient()
    desk.step()
    assert desk.record().pending == []
    assert desk.problems.all() == []


def test_a_record_that_no_database_takes_costs_no_other_and_is_set_aside_when_it_ends(desk: Desk) -> None:
    graph = {"1": node("A")}
    odd = PromptQueued("odd", Stamp(1e30, 1.0), 1, graph, frozenset(graph), False)
    desk.inbox.append(PromptQueued("p", now(), 1, graph, frozenset(graph), False))
    desk.step(odd, PromptQueued("q", now(), 1, graph, frozenset(graph), False))
    desk.step()
    assert [desk.record(name) is not None for name in ("odd", "p", "q")] == [False, True, True]
    assert set(desk.hints()) == {"record put off"}
    desk.step(PromptStarted("p", now()), *desk.ran("1"))
    desk.end("p")
    assert desk.record("p").status == "success"
    desk.step(PromptUnqueued("odd", now(), graph))
    assert (desk.record("odd").status, desk.record("odd").queued_ms) == ("cancelled", None)
    (kept,) = desk.aside.iterdir()
    assert f"it is kept whole in {ASIDE}/{kept.name}" in desk.record("odd").notes[-1]
    assert kept.stat().st_mode & 0o777 == 0o600
    assert json.loads(kept.read_text())["prompt"]["prompt_id"] == "odd"
    assert kept.name in desk.hints()["record set aside"]
    assert (desk.context.dropped, desk.writer.is_failing) == (0, False)


def test_an_end_that_no_database_takes_is_kept_in_a_file_and_its_marker_stands(desk: Desk) -> None:
    desk.begin()
    write(desk.output / "shot" / "a_00001_.png")
    desk.step(*desk.ran("1", "3"))
    desk.step(PromptOutcome("p", Stamp(1e30, now().mono), "success"))
    desk.step(PromptDone("p", now(), {"3": image("a_00001_.png", "shot")}, True))
    desk.step()
    assert not desk.runs
    assert desk.names() == ["a_00001_.png"]
    (kept,) = desk.aside.iterdir()
    told = json.loads(kept.read_text())
    assert [file["filename"] for file in told["prompt"]["outputs"]] == ["a_00001_.png"]
    assert [one["node_id"] for one in told["nodes"]] == ["1", "3"]
    record = desk.record()
    assert (record.status, record.outputs, record.pending) == ("success", [], [])
    assert [kind for _, kind, _ in heard(desk)][-2:] == ["marker.written", "prompt.finished"]
    assert desk.context.dropped == 0


def test_an_end_that_can_be_kept_nowhere_has_no_marker_and_is_counted_as_lost(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.begin()
    write(desk.output / "shot" / "a_00001_.png")
    desk.step(*desk.ran("1", "3"))
    monkeypatch.setattr(desk.store, "save", refusing("p"))
    write(desk.aside)
    desk.end(outputs={"3": image("a_00001_.png", "shot")})
    assert tree(desk.output) == ["shot/a_00001_.png"]
    assert (desk.context.dropped, "record lost" in desk.hints(), len(desk.runs)) == (1, True, 0)


def refusing(prompt_id: str, error: type[Exception] = ValueError) -> Callable[..., None]:
    """A store that takes no change of one prompt."""

    def save(changes: Any, **_: Any) -> None:
        if any(change.record.prompt_id == prompt_id for change in changes):
            raise error("not this one")

    return save


@pytest.mark.parametrize("error", [KeyError, AttributeError, RuntimeError, ArithmeticError])
def test_a_fault_over_one_record_holds_up_no_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """Whatever the error: others are saved and settled at once, and that one is tried again by itself."""
    desk.writer.keep_spool(Spool(desk.folder / "spool", str(uuid.uuid4()), desk.context.instance))
    real = desk.store.save
    bad = refusing("bad", error)

    def save(changes: Any, **more: Any) -> None:
        bad(changes)
        real(changes, **more)

    monkeypatch.setattr(desk.store, "save", save)
    desk.queue("bad")
    for number in range(5):
        desk.whole(f"good{number}")
        assert desk.record(f"good{number}").status == "success"
        assert desk.marker().PromptId == f"good{number}"
    assert not desk.writer.is_failing
    desk.step(PromptStarted("bad", now()), *desk.ran("1", "3", prompt_id="bad"))
    write(desk.output / "shot" / "a_00002_.png")
    desk.end("bad", outputs={"3": image("a_00002_.png", "shot")})
    assert desk.marker().PromptId == "bad", "certain in the spool"
    assert (desk.record("bad"), list(desk.folder.glob("private/set-aside/*"))) == (None, [])
    assert desk.writer.timeout() == 1.0
    for _ in range(10):
        desk.later(70)
        desk.step()
    assert len(list(desk.aside.iterdir())) == 1
    assert desk.context.kept.is_waiting is False
    assert set(desk.hints()) == {"record set aside"}
    assert desk.context.dropped == 0


def test_a_record_that_is_taken_at_last_is_as_it_ought_to_be(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.writer.keep_spool(Spool(desk.folder / "spool", str(uuid.uuid4()), desk.context.instance))
    real = desk.store.save
    with monkeypatch.context() as patch:
        patch.setattr(desk.store, "save", refusing("p", KeyError))
        desk.whole()
    assert desk.store.save == real
    desk.later(70)
    desk.step()
    record = desk.record()
    assert (record.status, [file.filename for file in record.outputs]) == ("success", ["a_00001_.png"])
    assert len(desk.store.prompts.nodes(record.pk)) == 2
    assert [kind for _, kind, _ in heard(desk)].count("prompt.finished") == 1
    assert desk.hints() == {}


def test_a_fault_of_ours_over_one_prompt_keeps_no_other_from_its_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Finishing.ending_of

    def ending_of(self: Finishing, run: Any, *rest: Any) -> Any:
        if run.record.prompt_id == "bad":
            raise ZeroDivisionError
        return real(self, run, *rest)

    monkeypatch.setattr(Finishing, "ending_of", ending_of)
    for name in ("bad", "q"):
        desk.queue(name)
    desk.step(PromptUnqueued("bad", now(), GRAPH), PromptUnqueued("q", now(), GRAPH))
    assert [desk.record(name).status for name in ("bad", "q")] == ["cancelled", "cancelled"]
    desk.begin("bad")
    for _ in range(5):
        desk.end("bad")
    assert (desk.record("bad").status, desk.record("bad").run_number) == ("success", 2)
    assert not desk.runs
    assert len(list(desk.aside.iterdir())) == 2


def test_run_numbers_go_on_where_the_id_was_seen_before(desk: Desk) -> None:
    desk.whole("p")
    desk.whole("p")
    assert [desk.record("p", number).status for number in (1, 2)] == ["success", "success"]
    assert desk.record("p").run_number == 2


async def test_an_id_that_another_server_on_this_database_takes_first_gets_the_next_run_number(
    desk: Desk, tmp_path: Path
) -> None:
    desk.queue("p")
    desk.inbox.append(PromptQueued("q", now(), 2, dict(GRAPH), frozenset(GRAPH), False))
    desk.context.take_in()
    waiter = desk.feed.wait_for(("q", 1), asyncio.get_running_loop())
    desk.store.save([Change(PromptRecord("q", 1, "the other"))])
    desk.step()
    assert not desk.writer.is_failing
    assert [desk.record("q", number).instance_id for number in (1, 2)] == ["the other", "me"]
    assert desk.context.recorder.find("q", 2) is not None
    desk.step(PromptStarted("q", now(), 2), *desk.ran("1", "3", prompt_id="q"))
    desk.end("q")
    told = Prompt.model_validate_json(await asyncio.wait_for(waiter.answer, 5))
    assert (told.run_number, told.status) == (2, "success"), "who waited for it is answered"
    waiter.done()


def test_several_runs_of_an_id_that_the_store_could_not_be_asked_about_are_numbered_in_their_order(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, patient: Callable[[], None]
) -> None:
    desk.whole("p")
    mend = [failing(monkeypatch, desk.store.history, "last_run_number"), failing(monkeypatch, desk.store)]
    desk.queue("p")
    desk.queue("p")
    assert [run.record.run_number for run in desk.runs] == [1, 2]
    for each in mend:
        each()
    patient()
    desk.step()
    assert [run.record.run_number for run in desk.runs] == [2, 3]
    assert [desk.record("p", number).status for number in (1, 2, 3)] == ["success", "queued", "queued"]


def test_the_stale_marker_of_a_wired_prefix_goes_when_the_node_has_told_it(desk: Desk) -> None:
    graph = {"9": marker_node(filename_prefix=["2", 0]), "2": node("Text")}
    write(desk.output / "w" / "a.done")
    desk.begin(graph=graph)
    assert (desk.output / "w" / "a.done").exists(), "nobody knows it yet"
    told = {"when": "prompt completes", "on_failure": "write .failed", "hash_files": False, "settled": None}
    desk.step(MarkerRun("p", "9", "w/a", **told))
    assert not (desk.output / "w" / "a.done").exists()
    write(desk.output / "w" / "a_00001_.png")
    desk.end(outputs={"3": image("a_00001_.png", "w")})
    assert desk.names("w/a.done") == ["a_00001_.png"]


# ---------------------------------------------------------------- those who wait


async def test_a_waiter_is_answered_when_marker_and_record_are_there(desk: Desk) -> None:
    desk.begin()
    write(desk.output / "shot" / "a_00001_.png")
    waiter = desk.feed.wait_for(("p", 1), asyncio.get_running_loop())
    desk.settled.clear()
    desk.end(outputs={"3": image("a_00001_.png", "shot")})
    told = Prompt.model_validate_json(await asyncio.wait_for(waiter.answer, 5))
    assert (told.status, told.markers[0].path) == ("success", "shot/a.done")
    assert desk.marker().Status == "success"
    assert not desk.settled.is_set()
    waiter.done()
    assert desk.settled.is_set()


def test_with_nobody_waiting_the_end_is_settled_at_once(desk: Desk) -> None:
    desk.begin()
    desk.settled.clear()
    desk.end()
    assert desk.settled.is_set()


def test_a_prompt_that_waits_for_a_file_holds_no_garbage_collection_up(desk: Desk) -> None:
    desk.begin()
    desk.settled.clear()
    desk.end(outputs={"3": image("a_00001_.png", "shot")})
    assert desk.record().status == "running"
    assert desk.settled.is_set()


def test_an_event_is_set_only_when_the_writer_is_idle_and_all_are_answered() -> None:
    outstanding = Outstanding()
    event = outstanding.settled
    event.clear()
    outstanding.writer_is(idle=False)
    outstanding.add()
    outstanding.done()
    assert not event.is_set()
    outstanding.add()
    outstanding.writer_is(idle=True)
    assert not event.is_set()
    outstanding.done()
    assert event.is_set()


def test_an_idle_writer_does_not_settle_an_end_that_is_still_to_come() -> None:
    outstanding = Outstanding()
    event = outstanding.settled
    event.clear()
    outstanding.expect_end()
    outstanding.writer_is(idle=True)
    assert not event.is_set(), "nothing was in its inbox yet"
    outstanding.end_came()
    assert not event.is_set(), "that it was idle was said before the end came"
    outstanding.writer_is(idle=False)
    outstanding.writer_is(idle=True)
    assert event.is_set()
    outstanding.end_came()
    outstanding.writer_is(idle=True)
    assert event.is_set(), "one that nobody announced"


def test_a_step_between_the_announcement_of_an_end_and_the_end_settles_nothing(desk: Desk) -> None:
    desk.begin()
    desk.context.outstanding.expect_end()
    desk.step()
    assert not desk.settled.is_set()
    desk.end()
    assert desk.settled.wait(5)


# ---------------------------------------------------------------- what a dead process left


@pytest.fixture
def next_desk(tmp_path: Path, desk: Desk) -> Iterator[Callable[[], Desk]]:
    """The next process, on the same folders, with everything unsettled settled."""
    made: list[Desk] = []

    def start() -> Desk:
        desk.database.close()
        after = Desk(tmp_path, f"after{len(made)}")
        made.append(after)
        after.adopt_dead()
        after.writer.step()
        return after

    yield start
    for one in made:
        one.database.close()


def test_a_prompt_that_was_running_becomes_abandoned_with_its_node_and_failed(
    desk: Desk, next_desk: Callable[[], Desk]
) -> None:
    desk.begin()
    write(desk.output / "shot" / "a_00001_.png")
    desk.step(NodeStarted("p", "1", now().mono))
    after = next_desk()
    record = after.record()
    assert (record.status, record.ended_ms, record.current_node.node_id) == ("abandoned", None, "1")
    assert record.notes == [DIED]
    assert [(one.path, one.status) for one in record.markers] == [("shot/a.failed", "abandoned")]
    assert after.marker("shot/a.failed").Status == "abandoned"
    assert after.names("shot/a.failed") == ["a_00001_.png"]
    assert (record.plan, record.pending) == (None, [])
    assert after.store.history.unsettled() == []


def test_a_prompt_that_was_queued_becomes_abandoned_and_writes_and_removes_nothing(
    desk: Desk, next_desk: Callable[[], Desk]
) -> None:
    write(desk.output / "shot" / "a.done", b"an earlier prompt's")
    desk.queue()
    after = next_desk()
    assert (after.record().status, [one.status for one in after.record().markers]) == ("abandoned", ["not written"])
    assert tree(after.output) == ["shot/a.done"]


def moved(desk: Desk) -> Path:
    """From now on ComfyUI writes to another folder."""
    other = desk.folder / "other"
    other.mkdir(exist_ok=True)
    desk.roots["output"] = desk.output = other
    return other


def test_a_prompt_of_another_output_folder_is_abandoned_and_no_marker_here_is_touched(
    desk: Desk, tmp_path: Path
) -> None:
    desk.begin()
    desk.database.close()
    after = Desk(tmp_path, "after")
    other = moved(after)
    write(other / "shot" / "a.done", b"a marker of this folder")
    after.adopt_dead()
    after.writer.step()
    record = after.record()
    assert (record.status, record.notes) == ("abandoned", [DIED, ANOTHERS])
    assert tree(other) == ["shot/a.done"]
    assert [one.status for one in record.markers] == ["due"]
    after.database.close()
    home = Desk(tmp_path, "home")
    ended: list[PromptRecord] = []
    home.context.on_ended.append(lambda record, _nodes: ended.append(record))
    home.adopt_dead()
    home.writer.step()
    assert home.marker("shot/a.failed").Status == "abandoned"
    assert [(one.path, one.status) for one in home.record().markers] == [("shot/a.failed", "abandoned")]
    assert ended == [], "its end was counted by the process that called it abandoned"
    assert home.store.history.unsettled() == []
    home.database.close()


def test_a_committed_marker_of_another_output_folder_waits_for_a_process_that_has_it(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed(desk, monkeypatch)
    desk.database.close()
    after = Desk(tmp_path, "after")
    other = moved(after)
    after.adopt_dead()
    after.writer.step()
    assert tree(other) == []
    assert after.record().pending
    after.database.close()
    home = Desk(tmp_path, "home")
    home.adopt_dead()
    home.writer.step()
    assert (home.marker().PromptId, home.record().pending) == ("p", [])
    home.database.close()


def test_a_prompt_of_another_output_folder_that_no_database_takes_is_set_aside(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.begin()
    desk.database.close()
    after = Desk(tmp_path, "after")
    moved(after)
    after.adopt_dead()
    monkeypatch.setattr(after.store, "save", refusing("p"))
    after.writer.step()
    assert (len(list(after.aside.iterdir())), after.writer.is_recovering) == (1, False)
    assert set(after.hints()) == {"record set aside"}
    after.database.close()


def test_a_folder_of_the_same_path_on_another_machine_is_another_folder(desk: Desk, tmp_path: Path) -> None:
    desk.begin()
    desk.database.close()
    after = Desk(tmp_path, "after")
    after.context.identity = Identity("this machine", None)
    after.context.many_machines = True
    for record in after.store.history.unsettled():
        after.writer.adopt(record, Identity("that machine", None))
    after.writer.step()
    assert tree(after.output) == []
    assert (after.record().status, ANOTHERS in after.record().notes) == ("abandoned", True)
    after.database.close()


def committed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt whose end was committed when the process died, before its marker was put in place."""
    monkeypatch.setattr(desk.store, "clear_pending", lambda _keys: None)
    with monkeypatch.context() as patch:
        patch.setattr(Marking, "place", lambda *_: True)
        desk.whole()
    assert desk.record().pending
    assert not (desk.output / "shot" / "a.done").exists()


def test_a_marker_that_was_committed_and_not_put_in_place_is_put_there(
    desk: Desk, next_desk: Callable[[], Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    committed(desk, monkeypatch)
    after = next_desk()
    assert (after.marker().PromptId, after.names()) == ("p", ["a_00001_.png"])
    assert after.record().pending == []
    assert tree(after.output) == ["shot/a.done", "shot/a_00001_.png"]


def test_a_committed_marker_does_not_replace_a_newer_one(
    desk: Desk, next_desk: Callable[[], Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    committed(desk, monkeypatch)
    write(desk.output / "shot" / "a.done", json.dumps({"Timestamp": "x"}).encode(), modified=time.time() + 5)
    after = next_desk()
    assert after.marker().Timestamp == "x"
    assert tree(after.output) == ["shot/a.done", "shot/a_00001_.png"]
    assert [(one.path, one.status) for one in after.record().markers] == [(None, "not written")]
    assert after.record().notes[-1] == "no marker shot/a: a newer prompt with the same prefix had started"
    assert marker_events(after) == []


@pytest.mark.parametrize(
    "pending",
    [
        ("shot/a", "success", "../../evil"),
        ("shot/a", "success", "a_00001_.png"),
        ("../a", "success", ".rr-00000000-1-1-0123456789ab.tmp"),
        ("shot/a", "success", ".rr-00000000-1-1-0123456789ab.tmp"),
    ],
)
def test_a_pending_name_that_is_no_temporary_of_ours_touches_nothing(
    desk: Desk, next_desk: Callable[[], Desk], pending: tuple[str, str, str]
) -> None:
    desk.whole()
    before = {path: (desk.output / path).read_bytes() for path in tree(desk.output)}
    record = desk.record()
    record.pending = [pending]
    desk.store.save([Change(record)])
    after = next_desk()
    assert {path: (after.output / path).read_bytes() for path in tree(after.output)} == before
    assert after.record().pending == []


def test_a_committed_marker_that_cannot_be_put_in_place_is_told(
    desk: Desk, next_desk: Callable[[], Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    committed(desk, monkeypatch)
    (desk.output / "shot" / "a.done").mkdir()
    os.utime(desk.output / "shot" / "a.done", (1000, 1000))
    after = next_desk()
    assert "marker" in after.hints()
    assert [(one.path, one.status) for one in after.record().markers] == [(None, "not written")]
    assert marker_events(after) == []


def test_a_dead_prompt_that_could_not_be_saved_is_settled_once_the_store_works_again(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.begin()
    desk.database.close()
    after = Desk(tmp_path, "after")
    recover = failing(monkeypatch, after.store)
    after.adopt_dead()
    after.step()
    assert after.record().status == "running"
    recover()
    for _ in range(2):
        after.later(FILE_PATIENCE_SECONDS + 1)
        after.step()
    assert after.record().status == "abandoned"
    after.database.close()


# ---------------------------------------------------------------- events


def heard(desk: Desk) -> list[tuple[int, str, str]]:
    kept = desk.context.stream.kept()
    return [(one.number, one.kind, one.prompt_id) for one in kept]


def test_events_are_told_after_their_commit_in_order_and_numbered(desk: Desk) -> None:
    desk.whole()
    kinds = [kind for _, kind, _ in heard(desk)]
    assert kinds[:2] == ["prompt.queued", "prompt.started"]
    assert kinds[-2:] == ["marker.written", "prompt.finished"]
    assert kinds.count("node.started") == kinds.count("node.finished") == 2
    numbers = [number for number, _, _ in heard(desk)]
    assert numbers == sorted(set(numbers))


def test_nothing_is_told_that_is_not_committed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, patient: Callable[[], None]
) -> None:
    recover = failing(monkeypatch, desk.store)
    desk.whole()
    assert heard(desk) == []
    recover()
    patient()
    desk.step()
    kinds = [kind for _, kind, _ in heard(desk)]
    assert (kinds[0], kinds[-1]) == ("prompt.queued", "prompt.finished")
    assert len(kinds) == len(set(kinds)) + 2


def test_event_numbers_only_grow_though_the_database_was_set_aside(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, patient: Callable[[], None]
) -> None:
    monkeypatch.setattr(committing, "NUMBERS_AT_ONCE", 5)
    desk.whole("p")
    recover = failing(monkeypatch, desk.store, error=MALFORMED)
    desk.queue("q", graph={"1": node("A")})
    recover()
    patient()
    desk.step()
    for number in range(6):
        desk.queue(f"r{number}", graph={"1": node("A")})
    assert desk.record("q").status == "queued"
    numbers = [number for number, _, _ in heard(desk)]
    assert len(numbers) > 10
    assert numbers == sorted(set(numbers))


# ---------------------------------------------------------------- thousands that wait


def test_what_one_event_costs_does_not_grow_with_the_prompts_that_wait(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = {"1": node("A")}
    for number in range(1000):
        desk.inbox.append(PromptQueued(f"p{number}", now(), number, dict(graph), frozenset(graph), False))
    desk.step()
    desk.step()
    looked_at: list[str] = []
    honest = Starting.attend

    def attend(self: Starting, run: Any) -> None:
        looked_at.append(run.record.prompt_id)
        honest(self, run)

    monkeypatch.setattr(Starting, "attend", attend)
    monkeypatch.setattr(type(desk.runs), "__iter__", lambda _self: pytest.fail("all were walked over"))
    desk.queue("one more", dict(graph))
    assert looked_at == ["one more"]
    assert desk.record("one more").status == "queued"
    desk.step()
    looked_at.clear()
    desk.step(PromptStarted("p0", now()))
    assert looked_at == ["p0"]


def test_a_cleared_queue_is_ended_by_few_transactions(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = [{"1": node("A")} for _ in range(1000)]
    for number, graph in enumerate(graphs):
        desk.inbox.append(PromptQueued(f"p{number}", now(), number, graph, frozenset(graph), False))
    desk.step()
    commits: list[int] = []
    honest = desk.store.save
    monkeypatch.setattr(desk.store, "save", lambda *args, **more: commits.append(1) or honest(*args, **more))  # type: ignore[func-returns-value]
    desk.step(*(PromptUnqueued(f"p{number}", now(), graph) for number, graph in enumerate(graphs)))
    assert len(commits) <= 6
    assert not desk.runs
    assert {desk.record(f"p{number}").status for number in (0, 500, 999)} == {"cancelled"}
