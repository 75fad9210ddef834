"""The recorder as a whole, in this process: started, fed, asked and stopped."""

import asyncio
import os
import stat
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from run_recorder.telemetry.markers.file import read_marker
from run_recorder.telemetry.markers.requests import INPUTS_READY
from run_recorder.telemetry.models.environment import Environment
from run_recorder.telemetry.models.listing import Filter
from run_recorder.telemetry.models.prompt import Prompt
from run_recorder.telemetry.models.record import PromptRecord
from run_recorder.telemetry.models.times import Stamp
from run_recorder.telemetry.process.settings import ServerSettings
from run_recorder.telemetry.record import acknowledging, store_access
from run_recorder.telemetry.record.errors import NotReadyError
from run_recorder.telemetry.record.events import (
    MarkerRun,
    NodeStarted,
    PromptDone,
    PromptOutcome,
    PromptQueued,
    PromptStarted,
)
from run_recorder.telemetry.record.host import HostProcess
from run_recorder.telemetry.record.memory_views import UNCOMMITTED
from run_recorder.telemetry.record.opening import KEY_FILE, Opening, digest_key
from run_recorder.telemetry.record.recorder import STOPPED, Recorder
from run_recorder.telemetry.record.recording import Recording
from run_recorder.telemetry.record.recovery import Recovery
from run_recorder.telemetry.record.spool import SUFFIX, Spool, read_spool
from run_recorder.telemetry.record.writer import Writer
from run_recorder.telemetry.store import database as database_module
from run_recorder.telemetry.store.changes import Change
from run_recorder.telemetry.store.database import Database, default_url
from run_recorder.telemetry.store.database_file import leave_note
from run_recorder.telemetry.store.figures import Looks
from run_recorder.telemetry.store.instance import FOLDER
from run_recorder.telemetry.store.store import Store

from .support import image, marker_node, node, saver, tree, write

GRAPH = {"1": node("EmptyImage"), "3": saver("shot/a"), "9": marker_node()}


def now() -> Stamp:
    return Stamp(time.time(), time.perf_counter())


def host(folder: Path, **changes: Any) -> HostProcess:
    roots = {name: folder / name for name in ("output", "temp", "input")}
    for root in roots.values():
        root.mkdir(exist_ok=True)
    made = HostProcess(
        private_folder=folder / "private",
        roots=lambda: roots,
        worker_alive=lambda: True,
        is_choice=lambda *_: False,
        port=lambda: 8188,
        environment=lambda: Environment(id="env", devices=["cpu"]),
    )
    return replace(made, **changes)


Starts = Callable[..., Recording]


@pytest.fixture
def starts(tmp_path: Path) -> Iterator[Starts]:
    """Start recordings on one folder; all are stopped in the end."""
    made: list[Recording] = []

    def start(**changes: Any) -> Recording:
        found = Recording(host(tmp_path, **changes))
        made.append(found)
        found.start()
        assert found.ready.wait(10)
        return found

    yield start
    for one in made:
        one.stop()


@pytest.fixture
def recording(starts: Starts) -> Recording:
    return starts()


