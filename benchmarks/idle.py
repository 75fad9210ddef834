"""How often the recorder's threads wake while no prompt runs.

Counts, by the Linux kernel's own figures, how often each of its threads gave up the processor in some seconds of rest
after a prompt, beside two controls: a thread that waits for an event, and one that polls once a second. At most one
wake-up in 10 s is good.

    python benchmarks/idle.py [--seconds 60]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

from kill_store import GRAPH, now, recording_over
from run_recorder.telemetry.record.events import PromptDone, PromptOutcome, PromptQueued, PromptStarted

MOST_A_SECOND = 0.1
OURS = "run-recorder"


def switches(thread: threading.Thread) -> int:
    """How often a thread went to sleep so far."""
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text("utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("voluntary_ctxt_switches"))


def poll(stop: threading.Event) -> None:
    """What hobby monitors do."""
    while not stop.wait(1.0):
        pass


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    seconds = parser.parse_args().seconds
    stop = threading.Event()
    with tempfile.TemporaryDirectory() as name:
        recording = recording_over(Path(name))
        queued = PromptQueued("p", now(), 1, dict(GRAPH), frozenset({"2", "3"}), False)
        ends = (PromptStarted("p", now(), 1), PromptOutcome("p", now(), "success"), PromptDone("p", now(), {}, True))
        for event in (queued, *ends):
            recording.inbox.urge(event)
        threading.Thread(target=stop.wait, name="control: waits", daemon=True).start()
        threading.Thread(target=poll, args=(stop,), name="control: polls", daemon=True).start()
        time.sleep(3)
        watched = [thread for thread in threading.enumerate() if thread.name.startswith((OURS, "control"))]
        before = {thread: switches(thread) for thread in watched}
        time.sleep(seconds)
        good = True
        for thread in watched:
            woke = switches(thread) - before[thread]
            good &= not thread.name.startswith(OURS) or woke <= max(1, seconds * MOST_A_SECOND)
            sys.stdout.write(f"{thread.name:20} woke {woke} times in {seconds:g} s\n")
        stop.set()
        recording.stop()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
