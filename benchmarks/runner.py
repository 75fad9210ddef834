"""What the runner adds to what has to be done anyway: after a prompt's end, between prompts, and over a plain copy.

Each figure is a ratio, or a difference, to a control of the same run:

- end: from a prompt's end to its last file collected and the record written, less a plain copy of the same files; with
  our package on the server, and without it.
- queue: scenes one after another through the runner, against the same prompts posted by a bare client that waits for
  each by the web socket and collects nothing.
- copy: frames of 1 MB collected from the server's folder, against `cp` followed by one `sync`.

    python benchmarks/runner.py [--kind real|embedded] [--ends 20] [--scenes 20] [--seconds 1] [--frames 1000]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from run_recorder.client.comfy_client import ComfyClient  # noqa: E402
from run_recorder.client.outputs import OutputFile  # noqa: E402
from run_recorder.runner.attempts import Outcome, SceneRun, run_scene  # noqa: E402
from run_recorder.runner.collect import Collector  # noqa: E402
from run_recorder.runner.keeping import keep_best  # noqa: E402
from run_recorder.runner.metadata import Written, write_checks, write_run  # noqa: E402
from run_recorder.runner.policy import resolve  # noqa: E402
from run_recorder.runner.run_folder import RunFolder  # noqa: E402
from run_recorder.telemetry.models.times import parse  # noqa: E402

from tests.graphs import Graph, slow_then_saved  # noqa: E402
from tests.hosts import Host  # noqa: E402

END_MS, QUEUE_RATIO, COPY_SPEED = 20.0, 1.05, 0.9
"""What is good enough."""
MEGABYTE = 1_000_000


def silent(_text: str) -> None:
    """Says nothing."""


async def scene(
    client: ComfyClient, graph: Graph, folder: Path, *, by_record: bool, write: bool
) -> tuple[Outcome, float]:
    """One scene as `run-recorder queue` does it; its outcome, and when the last of it was written."""
    policy, outcome = resolve({}), Outcome()
    output = folder / "out"
    run = RunFolder.make(folder / "runs")
    if write:
        write_checks(run, "bench", graph, {})
    await run_scene(client, policy, SceneRun(graph, output, folder), outcome, silent, by_record=by_record)
    kept = keep_best(outcome, output)
    if write:
        write_run(run, policy, outcome, Written("bench", kept.folder, kept.files))
    assert outcome.best.success, outcome.best.tracked.error
    return outcome, time.time()


async def ends(host: Host, folder: Path, count: int, *, by_record: bool) -> list[float]:
    """Milliseconds from each prompt's end to the record written, less a plain copy of its files."""
    found = []
    async with ComfyClient(host.url) as client:
        for number in range(count):
            place = folder / f"end{number}"
            graph = slow_then_saved(f"ends/{by_record}{number}", 0.3) if by_record else chain(f"ends/b{number}", 0.3)
            outcome, done = await scene(client, graph, place, by_record=by_record, write=True)
            tracked = outcome.best.tracked
            begun = time.perf_counter()
            for name in outcome.best.collected.files:
                shutil.copy2(place / "out" / name, place / "plain")
            copied = time.perf_counter() - begun
            found.append((done - parse(str(tracked.success_at)) / 1000 - copied) * 1000)
    return found


def chain(prefix: str, seconds: float) -> Graph:
    """A slow node and a saver, and no marker."""
    graph = slow_then_saved(prefix, seconds)
    del graph["marker"]
    return graph


async def bare(host: Host, graphs: list[Graph]) -> float:
    """Seconds for the same prompts, posted by a client that waits for each on the web socket and collects nothing."""
    client_id = uuid.uuid4().hex
    begun = time.perf_counter()
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{host.url}/ws?clientId={client_id}") as socket:
        for graph in graphs:
            async with session.post(f"{host.url}/prompt", json={"prompt": graph, "client_id": client_id}) as answer:
                prompt_id = (await answer.json())["prompt_id"]
            async for message in socket:
                told: dict[str, Any] = json.loads(message.data) if message.type == aiohttp.WSMsgType.TEXT else {}
                if told.get("type") == "execution_success" and told["data"]["prompt_id"] == prompt_id:
                    break
    return time.perf_counter() - begun


