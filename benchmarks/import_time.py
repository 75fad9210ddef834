"""What importing the package costs ComfyUI: a process that has loaded what ComfyUI loads, with us and without.

python benchmarks/import_time.py [--rounds 9]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOADED = "import aiohttp.web, sqlalchemy, alembic.config, alembic.command, pydantic, psutil, filelock, logging, asyncio"
OURS = "import run_recorder.comfyui_host, run_recorder.server_routes.table, run_recorder.nodes.write_done_marker"
PROGRAM = """
import sys, time
sys.path[:0] = {path!r}
{loaded}
before = set(sys.modules)
start = time.perf_counter()
{ours}
print(time.perf_counter() - start)
new = sorted({{name.partition(".")[0] for name in set(sys.modules) - before}} - {{"run_recorder"}})
print(" ".join(name for name in new if name not in sys.stdlib_module_names))
"""


def measure(ours: str) -> tuple[float, str]:
    """Seconds, and the third-party packages that came with it."""
    program = PROGRAM.format(path=[], loaded=LOADED, ours=ours)
    lines = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    return float(lines[0]), lines[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    measure(OURS)
    control = [measure("pass")[0] for _ in range(rounds)]
    ours = [measure(OURS) for _ in range(rounds)]
    median = statistics.median(seconds for seconds, _ in ours)
    sys.stdout.write(f"control (nothing more): {statistics.median(control) * 1000:.2f} ms\n")
    sys.stdout.write(f"the package: median {median * 1000:.0f} ms of {rounds} (limit 300 ms)\n")
    sys.stdout.write(f"third-party packages that only we loaded: {ours[0][1] or 'none'}\n")


if __name__ == "__main__":
    main()
