"""Many prompts that wait: queued one by one behind one that runs, then cleared at once; bare, and with us.

Prints the median of a POST among the first and the last hundred, how long queueing and clearing took until every
record said `cancelled`, and the server's processor time; each with us as a ratio to bare, and the seconds over it.

    python benchmarks/queue_many.py [--kind real|embedded] [--prompts 10000]
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

from tests.graphs import Graph  # noqa: E402
from tests.hosts import Host  # noqa: E402


def measure(host: Host, count: int, *, recorded: bool) -> dict[str, float]:
    """Seconds of one round."""
    process = psutil.Process(host.pid)
    first = Graph()
    first.add("ProbeCollect", source=first.slow(600, first.image(width=1, height=1), steps=600))
    running = host.queue(first)
    host.until(lambda: host.queued_ids()[0] == [running], 20)
    graph = Graph()
    graph.add("PreviewAny", source=graph.image(width=1, height=1))
    connection = http.client.HTTPConnection("127.0.0.1", host.port)
    body = json.dumps({"prompt": graph})
    before = process.cpu_times()
    began = time.perf_counter()
    posts = []
    for _ in range(count):
        sent = time.perf_counter()
        connection.request("POST", "/prompt", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        posts.append(time.perf_counter() - sent)
    host.clear_queue()
    while recorded:
        found = host.get("/telemetry/prompts?status=queued&limit=1")[1]["items"]
        if not found:
            break
        time.sleep(0.05)
    took = time.perf_counter() - began
    after = process.cpu_times()
    host.interrupt()
    return {
        "a POST, first hundred": statistics.median(posts[:100]),
        "a POST, last hundred": statistics.median(posts[-100:]),
        "queued and cleared": took,
        "processor": after.user + after.system - before.user - before.system,
    }


def main() -> None:
    """Measure both and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", default="real", choices=("real", "embedded"))
    parser.add_argument("--prompts", type=int, default=10_000)
    given = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("bare", "with us"):
            host = Host(given.kind, Path(folder) / name.replace(" ", "-"), recorder=name == "with us")
            try:
                host.start()
                found[name] = measure(host, given.prompts, recorded=name == "with us")
            finally:
                host.stop()
    for what, bare in found["bare"].items():
        ours = found["with us"][what]
        print(f"{what}: bare {bare:.4f} s, with us {ours:.4f} s, {ours / bare:.2f} of bare, {ours - bare:+.2f} s")


if __name__ == "__main__":
    main()
