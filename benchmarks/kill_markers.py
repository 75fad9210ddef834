"""Kills a writer of markers at random moments while another process reads them as fast as it can.

Prints how many markers were read, how many of them were broken (0 is the only good figure), and how many temporaries
were there after the sweep that the next start makes.

    python benchmarks/kill_markers.py [--kills 1000]
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from run_recorder.telemetry.files.temporaries import is_temporary, sweep
from run_recorder.telemetry.markers.file import (
    MarkedFile,
    MarkerError,
    MarkerPlace,
    make_marker,
    read_marker,
    write_marker,
)
from run_recorder.telemetry.markers.folder import FileStamp
from run_recorder.telemetry.markers.prefix import parse_prefix

FILES = [MarkedFile(f"a_{number:05}_.png", FileStamp(1000 + number, 10**18 + number, "1")) for number in range(200)]


def write_for_ever(folder: str) -> None:
    """Write one marker after the other, `.done` and `.failed` in turn."""
    place = MarkerPlace.of(Path(folder), parse_prefix("a"))
    number = 0
    while True:
        number += 1
        files = FILES[: 1 + number % len(FILES)]
        status = "success" if number % 2 else "error"
        notes = [f"{len(files)} files"]
        write_marker(
            place, make_marker(place, files, status=status, producer="cli", prompt_id=str(number), notes=notes)
        )


def read_for_ever(folder: str, good: Synchronized[int], broken: Synchronized[int]) -> None:
    """Read both kinds of marker, and count those that are not whole."""
    paths = [Path(folder) / "a.done", Path(folder) / "a.failed"]
    while True:
        for path in paths:
            try:
                marker = read_marker(path)
            except FileNotFoundError:
                continue
            except MarkerError:
                broken.value += 1
                continue
            whole = marker.FrameCount == len(marker.Files) and marker.Notes == [f"{len(marker.Files)} files"]
            good.value += whole
            broken.value += not whole


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    kills = parser.parse_args().kills
    context = get_context("fork")
    good, broken = context.Value("q", 0), context.Value("q", 0)
    left = swept = 0
    with tempfile.TemporaryDirectory() as folder:
        reader = context.Process(target=read_for_ever, args=(folder, good, broken), daemon=True)
        reader.start()
        for _ in range(kills):
            writer = context.Process(target=write_for_ever, args=(folder,), daemon=True)
            writer.start()
            time.sleep(random.uniform(0.002, 0.03))
            if writer.pid is not None:
                os.kill(writer.pid, signal.SIGKILL)
            writer.join()
            swept += sweep(Path(folder))
            left += sum(is_temporary(path.name) for path in Path(folder).iterdir())
        if reader.pid is not None:
            os.kill(reader.pid, signal.SIGKILL)
        reader.join()
    sys.stdout.write(
        f"{kills} kills: {good.value} markers read, {broken.value} broken; "
        f"{swept} temporaries swept at the next start, {left} left\n"
    )
    return 1 if broken.value or left or not good.value else 0


if __name__ == "__main__":
    sys.exit(main())
