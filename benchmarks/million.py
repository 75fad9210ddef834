"""A million prompts of 10 nodes in SQLite: how large, how soon open, how fast a page is, and what pruning holds up.

Builds the database through the recorder's own tables, serves it from an embedded host, and asks over HTTP. Each figure
stands beside a control of the same run: the same questions to a server with a thousand prompts, the same prompts while
nothing is pruned.

    python benchmarks/million.py [--prompts 1000000] [--keep DIR]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from run_recorder.server_routes.parameters import encode_cursor  # noqa: E402
from run_recorder.telemetry.markers.folder import FileStamp  # noqa: E402
from run_recorder.telemetry.markers.outputs import ReportedFile  # noqa: E402
from run_recorder.telemetry.models.environment import Environment  # noqa: E402
from run_recorder.telemetry.models.listing import Position  # noqa: E402
from run_recorder.telemetry.models.record import NodeRecord, PromptRecord  # noqa: E402
from run_recorder.telemetry.process.settings import ServerSettings  # noqa: E402
from run_recorder.telemetry.record.host import HostProcess  # noqa: E402
from run_recorder.telemetry.record.recording import Recording  # noqa: E402
from run_recorder.telemetry.store.changes import Change  # noqa: E402
from run_recorder.telemetry.store.database import Database  # noqa: E402
from run_recorder.telemetry.store.retention import Retention, prune  # noqa: E402
from run_recorder.telemetry.store.store import Store  # noqa: E402

from tests.hosts import Host  # noqa: E402

CLASSES = [
    "CheckpointLoaderSimple",
    "CLIPTextEncode",
    "EmptyLatentImage",
    "KSampler",
    "VAEDecode",
    "LoraLoader",
    "ControlNetApplyAdvanced",
    "ImageScale",
    "SaveImage",
    "WriteDoneMarker",
]
RARE_CLASS = "OneInTenThousand"
BATCH = 2000
INSTANCE = str(uuid.uuid4())
ASKED = 400
SMALL = 1000
OPEN_SECONDS, PAGE_MS, BLOCKED_MS = 1.0, 10.0, 50.0
"""What is good enough."""


def prompt(number: int, start_ms: int) -> Change:
    """A prompt as a real one is recorded: ten nodes, one output, one marker's worth of notes now and then."""
    queued = start_ms + number * 1000
    record = PromptRecord(
        str(uuid.UUID(int=random.getrandbits(128), version=4)),
        1,
        INSTANCE,
        status="error" if number % 50 == 0 else "success",
        queued_ms=queued,
        started_ms=queued + 5,
        ended_ms=queued + 900,
        queue_wait_seconds=0.005,
        duration_seconds=0.895123,
        queue_number=float(number),
        workflow_name=f"shot {number % 500}",
        workflow_fingerprint="1:" + "%032x" % (number % 500),
        settings_fingerprint="1:" + "%032x" % (number % 5000),
        graph_digest=f"{random.getrandbits(128):032x}",
        environment_id="0123456789abcdef",
        node_total=10,
        node_executed=10,
        outputs=[
            ReportedFile(
                "9",
                f"a{number}_00001_.png",
                f"shot{number % 500}",
                "output",
                stamp=FileStamp(1_500_000, queued * 10**6, "1"),
            )
        ],
    )
    nodes = [
        NodeRecord(
            seq,
            str(seq + 1),
            class_type=RARE_CLASS if number % 10_000 == 1 and seq == 5 else name,
            display_node_id=str(seq + 1),
            started_ms=queued + 5 + seq * 90,
            duration_seconds=0.08912,
            progress_max=20.0 if name == "KSampler" else None,
        )
        for seq, name in enumerate(CLASSES)
    ]
    return Change(record, new_nodes=nodes, outputs=True)


def build(path: Path, prompts: int) -> None:
    """Fill a database, in batches of one transaction each."""
    database = Database(f"sqlite:///{path}")
    database.open()
    store = Store(database)
    start = round(time.time() * 1000) - prompts * 1000
    for first in range(0, prompts, BATCH):
        store.save([prompt(number, start) for number in range(first, min(first + BATCH, prompts))])
    database.close()


