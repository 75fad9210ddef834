"""What the sentinel costs and how soon it marks, each against a control in the same run.

settle: from the last frame's close to its marker, less the window; the control writes a file as a marker is.
record: from a prompt's end to the sentinel's marker, with a ComfyUI that it asks; the control is the same.
catchup: a scan of 100,000 files in 1,000 groups, unmarked, while marking, and marked; the control is scandir with stat.
burst: processor time for 20,000 files written as fast as the disk takes them; the controls are bare watchdog handlers.
idle: processor time and wake-ups on 100,000 files while nothing happens; the control is a bare observer.

    python benchmarks/sentinel.py [settle] [record] [catchup] [burst] [idle] [--kind K] [--seconds N] [--rounds N]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.graphs import Graph  # noqa: E402
from tests.hosts import CLI, Host  # noqa: E402

WINDOW = 0.2
BURST, BURST_GROUPS = 20_000, 20
PARTS = ("settle", "record", "catchup", "burst", "idle")
BARE = """
import sys
from watchdog.events import FileClosedEvent, FileSystemEventHandler
from watchdog.observers import Observer
class Handler(FileSystemEventHandler):
    seen = 0
    def on_closed(self, event):
        Handler.seen += 1
observer = Observer()
wanted = {"all": None, "closes": [FileClosedEvent]}[sys.argv[2]]
observer.schedule(Handler(), sys.argv[1], recursive=True, event_filter=wanted)
observer.start()
print("ready", flush=True)
sys.stdin.read()
print(Handler.seen, flush=True)
"""


def say(text: str) -> None:
    """A line of the report."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def p99(values: list[float]) -> float:
    """The 99th percentile, or the largest of few."""
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]


def figures(name: str, seconds: list[float]) -> float:
    """Print a distribution in milliseconds; its p99 in seconds."""
    ms = [value * 1000 for value in seconds]
    say(f"{name:44} n={len(ms)}  median {statistics.median(ms):6.1f} ms  p99 {p99(ms):6.1f} ms  max {max(ms):6.1f} ms")
    return p99(seconds)