def eventually(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def queue(recording: Recording, prompt_id: str = "p", graph: dict[str, Any] = GRAPH, number: float = 1) -> PromptQueued:
    event = PromptQueued(prompt_id, now(), number, graph, frozenset(graph), False)
    recording.inbox.urge(event)
    return event


def begin(recording: Recording, prompt_id: str = "p", graph: dict[str, Any] = GRAPH) -> None:
    queue(recording, prompt_id, graph)
    recording.inbox.urge(PromptStarted(prompt_id, now()))
    recording.inbox.append(NodeStarted(prompt_id, "1", time.perf_counter()))


def end(recording: Recording, prompt_id: str = "p", outputs: Any = (), status: str = "success") -> None:
    recording.inbox.append(PromptOutcome(prompt_id, now(), status))
    recording.inbox.urge(PromptDone(prompt_id, now(), {} if outputs == () else outputs, True))


def whole(recording: Recording, prompt_id: str = "p", graph: dict[str, Any] = GRAPH) -> Prompt:
    begin(recording, prompt_id, graph)
    end(recording, prompt_id)
    eventually(lambda: not recording.reading.is_open(prompt_id))
    found = recording.reading.prompt(prompt_id)
    assert found is not None
    return found


def problems(recording: Recording) -> dict[str, str]:
    return {problem.what: problem.hint for problem in recording.problems.all()}


# ---------------------------------------------------------------- starting and stopping


def test_before_it_has_started_it_says_so_and_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = Recording(host(tmp_path))
    with pytest.raises(NotReadyError):
        recording.reading.prompt("p")
    with pytest.raises(NotReadyError):
        _ = recording.reading
    recording.ending()
    assert recording.wait_settled(0)
    assert recording.running_node() == (None, None)
    monkeypatch.setattr(acknowledging, "POST_SECONDS_OPENING", 0.01)
    assert not recording.make_certain(queue(recording))
    assert recording.marker_path("p", "shot/a") == "shot/a.done"
    health = recording.store_health()
    assert (health.backend, health.prompts, health.queue_depth, health.dropped) == (None, None, 1, 0)


def test_a_started_recording_has_a_private_folder_with_database_key_and_lock(
    recording: Recording, tmp_path: Path
) -> None:
    private = tmp_path / "private"
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    for name in ("run-recorder.sqlite3", KEY_FILE):
        assert stat.S_IMODE((private / name).stat().st_mode) == 0o600
    assert len(list((private / FOLDER).iterdir())) == 1
    eventually(lambda: recording.reading.environment("env"))
    assert recording.reading.environment("env") == Environment(id="env", devices=["cpu"])
    assert recording.reading.environment("other") is None
    health = recording.store_health()
    assert (health.backend, health.prompts, health.dropped) == ("sqlite", 0, 0)
    assert health.bytes
    assert problems(recording) == {}


def test_a_stop_saves_what_has_come_and_gives_the_lock_back(starts: Starts, tmp_path: Path) -> None:
    recording = starts()
    queue(recording)
    recording.stop()
    assert list((tmp_path / "private" / FOLDER).iterdir()) == []
    after = starts()
    found = after.reading.prompt("p")
    assert found is not None
    assert found.status == "abandoned"


@pytest.mark.parametrize("locks", [True, False], ids=["locks", "no locks"])
def test_a_clean_stop_settles_its_own_prompts(starts: Starts, tmp_path: Path, locks: bool) -> None:
    if not locks:
        (tmp_path / "private").mkdir()
        write(tmp_path / "private" / FOLDER)
    recording = starts()
    begin(recording, "running")
    queue(recording, "queued", number=2)
    eventually(lambda: recording.store.prompts.record("queued"))
    told, waiter = asyncio.run(waited(recording, "running"))
    assert told is not None
    assert waiter is not None
    recording.stop()
    database = Database(default_url(tmp_path / "private"))
    database.open_to_read()
    running, waiting = Store(database).prompts.record("running"), Store(database).prompts.record("queued")
    database.close()
    assert running is not None
    assert waiting is not None
    assert (running.status, running.current_node and running.current_node.node_id) == ("abandoned", "1")
    assert running.ended_ms is not None
    assert running.notes == waiting.notes == [STOPPED]
    assert (waiting.status, waiting.started_ms) == ("abandoned", None)
    assert read_marker(tmp_path / "output" / "shot" / "a.failed").Status == "abandoned"


async def waited(recording: Recording, prompt_id: str) -> Any:
    return recording.reading.wait(prompt_id, None, asyncio.get_running_loop())


def test_a_clean_stop_while_the_store_is_away_leaves_the_end_in_the_spool(
    starts: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = starts()
    begin(recording)
    eventually(lambda: recording.store.prompts.record("p"))
    monkeypatch.setattr(recording.store, "save", away)
    recording.stop()
    after = starts()
    eventually(lambda: not after.reading.is_open_anywhere("p"))
    found = after.reading.prompt("p")
    assert found is not None
    assert (found.status, found.notes) == ("abandoned", [STOPPED])


def away(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_living_process_without_a_lock_is_not_declared_dead_by_the_next(starts: Starts, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    write(tmp_path / "private" / FOLDER)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    one = starts()
    assert getattr(one.reading.prompt("p1"), "status", None) == "running"
    process.kill()
    process.communicate()
    two = starts()
    assert getattr(two.reading.prompt("p1"), "status", None) == "abandoned", "its lock tells nothing, its number does"


def test_the_key_of_digests_is_made_once(tmp_path: Path) -> None:
    key = digest_key(tmp_path)
    assert len(key) == 32
    assert digest_key(tmp_path) == key
    (tmp_path / KEY_FILE).write_bytes(b"short")
    assert len(digest_key(tmp_path)) == 32
    assert len(digest_key(tmp_path / "missing")) == 32


def test_a_clock_that_no_record_explains_forgets_nothing_and_is_told(starts: Starts, tmp_path: Path) -> None:
    database = Database(default_url(tmp_path / "private"))
    database.open()
    day = 86_400_000
    ages = [(f"{age} days", round(time.time() * 1000) - age * day) for age in (100, 120, 140)]
    Store(database).save([Change(PromptRecord(name, 1, "other", "success", queued_ms=at)) for name, at in ages])
    database.close()
    recording = starts(settings=ServerSettings(RUN_RECORDER_KEEP_DAYS="30"))
    eventually(lambda: "clock" in problems(recording))
    assert "100 days ahead of the newest record" in problems(recording)["clock"]
    eventually(lambda: not recording.store.prompts.record("140 days"))
    assert recording.store.prompts.record("100 days") and recording.store.prompts.record("120 days")


def test_an_environment_that_cannot_be_told_is_a_problem_and_nothing_more(starts: Starts) -> None:
    def broken() -> Environment:
        raise OSError("no such thing")

    recording = starts(environment=broken)
    eventually(lambda: "environment" in problems(recording))
    assert whole(recording).status == "success"


def test_orphaned_temporaries_are_swept_up_at_the_start(starts: Starts, tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    orphan = write(tmp_path / "output" / "deep" / ".rr-00000000-1-1-0123456789ab.tmp", modified=1000)
    starts()
    eventually(lambda: not orphan.exists())


def test_a_private_folder_that_cannot_be_made_costs_records_but_no_prompt(starts: Starts, tmp_path: Path) -> None:
    write(tmp_path / "private")
    recording = starts()
    assert "store" in problems(recording)
    queue(recording)
    found = recording.reading.prompt("p")
    assert found is None or found.status == "queued"


@pytest.mark.parametrize(
    "url", ["nonsense", "postgresql+nodriver://x/y", "sqlite://", "sqlite:///:memory:", "mysql://x/y"]
)
def test_a_database_url_of_no_use_is_told_and_the_default_takes_its_place(starts: Starts, url: str) -> None:
    recording = starts(settings=ServerSettings(RUN_RECORDER_DATABASE_URL=url))
    assert "RUN_RECORDER_DATABASE_URL" in problems(recording)["setting RUN_RECORDER_DATABASE_URL"]
    assert whole(recording).status == "success"


def test_an_error_nobody_thought_of_at_the_start_is_told_and_nothing_is_kept_in_memory(
    starts: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_given: object) -> None:
        raise RuntimeError("nobody thought of it")

    monkeypatch.setattr(Opening, "equip", broken)
    recording = starts()
    assert "can't be opened" in problems(recording)["store"]
    queue(recording)
    recording.inbox.progress("p", "1", 1, 2)
    assert len(recording.inbox) == 0
    waiting: Future[str] = Future()
    recording.marker_ran(MarkerRun("p", "1", "a", "inputs ready", "nothing", False, waiting))
    assert waiting.result(0) == "", "a node does not wait for who isn't there"
    with pytest.raises(NotReadyError):
        recording.reading.prompt("p")


def test_a_step_that_stumbles_is_told_and_the_next_goes_on(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, broken = Writer.step, [True]

    def step(self: Writer) -> None:
        if broken.pop() if broken else False:
            raise RuntimeError("stumbled")
        real(self)

    monkeypatch.setattr(Writer, "step", step)
    assert whole(recording).status == "success"
    assert "stumbled" in problems(recording)["writer"]


def test_a_network_file_system_is_told(starts: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "is_on_network", lambda _folder: True)
    recording = starts()
    assert "store on a network file system" in problems(recording)
    assert whole(recording).status == "success"


def test_a_corrupt_database_is_set_aside_at_the_start(starts: Starts, tmp_path: Path) -> None:
    file = write(tmp_path / "private" / "run-recorder.sqlite3", b"this is no database at all\0" * 50)
    leave_note(file)
    recording = starts()
    assert "store corrupt" in problems(recording)
    assert [path for path in (tmp_path / "private").iterdir() if ".corrupt-" in path.name]
    assert whole(recording).status == "success"


def test_another_programs_file_in_the_database_s_place_is_kept_and_named(starts: Starts, tmp_path: Path) -> None:
    file = write(tmp_path / "private" / "run-recorder.sqlite3", b"this is no database at all" * 50)
    recording = starts()
    assert "run-recorder.sqlite3 is no database, not a database of Run Recorder" in problems(recording)["store"]
    assert file.read_bytes() == b"this is no database at all" * 50
    assert not (tmp_path / "private" / "instances").exists(), "nothing of ours beside it"
    file.rename(tmp_path / "elsewhere")
    assert whole(recording).status == "success"
    eventually(lambda: list(tmp_path.glob("private/instances/*.lock")))


# ---------------------------------------------------------------- asking


def test_a_prompt_is_known_from_the_moment_it_is_queued(recording: Recording) -> None:
    for number in range(200):
        queue(recording, f"p{number}", {"1": node("A")})
        found = recording.reading.prompt(f"p{number}")
        assert found is not None
        assert found.status == "queued"
    assert recording.reading.prompt("nobody") is None
    assert recording.reading.prompt("p1", 2) is None
    assert recording.reading.nodes("nobody") is None


def test_a_running_prompt_says_which_node_and_step(recording: Recording) -> None:
    begin(recording)
    recording.inbox.progress("p", "1", 3, 9)
    found = recording.reading.prompt("p")
    assert found is not None
    assert found.current_node is not None
    assert (found.status, found.current_node.node_id, found.current_node.value) == ("running", "1", 3)
    assert recording.running_node() == ("p", found.current_node)
    assert [one.node_id for one in recording.reading.nodes("p") or []] == ["1"]
    assert recording.reading.is_open("p")
    assert recording.reading.is_open("p", 1)
    assert not recording.reading.is_open("p", 2)
    assert not recording.reading.is_open("q")
    end(recording)
    eventually(lambda: not recording.reading.is_open("p"))
    assert recording.running_node() == (None, None)
    assert [one.node_id for one in recording.reading.nodes("p") or []] == ["1"]


def test_a_whole_prompt_is_told_and_its_marker_stands(recording: Recording, tmp_path: Path) -> None:
    begin(recording)
    eventually(lambda: not recording.inbox)
    write(tmp_path / "output" / "shot" / "a_00001_.png")
    end(recording, outputs={"3": image("a_00001_.png", "shot")})
    eventually(lambda: not recording.reading.is_open("p"))
    found = recording.reading.prompt("p")
    assert found is not None
    assert (found.status, found.markers[0].path, found.outputs[0].filename) == (
        "success",
        "shot/a.done",
        "a_00001_.png",
    )
    assert found.instance.port == 8188
    assert read_marker(tmp_path / "output" / "shot" / "a.done").PromptId == "p"


async def test_a_wait_is_answered_with_the_end(recording: Recording) -> None:
    loop = asyncio.get_running_loop()
    begin(recording)
    found, waiter = recording.reading.wait("p", None, loop)
    assert found is not None
    assert waiter is not None
    recording.ending()
    assert not recording.wait_settled(0)
    end(recording)
    told = Prompt.model_validate_json(await asyncio.wait_for(waiter.answer, 10))
    assert told.status == "success"
    waiter.done()
    assert recording.wait_settled(5)
    again, nobody = recording.reading.wait("p", None, loop)
    assert again == recording.reading.prompt("p")
    assert nobody is None
    assert recording.reading.wait("nobody", None, loop) == (None, None)


def test_a_queued_prompt_is_committed_while_it_is_waited_for(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acknowledging, "POST_SECONDS", 10.0)
    event = queue(recording)
    assert recording.make_certain(event)
    record = recording.store.prompts.record("p")
    assert record is not None
    assert record.status == "queued"


def test_what_is_not_committed_in_time_is_synced_to_the_spool(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    honest = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(descriptor) or honest(descriptor))  # type: ignore[func-returns-value]
    steps: list[int] = []
    monkeypatch.setattr(Writer, "step", lambda _self: steps.append(1) or time.sleep(0.01))  # type: ignore[func-returns-value]
    recording.inbox.ring()
    eventually(lambda: steps)  # the step that was under way is over
    assert recording.make_certain(queue(recording))
    assert synced
    (file,) = (recording.host.private_folder / "spool").glob(f"*{SUFFIX}")
    (kept,) = read_spool(file)
    assert (kept.record.prompt_id, kept.record.status, kept.ended) == ("p", "queued", False)
    monkeypatch.undo()
    recording.inbox.ring()
    eventually(lambda: recording.store.prompts.record("p"))
    eventually(lambda: not read_spool(file))


def test_a_store_that_does_not_answer_holds_nobody_up(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()
    answer = threading.Event()

    def slow(_prompt_id: str) -> int:
        asked.set()
        answer.wait(20)
        return 0

    monkeypatch.setattr(recording.store.history, "last_run_number", slow)
    event = queue(recording)
    assert asked.wait(10)
    begun = time.monotonic()
    assert recording.make_certain(event), "in the spool"
    recording.marker_path("p", "a%year%")
    assert recording.reading.prompt("p") is not None
    assert time.monotonic() - begun < 5
    answer.set()
    eventually(lambda: recording.store.prompts.record("p"))


def full_disk(*_given: object, **_named: object) -> None:
    raise OSError(28, "No space left on device")


def test_no_garbage_collection_waits_for_a_store_that_fails(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording.store, "save", full_disk)
    queue(recording)
    eventually(lambda: recording.reading.is_failing)
    recording.ending()
    begun = time.monotonic()
    assert not recording.wait_settled(10)
    assert time.monotonic() - begun < 5


def test_what_waits_in_memory_is_in_the_list_beside_what_is_stored(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        whole(recording, f"old{number}")

    with monkeypatch.context() as patch:
        patch.setattr(recording.store, "save", full_disk)
        queue(recording, "new")
        eventually(lambda: recording.reading.is_failing)
        items, after = recording.reading.page(Filter(), 2, None)
        assert [one.prompt_id for one in items] == ["new", "old2"]
        assert [one.prompt_id for one in recording.reading.page(Filter(), 9, after)[0]] == ["old1", "old0"]


def test_an_erased_prompt_s_events_are_told_to_nobody(recording: Recording) -> None:
    for name in ("gone", "stays"):
        whole(recording, name)
    assert recording.reading.stream.prompt_ids() == {"gone", "stays"}
    recording.reading.delete("gone")
    assert recording.reading.stream.prompt_ids() == {"stays"}
    assert {event.prompt_id for event in recording.store.events.newest()} == {"stays"}


@pytest.mark.parametrize("how", ["by id", "by time"])
def test_what_is_erased_leaves_the_search_index_without_being_asked(recording: Recording, how: str) -> None:
    whole(recording)
    if how == "by id":
        assert recording.reading.delete("p") == 1
    else:
        assert recording.reading.delete_until(round(time.time() * 1000) + 1000) == 1
    eventually(lambda: not recording.store.erasing.owes_words)


def test_pages_lists_and_deletes(recording: Recording) -> None:
    for number in range(5):
        whole(recording, f"p{number}", {"1": node("A" if number % 2 else "B")})
    queue(recording, "open")
    items, after = recording.reading.page(Filter(), 4, None)
    assert [one.prompt_id for one in items] == ["open", "p4", "p3", "p2"]
    assert items[0].status == "queued"
    rest, last = recording.reading.page(Filter(), 4, after)
    assert [one.prompt_id for one in rest] == ["p1", "p0"]
    assert last is None
    assert [one.prompt_id for one in recording.reading.page(Filter(class_type="A"), 9, None)[0]] == ["p3", "p1"]
    assert recording.reading.delete("p4") == 1
    assert recording.reading.delete("p4") == 0
    assert recording.reading.delete("open") == 0
    assert recording.reading.delete_until(round(time.time() * 1000) + 1000) == 4
    assert [one.prompt_id for one in recording.reading.page(Filter(), 9, None)[0]] == ["open"]
    assert recording.reading.page(Filter(q="nobody"), 9, None) == ([], None)


def test_a_running_prompt_in_a_page_is_as_new_as_one_asked_for(recording: Recording) -> None:
    begin(recording)
    recording.reading.flush()
    recording.inbox.progress("p", "1", 7, 9)
    recording.reading.prompt("p")  # takes in what has come
    ((one,), _) = recording.reading.page(Filter(), 9, None)
    assert one.current_node is not None
    assert one.current_node.value == 7


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, True),
        ({"statuses": ("queued",)}, True),
        ({"statuses": ("running",)}, False),
        ({"since_ms": 0}, True),
        ({"since_ms": 10**15}, False),
        ({"until_ms": 10**15}, True),
        ({"until_ms": 5}, False),
        ({"q": "PROMPT-x"}, True),
        ({"q": "other"}, False),
        ({"class_type": "A"}, False),
        ({"output": "a.png"}, False),
    ],
)
def test_what_is_in_memory_is_asked_as_the_store_is(
    recording: Recording, monkeypatch: pytest.MonkeyPatch, wanted: dict[str, Any], found: bool
) -> None:
    monkeypatch.setattr(store_access, "STORE_RETRY_SECONDS", 0.02)
    with monkeypatch.context() as patch:
        patch.setattr(recording.store, "save", full_disk)
        queue(recording, "prompt-x")
        eventually(lambda: recording.reading.is_failing)
        assert recording.store.count() == 0
        assert bool(recording.reading.page(Filter(**wanted), 9, None)[0]) is found
    eventually(lambda: recording.store.count())
    assert bool(recording.store.prompts.page(Filter(**wanted), 9)) is found


# ---------------------------------------------------------------- without a store


def test_while_the_store_is_closed_what_is_in_memory_is_served(recording: Recording) -> None:
    queue(recording)
    recording.reading.flush()
    recording.store.database.is_open = False
    try:
        items, after = recording.reading.page(Filter(), 9, None)
        assert ([one.prompt_id for one in items], after) == (["p"], None)
        assert recording.reading.page(Filter(statuses=("error",)), 9, None) == ([], None)
        eventually(lambda: recording.store_health().prompts is None and "store read" in problems(recording))
    finally:
        recording.store.database.is_open = True


def test_health_is_told_from_memory_while_the_store_and_the_writer_hang(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue(recording)
    recording.reading.flush()
    release, asked, held = threading.Event(), threading.Event(), threading.Event()

    def hangs() -> int:
        asked.set()
        release.wait(30)
        return 7

    def hold(*_given: object) -> None:
        held.set()
        release.wait(30)

    monkeypatch.setattr(Recorder, "find", hold)  # asked under the lock
    monkeypatch.setattr(recording.store, "count", hangs)
    holder = threading.Thread(target=recording.reading.prompt, args=("p",))
    holder.start()
    held.wait(5)
    told = [recording.store_health() for _ in range(20)]
    assert {(one.prompts, one.backend) for one in told} == {(1, "sqlite")} and told[0].bytes
    assert recording.running_node() == (None, None)
    assert asked.wait(5)
    looking = [thread for thread in threading.enumerate() if thread.name == "run-recorder-look"]
    assert len(looking) == 1, "one look at a time"
    assert not release.is_set()
    release.set()
    holder.join(5)
    eventually(lambda: recording.store_health().prompts == 7)


def test_health_counts_what_is_saved_and_erased_without_asking(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never() -> int:
        raise AssertionError("asked")

    monkeypatch.setattr(Looks, "ask", lambda _self, look: None)
    monkeypatch.setattr(recording.store, "count", never)
    for number in range(3):
        whole(recording, f"p{number}")
    assert recording.store_health().prompts == 3
    recording.reading.delete("p1")
    assert recording.store_health().prompts == 2
    recording.reading.delete_until(2**45)
    assert recording.store_health().prompts == 0


def test_an_end_that_neither_store_nor_spool_takes_is_told_with_a_note(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(recording)
    recording.reading.flush()

    monkeypatch.setattr(recording.store, "save", full_disk)
    monkeypatch.setattr(Spool, "keep", full_disk)
    end(recording)
    eventually(lambda: "store" in problems(recording))
    found = recording.reading.prompt("p")
    assert found is not None
    assert (found.status, UNCOMMITTED in found.notes) == ("success", True)
    assert not recording.make_certain(queue(recording, "q"))
    monkeypatch.undo()
    eventually(lambda: not recording.reading.is_open("p"))
    assert UNCOMMITTED not in (recording.reading.prompt("p") or found).notes


# ---------------------------------------------------------------- what the node asks


@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        ("shot/a", "shot/a.done"),
        ("a//b", "a/b.done"),
        ("", ""),
        ("../x", ""),
        ("%width%", ""),
        ("x_%height%", ""),
        ("%prompt_id%", "p.done"),
        ("%year%", time.strftime("%Y") + ".done"),
    ],
)
def test_a_node_is_told_where_its_marker_will_be(recording: Recording, prefix: str, path: str) -> None:
    begin(recording)
    assert recording.marker_path("p", prefix) == path
    assert recording.marker_path("unknown", "a") == "a.done"


def test_the_time_in_a_marker_s_path_is_the_prompt_s_start(recording: Recording, utc: None) -> None:
    queue(recording)
    recording.inbox.urge(PromptStarted("p", Stamp(0.0, time.perf_counter())))
    assert recording.marker_path("p", "%year%") == "1970.done"


def test_a_node_that_waits_is_answered_at_once_and_one_that_does_not_wakes_nobody(
    recording: Recording, tmp_path: Path
) -> None:
    begin(recording, graph={"3": saver("a"), "9": marker_node(filename_prefix="a", when=INPUTS_READY)})
    answer: Future[str] = Future()
    recording.marker_ran(MarkerRun("p", "9", "a", INPUTS_READY, "nothing", False, answer))
    assert answer.result(5) == "a.done"
    assert tree(tmp_path / "output") == ["a.done"]
    recording.marker_ran(MarkerRun("p", "9", "a", "prompt completes", "nothing", False))
    end(recording)
    eventually(lambda: not recording.reading.is_open("p"))


def test_error_texts_are_told_relative_to_comfyui_s_folders(recording: Recording, tmp_path: Path) -> None:
    begin(recording)
    message = f"{tmp_path}/output/shot/a.png and {tmp_path}/elsewhere"
    recording.inbox.append(PromptOutcome("p", now(), "error", "1", "A", "E", message))
    found = recording.reading.prompt("p")
    assert found is not None
    assert found.error is not None
    assert found.error.message == "shot/a.png and <path>"


# ---------------------------------------------------------------- other processes

KILLED = """
import sys, time
from pathlib import Path
from run_recorder.telemetry.record.host import HostProcess
from run_recorder.telemetry.record.recording import Recording
from run_recorder.telemetry.models.environment import Environment
from run_recorder.telemetry.record.events import *
from run_recorder.telemetry.models.times import Stamp
folder = Path(sys.argv[1])
roots = {name: folder / name for name in ("output", "temp", "input")}
for root in roots.values():
    root.mkdir(exist_ok=True)
now = lambda: Stamp(time.time(), time.perf_counter())
recording = Recording(HostProcess(folder / "private", lambda: roots, lambda: True, lambda *_: False, lambda: 1,
                           lambda: Environment(id="e")))
recording.start(); recording.ready.wait(10)
graph = {"1": {"class_type": "Slow", "inputs": {}}, "9": {"class_type": "WriteDoneMarker", "inputs": {}},
         "3": {"class_type": "SaveImage", "inputs": {"filename_prefix": "a"}}}
for number in (1, 2):
    recording.inbox.urge(PromptQueued(f"p{number}", now(), number, graph, frozenset(graph), False))
recording.inbox.urge(PromptStarted("p1", now()))
recording.inbox.append(NodeStarted("p1", "1", time.perf_counter()))
time.sleep(0.5); recording.reading.flush()
print("ready", flush=True); sys.stdin.read()
"""


def test_what_a_killed_process_left_is_abandoned_before_anything_is_answered(starts: Starts, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    other = starts()
    assert [getattr(other.reading.prompt(name), "status", None) for name in ("p1", "p2")] == ["running", "queued"]
    process.kill()
    process.communicate()
    after = starts()
    one, two = after.reading.prompt("p1"), after.reading.prompt("p2")
    assert one is not None
    assert two is not None
    assert (one.status, two.status) == ("abandoned", "abandoned")
    assert one.current_node is not None
    assert one.current_node.node_id == "1"
    assert read_marker(tmp_path / "output" / "a.failed").Status == "abandoned"
    assert len(list((tmp_path / "private" / FOLDER).iterdir())) == 2


def test_one_record_that_cannot_be_settled_keeps_no_other_from_it(
    starts: Starts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(default_url(tmp_path / "private"))
    database.open()
    store = Store(database)
    dead = str(uuid.uuid4())
    for name in ("bad", "good"):
        store.save([Change(PromptRecord(name, 1, dead))])
    database.close()
    real = Recovery.settle_one

    def settle(self: Recovery, record: Any) -> bool:
        if record.prompt_id == "bad":
            raise ValueError("odd")
        return real(self, record)

    monkeypatch.setattr(Recovery, "settle_one", settle)
    recording = starts()
    assert "recovery" in problems(recording)
    good = recording.reading.prompt("good")
    assert good is not None
    assert good.status == "abandoned"


def test_where_no_lock_can_be_held_the_process_records_all_the_same(starts: Starts, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    write(tmp_path / "private" / FOLDER)
    recording = starts()
    assert "instance" in problems(recording)
    assert whole(recording).status == "success"


def test_an_id_of_which_a_run_is_open_on_another_server_is_not_erased(recording: Recording) -> None:
    store = recording.store
    store.save([Change(PromptRecord("twice", 1, "another server", status="running", queued_ms=1))])
    store.save([Change(PromptRecord("twice", 2, "me", status="success", queued_ms=2))])
    assert not recording.reading.is_open("twice")
    assert recording.reading.is_open_anywhere("twice")
    assert recording.reading.is_open_anywhere("twice", 1)
    assert not recording.reading.is_open_anywhere("twice", 2)
