"""The sentinel beside a ComfyUI that it may ask: a prompt's own record decides, however long the gap between frames."""

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from ..graphs import Graph, saved
from ..hosts import Host
from .watching import Watcher, frames, listed, marker

RUNS = int(os.environ.get("SENTINEL_RUNS", "2"))
"""How often the slow saver is run; more of them is a matter of patience."""
GAP_SECONDS = 0.8
"""More than twice the window, so that only the record holds the group open."""


@pytest.fixture
def watch() -> Iterator[Callable[[Host, str], Watcher]]:
    started: list[Watcher] = []

    def start(host: Host, folder: str) -> Watcher:
        (host.output / folder).mkdir(parents=True, exist_ok=True)
        arguments = ("--stable-seconds", "0.3", "--comfyui", host.url)
        watcher = Watcher(str(host.output / folder), *arguments)
        started.append(watcher)
        host.run(saved(f"{folder}/ready")) if host.recorder else host.wait_history(host.queue(saved(f"{folder}/ready")))
        watcher.until(lambda: watcher.marked("ready"))
        return watcher

    yield start
    for watcher in started:
        watcher.end(signal.SIGTERM)


def halves(prefix: str) -> Graph:
    """Fifteen frames, a slow node, and fifteen more under the same prefix."""
    graph = Graph()
    first = graph.image(batch_size=15)
    graph.save(first, prefix)
    graph.save(graph.slow(GAP_SECONDS, source=first), prefix)
    return graph


def one_marker_a_run(host: Host, folder: str, watcher: Watcher) -> None:
    for run in range(RUNS):
        prompt_id = host.queue(halves(f"{folder}/shot{run}"))
        told = watcher.until(lambda run=run: watcher.marked(f"shot{run}"))
        assert [line["FrameCount"] for line in told] == [30], "a marker came before the last frame"
        assert (told[0]["PromptId"], told[0]["Status"], told[0]["Producer"]) == (prompt_id, "success", "sentinel")
        assert listed(marker(host.output / folder, f"shot{run}")) == set(frames(f"shot{run}", 30))
    watcher.until(lambda: watcher.marked(f"shot{RUNS - 1}"))
    assert len(watcher.lines) == RUNS + 1, "one marker a prompt, and no other"


def test_a_slow_node_between_frames_brings_no_early_marker(host: Host, folder: str, watch) -> None:
    one_marker_a_run(host, folder, watch(host, folder))


def test_a_comfyui_without_the_recorder_is_enough(start_host, folder: str, watch) -> None:
    host = start_host(recorder=False)
    one_marker_a_run(host, folder, watch(host, folder))


def test_what_a_failed_prompt_has_saved_is_marked_as_failed(host: Host, folder: str, watch) -> None:
    watcher = watch(host, folder)
    graph = Graph()
    early = graph.add("ProbeSilentSaver", source=graph.image(), filename_prefix=f"{folder}/broken", count=1)
    graph.save(graph.add("ProbeFail", source=early, message="it broke"), f"{folder}/broken")
    prompt_id = host.queue(graph)
    broken = host.output / folder / "broken.failed"
    watcher.until(broken.exists)
    told = host.marker(f"{folder}/broken.failed")
    assert (told["Status"], told["PromptId"], told["FrameCount"]) == ("error", prompt_id, 1)
    assert marker(host.output / folder, "broken") is None


def test_the_nodes_marker_is_the_nodes_affair(host: Host, folder: str, watch) -> None:
    watcher = watch(host, folder)
    record = host.run(saved(f"{folder}/own", 3, marker={}))
    host.run(saved(f"{folder}/after"))
    watcher.until(lambda: watcher.marked("after"))
    told = marker(host.output / folder, "own")
    assert told is not None
    assert (told["Producer"], told["PromptId"]) == ("node", record["prompt_id"])
    assert not watcher.marked("own")
