"""Runs commands against hostile servers in a process of its own, with short times; prints what became of each.

Standard input is a JSON list of cases: a name, the command line, and what the environment has besides. A line of JSON
for each comes out, with the most memory that the process has had so far, in bytes.
"""

import contextlib
import faulthandler
import io
import json
import os
import re
import sys
import time
import traceback
from pathlib import Path
from typing import Any


def shorten() -> None:
    """The same bounds in bytes, and a fraction of the time: enough for an honest answer on a machine that is busy."""
    from run_recorder.client import limits, outside
    from run_recorder.commands import follow
    from run_recorder.runner import attempts, pool
    from run_recorder.sentinel import comfyui

    limits.SLOW_SECONDS, limits.SILENCE_SECONDS, limits.SOCKET_SECONDS = 0.5, 3.0, 0.3
    limits.CONNECT_SECONDS, limits.SOCKET_FLOOD = 3.0, 500
    limits.BOUNDS = {
        kind: limits.Bound(bound.most_bytes, min(bound.seconds, 4.0), bound.least_speed)
        for kind, bound in limits.BOUNDS.items()
    }
    outside.TRIES, outside.PAUSE_SECONDS = 1, 0.0
    attempts.GONE_SECONDS = 1.0
    pool.PROBE_SECONDS, pool.GONE_SECONDS = 0.2, 2.0
    follow.RETRY_SECONDS = 0.1
    comfyui.BOUNDS = limits.Limits(answer_seconds=2.0)


def most_memory() -> int:
    """The high water mark of this process' resident memory."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"))
    return int(found[1]) * 1024 if found else 0


def ran(arguments: list[str]) -> int:
    """One command line; `sentinel-client` asks as the sentinel does."""
    if arguments[0] != "sentinel-client":
        from run_recorder.cli import main

        return main(arguments)
    from run_recorder.sentinel.comfyui import HttpComfyUI
    from run_recorder.sentinel.evidence import RunningPrompt, SilentError

    asked = HttpComfyUI(arguments[1])
    for ask in (lambda: asked.can_wait, asked.ask, lambda: asked.wait(RunningPrompt("p"), 0.1)):
        with contextlib.suppress(SilentError):
            ask()
    return 0


STUCK_SECONDS = 240
"""A command that is not through by then is stuck: its process ends and says on standard error where it was."""


def case(name: str, arguments: list[str], environment: dict[str, str]) -> dict[str, Any]:
    os.environ.update(environment)
    sys.__stderr__.write(f"{name}\n")
    faulthandler.dump_traceback_later(STUCK_SECONDS, exit=True, file=sys.__stderr__)
    out, error, began, failure, code = io.StringIO(), io.StringIO(), time.monotonic(), None, -1
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            code = ran(arguments)
        except BaseException:
            failure = traceback.format_exc()
    faulthandler.cancel_dump_traceback_later()
    told = {"name": name, "code": code, "seconds": time.monotonic() - began, "failure": failure}
    return {**told, "out": out.getvalue()[-20_000:], "error": error.getvalue()[-4000:], "memory": most_memory()}


if __name__ == "__main__":
    shorten()
    for one in json.load(sys.stdin):
        sys.stdout.write(json.dumps(case(*one)) + "\n")
        sys.stdout.flush()
