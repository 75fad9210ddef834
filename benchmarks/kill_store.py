"""Kills a recorder at random moments in the middle of prompts, and looks what its database has kept.

Each process queues prompts and acknowledges each as ComfyUI would, after `put` has returned; the next one starts over
the same folder. Prints how many prompts were acknowledged, how many of them are missing, how many ends that were shown
to a reader the database doesn't have, and how often SQLite's integrity_check was not ok (0 is the only good figure of
each). With `--hold` each commit stands still for up to so many seconds between its last write and its end.

    python benchmarks/kill_store.py [--kills 200] [--hold 0.05]
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from pathlib import Path

from run_recorder.telemetry.models.base import OPEN_STATUSES
from run_recorder.telemetry.models.environment import Environment
from run_recorder.telemetry.models.listing import Filter
from run_recorder.telemetry.models.times import Stamp
from run_recorder.telemetry.record.events import (
    NodeFinished,
    NodeStarted,
    PromptCached,
    PromptDone,
    PromptOutcome,
    PromptQueued,
    PromptStarted,
)
from run_recorder.telemetry.record.host import HostProcess
from run_recorder.telemetry.record.recording import Recording
from sqlalchemy import event
from sqlalchemy.engine import Engine

GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "shot/a"}},
    "3": {"class_type": "WriteDoneMarker", "inputs": {}},
}


def now() -> Stamp:
    """This moment, on both clocks."""
    return Stamp(time.time(), time.perf_counter())


def recording_over(folder: Path) -> Recording:
    """A recorder as ComfyUI's process would start it."""
    roots = {name: folder / name for name in ("output", "temp", "input")}
    for root in roots.values():
        root.mkdir(exist_ok=True)
    host = HostProcess(
        private_folder=folder / "private",
        roots=lambda: roots,
        worker_alive=lambda: True,
        is_choice=lambda *_: False,
        port=lambda: 8188,
        environment=lambda: Environment(id="bench"),
    )
    recording = Recording(host)
    recording.start()
    recording.ready.wait(30)
    return recording


def read_on(recording: Recording, tell: int) -> None:
    """Read the list over and over; tell each end that it shows through a pipe."""
    shown: set[str] = set()
    while True:
        for prompt in recording.reading.page(Filter(), 20, None)[0]:
            if prompt.status not in OPEN_STATUSES and prompt.prompt_id not in shown:
                shown.add(prompt.prompt_id)
                os.write(tell, f"ended {prompt.prompt_id} {prompt.status}\n".encode())


def work(folder: Path, round_number: int, acknowledge: int, hold: float) -> None:
    """Queue and run prompts until killed; tell each that was acknowledged through a pipe."""
    if hold:
        event.listen(Engine, "commit", lambda _connection: time.sleep(random.uniform(0, hold)))
    recording = recording_over(folder)
    threading.Thread(target=read_on, args=(recording, acknowledge), daemon=True).start()
    for number in range(1_000_000):
        prompt_id = f"p{round_number}-{number}"
        graph = {node_id: dict(node) for node_id, node in GRAPH.items()}
        queued = PromptQueued(prompt_id, now(), number, graph, frozenset({"2", "3"}), False)
        recording.inbox.urge(queued)
        if recording.make_certain(queued):
            os.write(acknowledge, f"queued {prompt_id} queued\n".encode())
        recording.inbox.urge(PromptStarted(prompt_id, now(), number))
        recording.inbox.append(PromptCached(prompt_id, frozenset()))
        for node_id in GRAPH:
            recording.inbox.append(NodeStarted(prompt_id, node_id, time.perf_counter()))
            time.sleep(random.uniform(0, 0.004))
            recording.inbox.append(NodeFinished(prompt_id, node_id, time.perf_counter()))
        recording.inbox.append(PromptOutcome(prompt_id, now(), "success"))
        recording.inbox.urge(PromptDone(prompt_id, now(), {}, True))


def killed_once(folder: Path, round_number: int, hold: float) -> list[tuple[str, ...]]:
    """Start a process, kill it at a random moment; what it told: `queued` or `ended`, which prompt, its status."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        work(folder, round_number, write, hold)
    os.close(write)
    time.sleep(random.uniform(0.05, 0.35))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(read) as told:
        return [tuple(line.split()) for line in told if line.endswith("\n")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--hold", type=float, default=0.0)
    given = parser.parse_args()
    kills = given.kills
    told: list[tuple[str, ...]] = []
    damaged = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = folder / "private" / "run-recorder.sqlite3"
        for round_number in range(kills):
            told += killed_once(folder, round_number, given.hold)
            if database.exists():
                with sqlite3.connect(database) as connection:
                    damaged += connection.execute("PRAGMA integrity_check").fetchone() != ("ok",)
                connection.close()
        recording = recording_over(folder)
        recording.stop()
        with sqlite3.connect(database) as connection:
            kept = dict(connection.execute("SELECT prompt_id, status FROM prompts"))
            open_ones = sum(status in ("queued", "running") for status in kept.values())
            aborted = sum(status == "abandoned" for status in kept.values())
        connection.close()
    acknowledged = [prompt_id for what, prompt_id, _ in told if what == "queued"]
    missing = [prompt_id for prompt_id in acknowledged if prompt_id not in kept]
    shown = [(prompt_id, status) for what, prompt_id, status in told if what == "ended"]
    untrue = [one for one in shown if kept.get(one[0]) != one[1]]
    sys.stdout.write(
        f"{kills} kills: {len(acknowledged)} prompts acknowledged, {len(missing)} missing, {aborted} abandoned, "
        f"{open_ones} still open after the next start; {len(shown)} ends shown, {len(untrue)} of them not there; "
        f"integrity_check not ok {damaged} times\n"
    )
    return 1 if missing or untrue or damaged or open_ones or not (acknowledged and shown) else 0


if __name__ == "__main__":
    sys.exit(main())