@contextmanager
def started(*command: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A process whose standard output is read; ended afterwards."""
    process = subprocess.Popen(
        [*map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def sentinel(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A `sentinel watch` that has marked a first file, so that it is known to watch."""
    with started(*CLI, "sentinel", "watch", folder, *options) as process:
        (folder / "ready.png").write_bytes(b"x")
        wait_for(folder / "ready.done", 60)
        yield process


def wait_for(path: Path, seconds: float = 30) -> float:
    """Until a file is there; the monotonic time then."""
    deadline = time.monotonic() + seconds
    while not os.path.exists(path):  # noqa: PTH110
        if time.monotonic() > deadline:
            raise SystemExit(f"{path} has not come in {seconds:g} s")
        time.sleep(0.0005)
    return time.monotonic()


def processor_seconds(process: subprocess.Popen[str]) -> float:
    """What a process has used so far, of its own and of the system's time: of all threads, in nanoseconds' steps."""
    total = 0
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def when_quiet(process: subprocess.Popen[str]) -> float:
    """What a process has used once it has nothing more to do."""
    used, then = processor_seconds(process), -1.0
    while used - then > 0.002:
        time.sleep(1.5)
        used, then = processor_seconds(process), used
    return used


def wake_ups(process: subprocess.Popen[str]) -> int:
    """How often its threads went to sleep."""
    return sum(
        int(line.split()[1])
        for task in Path(f"/proc/{process.pid}/task").iterdir()
        for line in (task / "status").read_text().splitlines()
        if line.startswith("voluntary_ctxt_switches")
    )


def written(folder: Path, count: int) -> list[float]:
    """How long it takes to write, fsync and rename a file, again and again: what no marker can be quicker than."""
    took = []
    for number in range(count):
        began = time.monotonic()
        with (folder / "temporary").open("wb") as file:
            file.write(b"x" * 500)
            file.flush()
            os.fsync(file.fileno())
        (folder / "temporary").rename(folder / f"control{number}")
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        took.append(time.monotonic() - began)
    return took


def settle(_given: argparse.Namespace) -> bool:
    """From the last frame's close to its marker."""
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as other:
        folder, took = Path(name), []
        with sentinel(folder, "--stable-seconds", str(WINDOW)):
            for number in range(150):
                for frame in range(3):
                    (folder / f"s{number}_{frame:05}_.png").write_bytes(b"x" * 1000)
                closed = time.monotonic()
                time.sleep(WINDOW * 0.9)
                took.append(wait_for(folder / f"s{number}.done") - closed - WINDOW)
        control = figures("control: write, fsync, rename", written(Path(other), 150))
        ours = figures("last close to marker, less the window", took)
    say(f"settle: {ours / control:.1f} times the control")
    return min(took) >= 0 and ours <= 0.05


def record(given: argparse.Namespace) -> bool:
    """From a prompt's end to the sentinel's marker: a saver before and after a slow node, and one at the very end."""
    from run_recorder.telemetry.models.times import parse

    took: dict[str, list[float]] = {"frames all along": [], "frames at the end": []}
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as other:
        host = Host(given.kind, Path(name)).start()
        try:
            with sentinel(host.output, "--comfyui", host.url):
                for number in range(101):
                    for what, early in (("frames all along", True), ("frames at the end", False)):
                        prefix, graph = f"{what[-3:]}{number}", Graph()
                        image = graph.image(batch_size=2)
                        if early:
                            graph.save(image, prefix)
                        graph.save(graph.slow(0.1, source=image), prefix)
                        prompt_id = host.queue(graph)
                        wait_for(host.output / f"{prefix}.done")
                        seen = time.time()
                        if number:  # the first of each tells the sentinel what it can ask
                            took[what].append(seen - parse(host.wait(prompt_id)["ended_at"]) / 1000)
        finally:
            host.stop()
        control = figures("control: write, fsync, rename", written(Path(other), 100))
        ours = [figures(f"{given.kind} ComfyUI, end to marker, {what}", seconds) for what, seconds in took.items()]
    say(f"record: {ours[0] / control:.1f} and {ours[1] / control:.1f} times the control")
    return max(ours) <= 0.02


def make_many(folder: Path, files: int = 100_000, groups: int = 1_000, folders: int = 10) -> None:
    """Empty files, old enough to have settled."""
    for number in range(folders):
        (folder / f"f{number}").mkdir()
    for number in range(files):
        group, frame = divmod(number, files // groups)
        place = folder / f"f{group % folders}"
        os.close(os.open(place / f"g{group}_{frame:05}_.png", os.O_CREAT | os.O_WRONLY))
    time.sleep(1.1)


def listed(folder: Path) -> int:
    """The control: every file with its stat."""
    count, waiting = 0, [str(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    waiting.append(entry.path)
                else:
                    entry.stat()
                    count += 1
    return count


def timed(do: Callable[[], object], times: int = 5) -> float:
    """The median of some runs, in seconds."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        do()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def catchup(_given: argparse.Namespace) -> bool:
    """A scan of 100,000 files in 1,000 groups."""
    from run_recorder.sentinel.options import Options
    from run_recorder.sentinel.service import Sentinel

    def scan() -> None:
        watch = Sentinel([folder], Options(1.0, lock=False)).watches[0]
        watch.once()
        opened.append(len(watch.keeper.groups.open))

    opened: list[int] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_many(folder)
        bare = timed(lambda: listed(folder))
        unmarked = timed(scan)
        marking = timed(Sentinel([folder], Options(1.0, lock=False)).once, 1)
        count = len(list(folder.rglob("*.done")))
        bare = min(bare, timed(lambda: listed(folder)))
        marked = timed(scan)
    say(f"control: scandir with stat {bare:.3f} s")
    for what, took in (("unmarked", unmarked), ("marked", marked), (f"marking {count} groups", marking)):
        say(f"catch-up, {what:22} {took:.3f} s, {took / bare:.2f} times the control")
    say(f"groups opened: {opened[0]} unmarked, {opened[-1]} marked")
    return max(unmarked, marked) <= 1 and max(unmarked, marked) <= 3.5 * bare


def burst(given: argparse.Namespace) -> bool:
    """20,000 files as fast as the disk takes them: processor time, and what was missed. Each in turn, some rounds."""
    used: dict[str, list[float]] = {"closes": [], "all": [], "ours": []}
    lost = 0
    for _ in range(given.rounds):
        for what in ("closes", "all"):
            took, missed = bare_burst(what)
            say(f"control: a bare handler, {what:6} events {took:.2f} s of processor time, {missed} missed")
            if not missed:  # one that has missed files has been spared their cost
                used[what].append(took)
        took, missed = our_burst()
        say(f"the sentinel {took:.2f} s of processor time, {missed} missed")
        used["ours"].append(took)
        lost += missed
    if not used["all"]:
        say("burst: the bare handler has missed files each time, so there is nothing to compare with")
        return False
    ours, bare, closes = (statistics.median(used[what] or [float("nan")]) for what in ("ours", "all", "closes"))
    say(f"burst: {ours / bare:.2f} times a bare handler, {ours / closes:.2f} times one that hears of closes alone")
    return lost == 0 and ours <= 1.3 * bare


def write_burst(folder: Path) -> None:
    """The files, one after the other."""
    for number in range(BURST):
        group, frame = divmod(number, BURST // BURST_GROUPS)
        (folder / f"g{group}_{frame:05}_.png").write_bytes(b"x")


def bare_burst(what: str) -> tuple[float, int]:
    """Processor time of a bare handler, and how many files it has missed."""
    with tempfile.TemporaryDirectory() as name, started(sys.executable, "-c", BARE, name, what) as bare:
        assert bare.stdin is not None and bare.stdout is not None
        bare.stdout.readline()
        before = processor_seconds(bare)
        write_burst(Path(name))
        took = when_quiet(bare) - before
        bare.stdin.close()
        return took, BURST - int(bare.stdout.readline())


def our_burst() -> tuple[float, int]:
    """Processor time of the sentinel, markers included, and how many files no marker lists."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with sentinel(folder) as process:
            before = processor_seconds(process)
            write_burst(folder)
            for group in range(BURST_GROUPS):
                wait_for(folder / f"g{group}.done", 60)
            took = when_quiet(process) - before
        return took, BURST - sum(marked_files(folder / f"g{group}.done") for group in range(BURST_GROUPS))


def marked_files(path: Path) -> int:
    """How many files a marker lists."""
    import json

    return len(json.loads(path.read_text("utf-8"))["Files"])


def idle(given: argparse.Namespace) -> bool:
    """Nothing happens, for some time, on 100,000 files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_many(folder)
        with started(sys.executable, "-c", BARE, folder, "all") as bare, sentinel(folder) as process:
            wait_for(folder / "f9" / "g999.done", 60)
            time.sleep(20)
            before = [(processor_seconds(each), wake_ups(each)) for each in (bare, process)]
            time.sleep(given.seconds)
            after = [(processor_seconds(each), wake_ups(each)) for each in (bare, process)]
            memory = psutil.Process(process.pid).memory_info().rss / 2**20
    for what, (used, woke), (then, woken) in zip(
        ("control: a bare observer", "the sentinel"), before, after, strict=True
    ):
        say(
            f"{what:26} {(then - used) * 1000:.2f} ms of processor time, {woken - woke} wake-ups in {given.seconds:g} s"
        )
    say(f"idle: {memory:.0f} MiB resident")
    return after[1][0] - before[1][0] <= 0.001 * given.seconds


def main() -> int:
    """All parts, or those that are named; 1 where a limit isn't held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--kind", choices=("embedded", "real"), default="real")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: give any of {', '.join(PARTS)}")
    kept = True
    for part in given.parts or PARTS:
        is_kept = globals()[part](given)
        say(f"{part}: {'within its limit' if is_kept else 'NOT within its limit'}\n")
        kept &= is_kept
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
