"""What those who wait and listen cost: 200 waiters on one prompt, 100 readers of events, and 1,000 with sleepers.

Controls of the same run: one waiter; the same prompts with no reader; a reader that is alone. Prints how much later the
last of 200 waiters is told than a single one, how fast prompts run while 100 read, and how many events 1,000 readers
missed (0 is the only good figure) while some who never read were cut off.

    python benchmarks/readers.py [--kind embedded|real] [--rounds 12] [--readers 1000]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from run_recorder.telemetry.models.times import parse  # noqa: E402

from tests.graphs import Graph, saved, slow_then_saved  # noqa: E402
from tests.hosts import Host  # noqa: E402

WAITERS, LISTENERS, SLEEPERS = 200, 100, 20
LOSS_MS, SPEED = 20.0, 0.95
PROMPTS = 500
"""Enough events that a reader who never reads has more than 2,000 waiting, and is cut off."""


class Reader:
    """One reader of events on a socket of its own; counts what it is told."""

    def __init__(self) -> None:
        self.events = 0
        self.finished = 0
        self.cut = False
        self._tail = b""
        self._task: asyncio.Task[None] | None = None

    async def start(self, port: int) -> Reader:
        """Connect, and go on reading in the background."""
        reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        self._writer.write(b"GET /telemetry/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await reader.readuntil(b": run-recorder")
        self._task = asyncio.create_task(self._read(reader))
        return self

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(1 << 16):
            data = self._tail + data
            self.events += data.count(b"\nevent: ")
            self.finished += data.count(b"\nevent: prompt.finished")
            self._tail = data[-len(b"\nevent: prompt.finished") + 1 :]
            self.events -= self._tail.count(b"\nevent: ")
        self.cut = True

    async def stop(self) -> None:
        """Hang up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._writer.close()


async def told_after(host: Host, prefix: str, waiters: int) -> float:
    """Milliseconds from a prompt's end until the last of its waiters has the answer."""
    prompt_id = await asyncio.to_thread(host.queue, slow_then_saved(prefix, 0.4))

    async def wait() -> tuple[float, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", host.port)
        writer.write(f"GET /telemetry/prompts/{prompt_id}/wait HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        told = time.time()
        assert b" 200 " in head, head
        body = await reader.read()
        writer.close()
        return told, body

    answers = await asyncio.gather(*(wait() for _ in range(waiters)))
    record = json.loads(answers[0][1])
    return (max(told for told, _ in answers) - parse(record["ended_at"]) / 1000) * 1000


async def waiters(host: Host, rounds: int) -> bool:
    """Print what 200 waiters lose; whether that is little."""
    found: dict[int, list[float]] = {1: [], WAITERS: []}
    for number in range(rounds):
        for count, times in found.items():
            times.append(await told_after(host, f"wait/{number}-{count}", count))
    one, many = statistics.median(found[1]), statistics.median(found[WAITERS])
    sys.stdout.write(
        f"told after the end: one waiter {one:.1f} ms, the last of {WAITERS} {many:.1f} ms ({many / one:.2f}): "
        f"{many - one:.1f} ms lost\n"
    )
    return many - one <= LOSS_MS


def chain() -> Graph:
    """A prompt of 101 trivial nodes."""
    graph = Graph()
    for _ in range(50):
        graph.add("PreviewAny", source=graph.image(width=1, height=1))
    return graph


def seconds_of(host: Host) -> float:
    """Seconds of one prompt, as ComfyUI itself tells them."""
    entry = host.wait_history(host.queue(chain()), 60)
    at = {name: message["timestamp"] for name, message in entry["status"]["messages"]}
    time.sleep(0.25)
    return float(at["execution_success"] - at["execution_start"]) / 1000


async def listeners(host: Host, rounds: int) -> bool:
    """Print how fast prompts run while 100 read events; whether that is fast enough."""
    alone: list[float] = []
    read: list[float] = []
    await asyncio.to_thread(seconds_of, host)
    for _ in range(rounds):
        alone.append(await asyncio.to_thread(seconds_of, host))
        readers = [await Reader().start(host.port) for _ in range(LISTENERS)]
        read.append(await asyncio.to_thread(seconds_of, host))
        for reader in readers:
            await reader.stop()
    speed = statistics.median(alone) / statistics.median(read)
    sys.stdout.write(
        f"prompts of 100 nodes: {statistics.median(alone) * 1000:.0f} ms with no reader, "
        f"{statistics.median(read) * 1000:.0f} ms with {LISTENERS}: {speed:.3f} of the speed\n"
    )
    return speed >= SPEED


def sleeper(port: int) -> socket.socket:
    """A reader that never reads."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(("127.0.0.1", port))
    made.sendall(b"GET /telemetry/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    return made


def is_cut(made: socket.socket) -> bool:
    """Whether the server has ended this connection; reads what has come so far."""
    made.settimeout(5)
    try:
        while made.recv(1 << 16):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


async def crowd(host: Host, count: int) -> bool:
    """Print what a thousand readers missed, and whether those who never read were cut off."""
    readers = [await Reader().start(host.port) for _ in range(count)]
    asleep = [sleeper(host.port) for _ in range(SLEEPERS)]
    last: Any = None
    for number in range(PROMPTS):
        last = await asyncio.to_thread(host.queue, saved(f"crowd/{number % 10}/a{number}", marker={}))
    await asyncio.to_thread(host.wait, last, 120)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and any(reader.finished < PROMPTS for reader in readers):
        await asyncio.sleep(0.1)
    events = max(reader.events for reader in readers)
    missed = sum(events - reader.events for reader in readers)
    cut = sum(reader.cut for reader in readers)
    gone = sum([await asyncio.to_thread(is_cut, made) for made in asleep])
    for reader in readers:
        await reader.stop()
    for made in asleep:
        with contextlib.suppress(OSError):
            made.close()
    sys.stdout.write(
        f"{count} readers of {events} events each: {missed} missed, {cut} cut off; "
        f"{gone} of {SLEEPERS} that never read were cut off\n"
    )
    return not missed and not cut and gone == SLEEPERS


async def measure(host: Host, rounds: int, readers: int) -> bool:
    """All three, one after the other."""
    good = [await waiters(host, rounds), await listeners(host, rounds), await crowd(host, readers)]
    return all(good)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=("embedded", "real"), default="embedded")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--readers", type=int, default=1000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        host = Host(given.kind, Path(folder)).start()
        try:
            return 0 if asyncio.run(measure(host, given.rounds, given.readers)) else 1
        finally:
            host.stop()


if __name__ == "__main__":
    sys.exit(main())
