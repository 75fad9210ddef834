"""How long after a prompt's end do its marker and the answer of `wait` come: for short prompts, and for long ones.

After a prompt of more than 10 s ComfyUI collects garbage for up to 0.7 s with the GIL held; the control of the run
is the short prompts, after which it does not. Prints milliseconds, and the ratio of long to short.

    python benchmarks/end_latency.py [--kind real|embedded] [--short 60] [--long 5] [--seconds 11]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.graphs import slow_then_saved  # noqa: E402
from tests.hosts import Host  # noqa: E402


def one(host: Host, number: int, seconds: float) -> tuple[float, float]:
    """Milliseconds from a prompt's end to its marker, and to the answer of wait."""
    prefix = f"bench/p{number}"
    prompt_id = host.queue(slow_then_saved(prefix, seconds))
    answered: list[tuple[float, Any]] = []
    reader = threading.Thread(target=lambda: answered.append((host.wait(prompt_id, 60), time.time())[::-1]))
    reader.start()
    marker = host.path(f"{prefix}.done")
    time.sleep(max(0.0, seconds - 0.15))
    while not marker.exists() and reader.is_alive():
        time.sleep(0.0005)
    seen = time.time()
    reader.join()
    told, record = answered[0]
    from run_recorder.telemetry.models.times import parse

    ended = parse(record["ended_at"]) / 1000
    return (seen - ended) * 1000, (told - ended) * 1000


def figures(name: str, values: list[float]) -> float:
    """Print median and 95th percentile; the median."""
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    median = statistics.median(ordered)
    sys.stdout.write(
        f"{name:28} n={len(values):3}  median {median:7.1f} ms  p95 {p95:7.1f} ms  min {ordered[0]:7.1f} ms\n"
    )
    return median


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=("embedded", "real"), default="real")
    parser.add_argument("--short", type=int, default=60)
    parser.add_argument("--long", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=11.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        host = Host(given.kind, Path(folder)).start()
        try:
            one(host, 0, 0.2)
            short = [one(host, 1 + number, 0.2) for number in range(given.short)]
            long = [one(host, 1001 + number, given.seconds) for number in range(given.long)]
        finally:
            host.stop()
    for index, what in enumerate(("marker", "wait")):
        base = figures(f"{what}, prompts of 0.2 s", [pair[index] for pair in short])
        other = figures(f"{what}, prompts of {given.seconds:g} s", [pair[index] for pair in long])
        sys.stdout.write(f"{what}: long / short = {other / base:.2f}\n")


if __name__ == "__main__":
    main()
