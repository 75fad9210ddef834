"""A story of many scenes over three servers, one of which is killed and comes back on its port.

Prints how many scenes each server did, how many were handed back, whether the run validates, and the memory of
`run-recorder run` over time: flat is the only good figure.

    python benchmarks/load_run.py [--scenes 200] [--seconds 0.15]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kill_run import write_inputs

from tests import hosts
from tests.hosts import CLI, Host

AWAY_SECONDS = 8.0
MIB = 2**20


def start_on(host: Host, port: int) -> None:
    """Start a host on the port that it had."""
    free, hosts.free_port = hosts.free_port, lambda: port
    try:
        host.start()
    finally:
        hosts.free_port = free


def done(runs: Path) -> int:
    """How many scenes have ended."""
    return len(list(runs.glob("*/scene-*/result.json")))


def watch(process: subprocess.Popen[bytes], runs: Path, victim: Host, scenes: int) -> list[tuple[float, int, int]]:
    """Until it ends: time, scenes done, bytes of memory. On the way a server is killed, and brought back."""
    began, killed_at, back = time.monotonic(), 0.0, False
    samples = []
    told = psutil.Process(process.pid)
    while process.poll() is None:
        now = time.monotonic()
        try:
            samples.append((now - began, done(runs), told.memory_info().rss))
        except psutil.Error:
            break
        if not killed_at and samples[-1][1] >= scenes // 5:
            victim.kill()
            killed_at = now
            print(f"{now - began:.1f} s: {samples[-1][1]} scenes are done, {victim.url} is killed")
        if killed_at and not back and now - killed_at >= AWAY_SECONDS:
            start_on(victim, victim.port)
            back = True
            print(f"{time.monotonic() - began:.1f} s: {done(runs)} scenes are done, it is back")
        time.sleep(0.25)
    return samples


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=0.15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        servers = [Host("embedded", base / f"host{number}") for number in range(3)]
        try:
            for host in servers:
                host.start()
            story, workflow = write_inputs(base, options.scenes, options.seconds)
            command = [*CLI, "run", "--story", str(story), "--workflow", str(workflow), "--fast-iteration"]
            command += ["--runs-dir", str(base / "runs")]
            command += [part for host in servers for part in ("--comfyui", host.url)]
            began = time.monotonic()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            samples = watch(process, base / "runs", servers[-1], options.scenes)
            return report(base / "runs", process.wait(), samples, time.monotonic() - began)
        finally:
            for host in servers:
                host.stop()


def report(runs: Path, code: int, samples: list[tuple[float, int, int]], seconds: float) -> int:
    """Print what became of it; 0 if all is well."""
    (run,) = [path for path in runs.iterdir() if path.is_dir()]
    told = json.loads((run / "artifact-metadata.json").read_text("utf-8"))
    tries = [one for scene in told["Scenes"] for one in scene["AttemptSummaries"]]
    good = sum(bool(scene["Success"]) for scene in told["Scenes"])
    by_server = Counter(one["Server"] for one in tries if one["Success"])
    checked = subprocess.run([*CLI, "validate", str(run), "--json"], capture_output=True, text=True, check=False)
    found = json.loads(checked.stdout)
    print(f"scenes done: {good} of {len(told['Scenes'])}, exit {code}, {seconds:.1f} s")
    print(f"by server: {', '.join(f'{name} {count}' for name, count in by_server.items())}")
    print(f"tries: {len(tries)}, handed back: {sum(not one['Success'] for one in tries)}")
    print(f"validation: {'PASS' if found['Passed'] else 'FAIL'}, {len(found['Warnings'])} warnings")
    print(f"archive: {(run / f'{run.name}.zip').stat().st_size / MIB:.1f} MiB")
    rendering = [(at, count, size) for at, count, size in samples if 0 < count < len(told["Scenes"])]
    quarter = max(1, len(rendering) // 4)
    first, last = rendering[:quarter], rendering[-quarter:]
    sizes = [statistics.median(size for _, _, size in part) / MIB for part in (first, last)]
    print(f"memory while rendering: {sizes[0]:.1f} MiB in the first quarter, {sizes[1]:.1f} MiB in the last", end="")
    print(f" ({sizes[1] / sizes[0]:.2f} times); at most {max(size for *_, size in samples) / MIB:.1f} MiB, report too")
    return int(code != 0 or good != len(told["Scenes"]) or not found["Passed"])


if __name__ == "__main__":
    sys.exit(main())
