"""A `run-recorder sentinel watch` in a process of its own, and what it has marked."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..hosts import CLI


def put(folder: Path, *names: str, age: float = 60.0) -> None:
    """Files that were written `age` seconds ago."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        then = time.time() - age
        os.utime(path, (then, then))


def frames(prefix: str, count: int, first: int = 1) -> list[str]:
    return [f"{prefix}_{number:05}_.png" for number in range(first, first + count)]


def marker(folder: Path, name: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads((folder / f"{name}.done").read_text("utf-8")))
    except FileNotFoundError:
        return None


def listed(told: dict[str, Any] | None) -> set[str]:
    return {file["Name"] for file in (told or {}).get("Files", ())}


def until(told: Callable[[], Any], seconds: float = 20) -> Any:
    """What is told, once it is true."""
    deadline = time.monotonic() + seconds
    while not (answer := told()):
        assert time.monotonic() < deadline, told
        time.sleep(0.02)
    return answer


class Watcher:
    """The process, and a thread that reads its lines."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*CLI, "sentinel", "watch", "--json", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self.lines: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self._readers = [threading.Thread(target=self._out), threading.Thread(target=self._err)]
        for reader in self._readers:
            reader.start()

    def _out(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def _err(self) -> None:
        assert self.process.stderr is not None
        self.errors.extend(self.process.stderr)

    def until(self, told: Callable[[], Any], seconds: float = 20) -> Any:
        deadline = time.monotonic() + seconds
        while not (answer := told()):
            assert time.monotonic() < deadline, (self.lines, self.errors, self.process.poll())
            time.sleep(0.02)
        return answer

    def marked(self, name: str) -> list[dict[str, Any]]:
        """The lines told of one marker."""
        return [line for line in list(self.lines) if Path(line["Path"]).name == f"{name}.done"]

    def end(self, number: int | None = None) -> int:
        if number is not None:
            self.process.send_signal(number)
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()
            for reader in self._readers:
                reader.join(5)
