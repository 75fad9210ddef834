"""What one reading of one card costs: NVML, over the fake library that the tests build, against one call of nvidia-smi.

The fake library answers at once, so this is the cost of this package and of nvidia-ml-py. Where there is no real
nvidia-smi the control is a shell script that prints one line: the least that starting any program costs. Prints the
median of microseconds and the ratio; a reading is to take 100 us at most, and a hundredth of a call of the real one.

    python benchmarks/gpu_read.py [--rounds 2000] [--calls 50]
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import pynvml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from run_recorder.telemetry.gpu.nvidia_smi import NvidiaSmi  # noqa: E402
from run_recorder.telemetry.gpu.nvml import Nvml  # noqa: E402

from tests.fakes import build_nvml, card, fake_smi  # noqa: E402

LINE = "0, GPU-1, 00000000:01:00.0, NVIDIA GeForce RTX 4090, 24564, 22000, 37, 61, 312.45"


def median_us(work: Callable[[], object], rounds: int) -> float:
    """Microseconds a call."""
    found = []
    for _ in range(rounds):
        began = perf_counter()
        work()
        found.append(perf_counter() - began)
    return statistics.median(found) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--calls", type=int, default=50)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "nvml.txt"
        script.write_text(f"init 0\n{card()}\n", "utf-8")
        os.environ.update(FAKE_NVML=str(script), FAKE_NVML_STILL="1")
        pynvml.nvmlLib = ctypes.CDLL(str(build_nvml(Path(folder))))
        nvml, smi = Nvml(), NvidiaSmi()
        nvml.probe()
        kind = "the real nvidia-smi"
        if shutil.which("nvidia-smi") is None:
            kind = "a script in its place"
            os.environ["PATH"] = f"{fake_smi(Path(folder) / 'bin', f'echo {LINE!r}')}{os.pathsep}{os.environ['PATH']}"
        one_read, one_call = median_us(nvml.read, given.rounds), median_us(smi.read, given.calls)
    sys.stdout.write(
        f"one reading of one card by NVML {one_read:.1f} us; one call of {kind} {one_call:.0f} us: "
        f"{one_call / one_read:.0f} times as much\n"
    )


if __name__ == "__main__":
    main()
