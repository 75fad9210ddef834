"""What recording costs ComfyUI: 300 trivial nodes in short chains, bare, bare again, and with us, in turn.

Without a client id, on real ComfyUI servers that stand side by side. Wall time is ComfyUI's own, from its messages;
processor time is the process'. One process may be some percent quicker than another of the same program for as long as
it lives, so that more rounds don't help: the three are started anew for each set, and take turns in who begins. Prints
each as a ratio to the first bare one, the median of all rounds; the second says how far that is noise.

    python benchmarks/overhead.py [--kind real|embedded] [--sets 6] [--rounds 10] [--chains 100]
"""

from __future__ import annotations

import argparse
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

NAMES = ("bare", "bare again", "with us")


def graph_of(chains: int) -> Graph:
    """Chains of three trivial nodes, none of which is cached."""
    graph = Graph()
    for _ in range(chains):
        image = graph.image(width=1, height=1)
        graph.add("PreviewAny", source=graph.add("ImageInvert", image=image))
    return graph


def measure(host: Host, chains: int) -> tuple[float, float]:
    """Wall and processor seconds of one prompt."""
    process = psutil.Process(host.pid)
    before = process.cpu_times()
    prompt_id = host.queue(graph_of(chains))
    time.sleep(0.3)
    entry = host.wait_history(prompt_id, 120)
    at = {name: message["timestamp"] for name, message in entry["status"]["messages"]}
    time.sleep(0.3)
    after = process.cpu_times()
    wall = (at["execution_success"] - at["execution_start"]) / 1000
    return wall, (after.user + after.system) - (before.user + before.system)


def one_set(kind: str, rounds: int, chains: int) -> list[list[tuple[float, float]]]:
    """Wall and processor seconds of each round, for each of the three."""
    with tempfile.TemporaryDirectory() as folder:
        hosts = [Host(kind, Path(folder) / str(n), recorder=name == "with us") for n, name in enumerate(NAMES)]
        try:
            for host in hosts:
                host.start()
                measure(host, chains)
            found: list[list[tuple[float, float]]] = [[] for _ in hosts]
            for number in range(rounds):
                for turn in range(len(hosts)):
                    index = (turn + number) % len(hosts)
                    found[index].append(measure(hosts[index], chains))
        finally:
            for host in hosts:
                host.stop()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=("embedded", "real"), default="real")
    parser.add_argument("--sets", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--chains", type=int, default=100)
    given = parser.parse_args()
    figures: list[list[tuple[float, float]]] = [[] for _ in NAMES]
    for _ in range(given.sets):
        for all_found, found in zip(figures, one_set(given.kind, given.rounds, given.chains), strict=True):
            all_found += found
    for index, what in enumerate(("wall", "processor")):
        seconds = [[pair[index] for pair in found] for found in figures]
        told = ", ".join(
            f"{name} {statistics.median(found) * 1000:.0f} ms "
            f"({statistics.median(one / bare for one, bare in zip(found, seconds[0], strict=True)):.3f})"
            for name, found in zip(NAMES, seconds, strict=True)
        )
        sys.stdout.write(f"{what} time, median of {given.sets} times {given.rounds}: {told}\n")


if __name__ == "__main__":
    main()
