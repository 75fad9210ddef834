"""What a test machine lacks: a libnvidia-ml that answers as NVIDIA's does, an nvidia-smi, a kernel's files of cards."""

import os
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
FAKE_CUDA_PACK = HERE / "zz_fake_cuda"
GIB = 1024**3


def build_nvml(folder: Path) -> Path:
    """Compile the fake libnvidia-ml.so.1 into a folder."""
    compiler = shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("no gcc, or no Linux, to build the fake NVML with")
    library = folder / "libnvidia-ml.so.1"
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([compiler, *flags, "-o", str(library), str(HERE / "nvml.c")], check=True)
    return library


def write_whole(path: Path, text: str) -> None:
    """Replace a file, so that nobody reads a half."""
    beside = path.with_suffix(".new")
    beside.write_text(text, "utf-8")
    beside.replace(path)


def card(**given: object) -> str:
    """A line of the fake NVML's script: a card of 8 GiB that does little."""
    figures: dict[str, object] = {
        "uuid": "GPU-00000000-0000-0000-0000-000000000001",
        "pci": "00000000:01:00.0",
        "name": "Fake_A",
        "total": 8 * GIB,
        "used": GIB,
        "util": 10,
        "temp": 40,
        "power": 100_000,
        "energy": 1_000_000,
        "clock": 1500,
        "throttle": 0,
        **given,
    }
    return "card " + " ".join(f"{name}={_values(value)}" for name, value in figures.items())


def part(**given: object) -> str:
    """One part of the card before it."""
    return "part " + " ".join(f"{name}={_values(value)}" for name, value in given.items())


def _values(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


@dataclass
class Said:
    """One answer of the fake NVML, as it logged it."""

    seconds: float
    """On the clock of `time.perf_counter`, which on Linux is the same."""
    card: int
    key: str
    word: str


class FakeNvml:
    """The fake NVML for a process of its own: a script, a log, and the environment that makes it be loaded."""

    def __init__(self, library: Path, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.script, self.log = folder / "nvml.txt", folder / "nvml.log"
        pynvml = pytest.importorskip("pynvml")
        binding = folder / "site"
        binding.mkdir(exist_ok=True)
        shutil.copy(pynvml.__file__, binding / "pynvml.py")
        self.env = {
            "FAKE_NVML": str(self.script),
            "FAKE_NVML_LOG": str(self.log),
            "LD_LIBRARY_PATH": os.pathsep.join(filter(None, [str(library.parent), os.environ.get("LD_LIBRARY_PATH")])),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(binding), os.environ.get("PYTHONPATH")])),
        }

    def says(self, *lines: str) -> None:
        """From now on."""
        write_whole(self.script, "\n".join(lines) + "\n")

    def said(self) -> list[Said]:
        """Everything that it answered."""
        if not self.log.exists():
            return []
        rows = [line.split() for line in self.log.read_text("utf-8").splitlines()]
        return [Said(int(at) / 1e9, int(number), key, word) for at, number, key, word in rows]


def fake_smi(folder: Path, script: str) -> Path:
    """An nvidia-smi that runs a shell script; its folder is to stand first on PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return folder


def fake_sysfs(root: Path, **cards: dict[str, object]) -> Path:
    """A tree that stands for /sys: by card, its files by their paths below `device/`."""
    for name, files in cards.items():
        for path, content in files.items():
            file = root / "class" / "drm" / name / "device" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{content}\n", "utf-8")
    return root
