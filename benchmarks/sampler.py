"""What the sampler costs: eight cards of the fake NVML read every 200 ms, in a process that does nothing else.

Processor time of the whole process (`time.process_time`, all threads) while a prompt runs, against the same process
while none does; and how often the sampler's thread wakes up then. It is to take 0.5% of one core, and to wake 0 times.

    python benchmarks/sampler.py [--seconds 20] [--cards 8] [--interval 0.2]
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
import tempfile
import time
from pathlib import Path

import pynvml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from run_recorder.telemetry.gpu.chain import Chain  # noqa: E402
from run_recorder.telemetry.gpu.sampler import Sampler, sources_of  # noqa: E402
from run_recorder.telemetry.gpu.settings import SamplerSettings  # noqa: E402
from run_recorder.telemetry.gpu.torch_devices import HostDevice  # noqa: E402
from run_recorder.telemetry.process.problems import Problems  # noqa: E402
from run_recorder.telemetry.process.settings import GPU_SOURCES  # noqa: E402

from tests.fakes import build_nvml, card  # noqa: E402


class Torch:
    """What the border tells of the first of the cards."""

    def devices(self, with_memory: bool) -> list[HostDevice]:
        return [HostDevice("cuda", 0, "Card 0", "0", allocated=5, reserved=6)]

    def loaded_models(self) -> frozenset[int] | None:
        return frozenset()


def spent(seconds: float) -> float:
    """The share of one core that this process takes while this thread sleeps, in percent."""
    cpu, wall = time.process_time(), time.perf_counter()
    time.sleep(seconds)
    return 100 * (time.process_time() - cpu) / (time.perf_counter() - wall)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--cards", type=int, default=8)
    parser.add_argument("--interval", type=float, default=0.2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "nvml.txt"
        lines = [card(uuid=f"GPU-{n}", pci=f"00000000:0{n + 1}:00.0", name=f"Card_{n}") for n in range(given.cards)]
        script.write_text("\n".join(["init 0", *lines, ""]), "utf-8")
        os.environ.update(FAKE_NVML=str(script), FAKE_NVML_STILL="1")
        pynvml.nvmlLib = ctypes.CDLL(str(build_nvml(Path(folder))))
        sampler = Sampler(Chain(sources_of(GPU_SOURCES, Torch())), SamplerSettings(given.interval), Problems())
        sampler.start()
        sampler.now(newest=True)
        time.sleep(0.5)
        before = sampler.wakes
        idle = spent(given.seconds)
        woken = sampler.wakes - before
        session = sampler.begin("a prompt", time.perf_counter())
        busy = spent(given.seconds)
        sampler.end(time.perf_counter())
        session.complete.wait(5)
        encoded = session.encode() or b""
        readings = len(session.curve.times)
        sampler.stop()
    sys.stdout.write(
        f"while no prompt runs {idle:.3f}% of one core, {woken} wake-ups in {given.seconds:g} s; while one runs, with "
        f"{given.cards} cards every {given.interval:g} s, {busy:.3f}% ({busy - idle:.3f}% more): {readings} readings, "
        f"{busy / 100 * given.seconds / max(1, readings) * 1e6:.0f} us each; the curve takes {len(encoded)} bytes\n"
    )


if __name__ == "__main__":
    main()
