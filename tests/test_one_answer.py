"""One prompt, one answer: what a run's files say of a prompt is what the server's own record of it says."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from run_recorder.client.prompt_figures import NO_RECORD
from run_recorder.telemetry.gpu.notes import NO_END

from .fakes import FAKE_CUDA_PACK, GIB
from .graphs import Graph, failing, saved
from .hosts import Host
from .test_gpu import until_carded
from .test_runner import NO_FRAMES, Queued

CARD = json.dumps([{"name": "Fake A", "total": 8 * GIB, "uuid": "00000000-0000-0000-0000-000000000001"}])
DIFFERS = {
    "HistoryAttempts": "the record was not polled",
    "DoneMarkerDetected": "the runner waits only where a marker is due, and believes it only if it is right",
    "DoneMarkerWaitSeconds": "only the runner waits",
    "DoneMarkerPath": "the runner's is that of the marker that it collected",
    "ForcedCopyTriggered": "only the runner copies",
    "ForcedCopyDebugPath": "only the runner copies",
    "HistoryPostExecutionTimeoutReached": "only the runner waits for files after the end",
}
"""By nature, so that these may. The exit reason `postExecution` is of that kind, too: here no file is late."""


@pytest.fixture(scope="module")
def carded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A server whose card only its own process can see."""
    env = {"FAKE_CUDA": CARD, "RUN_RECORDER_GPU_SOURCES": "torch,psutil"}
    host = Host("embedded", tmp_path_factory.mktemp("one-answer"), packs=[FAKE_CUDA_PACK], env=env)
    try:
        yield until_carded(host.start())
    finally:
        host.stop()


def taking_memory(graph: Graph) -> Graph:
    """The graph, beside which a gibibyte of the card is taken and kept."""
    graph.add("FakeCudaWork", id="work", steps=json.dumps([(GIB, 0.5)]), salt=random.random())
    return graph


def answers(host: Host, graph: Graph, tmp_path: Path, *options: str) -> tuple[dict[str, Any], dict[str, Any], Queued]:
    """The telemetry object of the run and that of the record."""
    queued = Queued(host, graph, tmp_path, "--scene-retry-budget", "0", *options).run()
    status, told = host.get(f"/telemetry/prompts/{queued.told['PromptId']}/contract")
    assert status == 200
    return queued.scene["Telemetry"], told, queued


def slowly_failing(prefix: str) -> Graph:
    """One that is looked at before it fails."""
    return failing(prefix, after_saving=True)


@pytest.mark.parametrize("made", [saved, slowly_failing], ids=["a success", "an error"])
def test_a_run_and_the_record_agree(carded: Host, folder: str, tmp_path: Path, made: Any) -> None:
    run, record, queued = answers(carded, taking_memory(made(f"{folder}/a")), tmp_path)
    assert queued.code == (0 if made is saved else 1), queued.error
    assert {name for name in record.keys() | run.keys() if run.get(name) != record.get(name)} <= DIFFERS.keys()
    assert (run["GPU"], run["System"]) == (record["GPU"], record["System"])
    assert (run["GPU"]["Name"], run["GPU"]["VramTotal"]) == ("Fake A", 8 * GIB)
    assert run["GPU"]["VramFreeBefore"] is not None
    assert run["GPU"]["VramFreeAfter"] is not None or NO_END in run["System"]["FallbackNotes"]
    assert run["HistoryExitReason"] == ("success" if made is saved else "unknown")
    assert queued.scene["AttemptSummaries"][0]["QueueEnd"] == record["QueueEnd"]
    assert queued.validated() == ([] if queued.told["Files"] else NO_FRAMES)


def test_the_record_tells_what_the_run_took_of_the_card(carded: Host, folder: str, tmp_path: Path) -> None:
    run, _, _ = answers(carded, taking_memory(saved(f"{folder}/b")), tmp_path)
    gpu = run["GPU"]
    assert gpu["FallbackSource"] is None, "by the record, not by a look from outside"
    if NO_END not in run["System"]["FallbackNotes"]:  # a busy machine may not be read in time
        assert gpu["VramDelta"] == gpu["VramFreeAfter"] - gpu["VramFreeBefore"]


def test_without_our_package_both_looks_are_from_outside(tmp_path: Path, folder: str) -> None:
    host = Host("embedded", tmp_path / "bare", recorder=False)
    try:
        queued = Queued(host.start(), saved(f"{folder}/a"), tmp_path).run()
    finally:
        host.stop()
    told = queued.scene["Telemetry"]
    assert queued.code == 0, queued.error
    assert told["GPU"]["FallbackSource"] == "/system_stats"
    assert told["System"]["Before"]["ram_total_bytes"] == told["System"]["After"]["ram_total_bytes"] > 0
    assert NO_RECORD not in told["System"]["FallbackNotes"]
