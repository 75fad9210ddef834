"""A prompt with an id that no UUID looks like is recorded, and marked, as any other: older ComfyUI takes any text."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from run_recorder.comfyui_host import Host
from run_recorder.telemetry.markers.file import read_marker
from run_recorder.telemetry.models.environment import Environment
from run_recorder.telemetry.models.text import id_note, kept_id
from run_recorder.telemetry.process.settings import ServerSettings
from run_recorder.telemetry.record import settling
from run_recorder.telemetry.record.host import HostProcess

from .support import image, marker_node, node, saver

GRAPH = {"1": node("EmptyImage"), "3": saver("shot/a"), "9": marker_node(filename_prefix="shot/a")}
ODD = ["x" * 201, "x" * 5000, "絵" * 1000, "a\0b", "", "\ud800", " ", "../../etc/passwd", "\x1b[2J", "😀" * 200]


@pytest.fixture
def comfyui(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Our border, on a ComfyUI that is played by the test; its recorder runs, and waits for no file."""
    monkeypatch.setattr(settling, "FILE_PATIENCE_SECONDS", 0.05)
    roots = {name: tmp_path / name for name in ("output", "temp", "input")}
    for root in roots.values():
        root.mkdir(exist_ok=True)

    def recorded(host: Host) -> HostProcess:
        return HostProcess(
            private_folder=tmp_path / "private",
            roots=lambda: roots,
            worker_alive=lambda: True,
            is_choice=lambda *_: False,
            port=lambda: 8188,
            environment=lambda: Environment(id="env", devices=["cpu"]),
            settings=ServerSettings(RUN_RECORDER_DATABASE_URL=database_url),
        )

    host = Host(recorded)
    host.recording.start()
    assert host.recording.ready.wait(10)
    yield host
    host.recording.stop()


def eventually(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def runs(host: Host, prompt_id: Any) -> None:
    """What ComfyUI does with a prompt, from the queue to its end."""
    graph = dict(GRAPH)
    item = (1.0, prompt_id, graph, {}, list(graph))
    host.queue.on_put_done(host.queue.on_put(item))
    queue = SimpleNamespace(queue=[], currently_running={1: item})
    executor = SimpleNamespace(server=SimpleNamespace(prompt_queue=queue), caches=None)
    host.execution.on_message(executor, "execution_start", {"prompt_id": prompt_id})
    host.execution.on_message(executor, "execution_cached", {"prompt_id": prompt_id, "nodes": []})
    image(host.recording.host.roots()["output"] / "shot" / "a_00001_.png")
    host.execution.on_message(executor, "execution_success", {"prompt_id": prompt_id})
    outputs = {"3": {"images": [{"filename": "a_00001_.png", "subfolder": "shot", "type": "output"}]}}
    done = host.execution.on_task_done(queue, (1, {"outputs": outputs}), {"status": SimpleNamespace(completed=True)})
    assert done is not None
    host.execution.on_done(done)


@pytest.mark.parametrize("prompt_id", ODD)
def test_a_prompt_of_any_id_is_recorded_and_marked(comfyui: Host, prompt_id: str, tmp_path: Path) -> None:
    runs(comfyui, prompt_id)
    kept = kept_id(prompt_id)
    eventually(lambda: not comfyui.recording.reading.is_open(kept) and comfyui.recording.reading.prompt(kept))
    found = comfyui.recording.reading.prompt(kept)
    assert found is not None
    assert (found.prompt_id, found.status) == (kept, "success")
    assert [(marker.path, marker.status) for marker in found.markers] == [("shot/a.done", "success")]
    marker = read_marker(tmp_path / "output" / "shot" / "a.done")
    assert marker is not None and marker.PromptId == kept
    note = id_note(prompt_id)
    assert (note in found.notes) if note else not [one for one in found.notes if "recorded under" in one]
    assert comfyui.recording.store_health().dropped == 0
    assert not {problem.what for problem in comfyui.problems.all()} & {"store", "record refused", "markers", "recorder"}


def test_two_long_ids_with_one_beginning_stay_two(comfyui: Host) -> None:
    one, two = "x" * 300 + "1", "x" * 300 + "2"
    for prompt_id in (one, two):
        runs(comfyui, prompt_id)
        eventually(lambda prompt_id=prompt_id: comfyui.recording.reading.prompt(kept_id(prompt_id)))
    assert kept_id(one) != kept_id(two)
    assert [comfyui.recording.reading.prompt(kept_id(one)).run_number for one in (one, two)] == [1, 1]  # type: ignore[union-attr]


@pytest.mark.parametrize("given", [*ODD, "p", "x" * 200, 7])
def test_an_id_that_is_kept_is_kept_as_it_is_the_second_time(given: Any) -> None:
    once = kept_id(given)
    assert 0 < len(once) <= 200
    assert kept_id(once) == once
    assert id_note(once) is None
