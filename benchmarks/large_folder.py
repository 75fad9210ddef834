"""Prompts with markers that wait, while their output folder holds many files: bare, and with us.

Queues one by one behind a prompt that runs. Prints the median and the longest POST, and by how much the server's
memory (resident set) grew from before the first POST until all are recorded; each with us beside bare. The bare
server has no marker node, so its graphs have none.

    python benchmarks/large_folder.py [--kind real|embedded] [--prompts 200] [--files 50000]
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.graphs import Graph, saved  # noqa: E402
from tests.hosts import Host  # noqa: E402

MIB = 1 << 20


def measure(host: Host, prompts: int, files: int, *, recorded: bool) -> dict[str, float]:
    """Seconds and MiB of one round."""
    folder = host.output / "shot"
    folder.mkdir()
    for number in range(files):
        (folder / f"a_{number:05}_.png").touch()
    process = psutil.Process(host.pid)
    first = Graph()
    first.add("ProbeCollect", source=first.slow(600, first.image(width=1, height=1), steps=600))
    running = host.queue(first)
    host.until(lambda: host.queued_ids()[0] == [running], 20)
    time.sleep(2)
    body = json.dumps({"prompt": saved("shot/a", marker={"filename_prefix": "shot/a"} if recorded else None)})
    connection = http.client.HTTPConnection("127.0.0.1", host.port)
    before, most, last = process.memory_info().rss, 0, running
    posts = []
    for _ in range(prompts):
        sent = time.perf_counter()
        connection.request("POST", "/prompt", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        last = json.loads(answer.read())["prompt_id"]
        posts.append(time.perf_counter() - sent)
        assert answer.status == 200, answer.status
        most = max(most, process.memory_info().rss)
    deadline = time.monotonic() + 120
    while recorded and time.monotonic() < deadline:
        most = max(most, process.memory_info().rss)
        if host.get(f"/telemetry/prompts/{last}")[0] == 200:
            break
        time.sleep(0.05)
    time.sleep(3)
    most = max(most, process.memory_info().rss)
    host.clear_queue()
    host.interrupt()
    return {
        "a POST, median, ms": statistics.median(posts) * 1000,
        "a POST, longest, ms": max(posts) * 1000,
        "memory, MiB": (most - before) / MIB,
    }


def main() -> None:
    """Measure both and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", default="real", choices=("real", "embedded"))
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--files", type=int, default=50_000)
    given = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("bare", "with us"):
            recorded = name == "with us"
            host = Host(given.kind, Path(folder) / name.replace(" ", "-"), recorder=recorded)
            try:
                host.start()
                found[name] = measure(host, given.prompts, given.files, recorded=recorded)
            finally:
                host.stop()
    for what, bare in found["bare"].items():
        ours = found["with us"][what]
        print(f"{what}: bare {bare:.2f}, with us {ours:.2f}, {ours - bare:+.2f}")


if __name__ == "__main__":
    main()