async def ours(host: Host, graphs: list[Graph], folder: Path) -> float:
    """Seconds for the prompts through the runner, one after another, collected."""
    begun = time.perf_counter()
    async with ComfyClient(host.url) as client:
        by_record = await client.has_recorder()
        for number, graph in enumerate(graphs):
            await scene(client, graph, folder / str(number), by_record=by_record, write=False)
    return time.perf_counter() - begun


async def copying(folder: Path, frames: int) -> tuple[float, float]:
    """Seconds for so many frames of 1 MB: `cp` and one `sync`, and the collector."""
    source = folder / "server"
    (source / "shot").mkdir(parents=True)
    block = os.urandom(MEGABYTE)
    names = [f"a{number:05}.png" for number in range(frames)]
    for name in names:
        (source / "shot" / name).write_bytes(block)
    os.sync()

    async def view(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(source / request.query["subfolder"] / request.query["filename"])

    app = web.Application()
    app.router.add_get("/view", view)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def plain(target: Path) -> None:
        await asyncio.to_thread(subprocess.run, ["cp", "-p", "-r", str(source), str(target)], check=True)
        await asyncio.to_thread(os.sync)

    async def collected(target: Path) -> None:
        async with ComfyClient(url) as client:
            named = [OutputFile(name, "shot") for name in names]
            got = await Collector(client, resolve({}), target, target, source).collect("p", named, [], False)
        assert len(got.files) == frames

    times: dict[Callable[[Path], Awaitable[None]], list[float]] = {plain: [], collected: []}
    for number in range(6):
        for work, took in times.items():
            target = folder / f"target{number}"
            begun = time.perf_counter()
            await work(target)
            took.append(time.perf_counter() - begun)
            shutil.rmtree(target)
            os.sync()
    await runner.cleanup()
    return statistics.median(times[plain]), statistics.median(times[collected])


def told(name: str, values: list[float]) -> float:
    """Print the median; it."""
    median, ordered = statistics.median(values), sorted(values)
    p95 = ordered[int(len(ordered) * 0.95)] if len(ordered) > 1 else median
    sys.stdout.write(f"{name}: median {median:.1f} ms, p95 {p95:.1f} ms, of {len(values)}\n")
    sys.stdout.flush()
    return median


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=("embedded", "real"), default="real")
    parser.add_argument("--ends", type=int, default=20)
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--frames", type=int, default=1000)
    given = parser.parse_args()
    good = []
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        if given.ends or given.scenes:
            host = Host(given.kind, folder / "with").start()
            stack.callback(host.stop)
        if given.ends:
            median = told(
                "end to record, over a copy, with us", asyncio.run(ends(host, folder, given.ends, by_record=True))
            )
            good.append(median <= END_MS)
            other = Host(given.kind, folder / "without", recorder=False).start()
            stack.callback(other.stop)
            told("the same without our package", asyncio.run(ends(other, folder / "w", given.ends, by_record=False)))
        if given.scenes:
            alone, through = [], []
            for number in range(2):
                lots = [
                    [chain(f"queue/{number}{lot}{one}", given.seconds) for one in range(given.scenes)] for lot in "ab"
                ]
                alone.append(asyncio.run(bare(host, lots[0])))
                through.append(asyncio.run(ours(host, lots[1], folder / f"queue{number}")))
            ratio = min(through) / min(alone)
            sys.stdout.write(
                f"{given.scenes} scenes of {given.seconds:g} s: bare {min(alone):.2f} s, through the runner "
                f"{min(through):.2f} s ({ratio:.3f})\n"
            )
            good.append(ratio <= QUEUE_RATIO)
        if given.frames:
            control, took = asyncio.run(copying(folder, given.frames))
            sys.stdout.write(
                f"{given.frames} frames of 1 MB: cp and sync {control:.2f} s, collected {took:.2f} s "
                f"({control / took:.2f} of the speed)\n"
            )
            good.append(control / took >= COPY_SPEED)
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