def opening(path: Path) -> float:
    """Seconds from a recorder's start until it answers, with this database."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        roots = dict.fromkeys(("output", "temp", "input"), folder)
        host = HostProcess(
            private_folder=folder,
            roots=lambda: roots,
            worker_alive=lambda: True,
            is_choice=lambda *_: False,
            port=lambda: None,
            environment=lambda: Environment(id="bench"),
            settings=ServerSettings(RUN_RECORDER_DATABASE_URL=f"sqlite:///{path}"),
        )
        recording = Recording(host)
        begun = time.perf_counter()
        recording.start()
        recording.ready.wait(60)
        took = time.perf_counter() - begun
        recording.stop()
    return took


@contextlib.contextmanager
def served(path: Path) -> Iterator[Host]:
    """An embedded host with this database."""
    with tempfile.TemporaryDirectory() as name:
        host = Host("embedded", Path(name), env={"RUN_RECORDER_DATABASE_URL": f"sqlite:///{path}"})
        try:
            yield host.start()
        finally:
            host.stop()


def ask(connection: http.client.HTTPConnection, query: dict[str, Any]) -> tuple[float, Any]:
    """One page: how many seconds it took, and what it said."""
    begun = time.perf_counter()
    connection.request("GET", "/telemetry/prompts?" + urlencode(query))
    body = connection.getresponse().read()
    return time.perf_counter() - begun, json.loads(body)


def middle_cursors(path: Path, count: int) -> list[str]:
    """Cursors of pages from anywhere in the list."""
    with sqlite3.connect(path) as connection:
        last = connection.execute("SELECT max(pk) FROM prompts").fetchone()[0]
        keys = sorted(random.randrange(60, last) for _ in range(count))
        query = "SELECT sort_ms, pk FROM prompts WHERE pk >= ? ORDER BY pk LIMIT 1"  # pruning leaves gaps
        found = [connection.execute(query, (key,)).fetchone() for key in keys]
    connection.close()
    return [encode_cursor(Position(*row)) for row in found]


def questions(path: Path, prompts: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """Every kind of page."""
    cursors = middle_cursors(path, 50)

    def some() -> int:
        return random.randrange(prompts)

    return {
        "first": dict,
        "middle": lambda: {"cursor": random.choice(cursors)},
        "status": lambda: {"status": "error"},
        "class of many": lambda: {"class_type": "KSampler"},
        "class of few": lambda: {"class_type": RARE_CLASS},
        "output": lambda: {"output": f"a{some()}_00001_.png"},
        "words of many": lambda: {"q": "shot 3"},
        "words of one": lambda: {"q": f"a{some()}_0000"},
        "words of none": lambda: {"q": f"nothing{some()}"},
        "words: a class": lambda: {"q": RARE_CLASS[3:9]},
    }


def pages(big: Path, small: Path, prompts: int) -> bool:
    """Print how fast pages are, beside the same of a small database; whether all are fast enough."""
    good = True
    with served(big) as host, served(small) as control:
        connections = [http.client.HTTPConnection("127.0.0.1", one.port, timeout=60) for one in (host, control)]
        for name, make in questions(big, prompts).items():
            found: list[list[float]] = [[], []]
            for number in range(ASKED + 5):
                query = make()
                for connection, times in zip(connections, found, strict=True):
                    took, page = ask(connection, query)
                    assert "items" in page, page
                    if number >= 5:
                        times.append(took * 1000)
            (p50, p99), (base50, base99) = (
                (statistics.median(times), statistics.quantiles(times, n=100)[98]) for times in found
            )
            good &= p99 <= PAGE_MS
            sys.stdout.write(
                f"page, {name}: median {p50:.1f} ms ({p50 / base50:.2f} of that with {SMALL} prompts), "
                f"p99 {p99:.1f} ms ({p99 / base99:.2f})\n"
            )
            sys.stdout.flush()
    return good


def saving(store: Store, until: Callable[[], bool]) -> list[float]:
    """Commit a prompt's end again and again; how many milliseconds each took."""
    times: list[float] = []
    number = 10**9
    while not until():
        number += 1
        one = prompt(number, 0)
        one.record.queued_ms = round(time.time() * 1000)
        begun = time.perf_counter()
        store.save([one], durable=True)
        times.append((time.perf_counter() - begun) * 1000)
        time.sleep(0.02)
    return times


def pruning(path: Path, prompts: int) -> bool:
    """Print how long a record waits while half of all is forgotten; whether that is short enough."""
    database = Database(f"sqlite:///{path}")
    database.open()
    store = Store(database)
    end = time.monotonic() + 10
    control = saving(store, lambda: time.monotonic() > end)
    gone: list[int] = []
    thread = threading.Thread(target=lambda: gone.append(prune(store, Retention(prompts=prompts // 2))))
    begun = time.perf_counter()
    thread.start()
    times = saving(store, lambda: not thread.is_alive())
    took = time.perf_counter() - begun
    database.close()
    slowest, usual = max(times), max(control)
    sys.stdout.write(
        f"pruning {gone[0]} prompts took {took:.0f} s; meanwhile a record took {statistics.median(times):.1f} ms "
        f"(median), {slowest:.1f} ms at most ({slowest / usual:.1f} of {usual:.1f} ms with no pruning)\n"
    )
    return slowest <= BLOCKED_MS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="Keep the database here, and use one that is there.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = given.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        big, small = folder / "big.sqlite3", Path(name) / "small.sqlite3"
        if not big.exists():
            build(big, given.prompts)
        build(small, SMALL)
        size = big.stat().st_size
        sys.stdout.write(
            f"{given.prompts} prompts: {size / 2**20:.0f} MiB, {size / given.prompts:.0f} bytes a prompt\n"
        )
        opened, control = opening(big), opening(small)
        sys.stdout.write(f"opened in {opened * 1000:.0f} ms ({opened / control:.2f} of that with {SMALL} prompts)\n")
        good = [opened <= OPEN_SECONDS, pages(big, small, given.prompts), pruning(big, given.prompts)]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
