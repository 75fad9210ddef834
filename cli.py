"""`run-recorder`: the command line.

Exit codes: 0 done, 1 the work failed, 2 bad use or nothing to work on or with, 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; the exit code. Standard output gets nothing but the command's own.

    What the commands need is imported here and not above, so that Ctrl-C is heard from the first moment on.
    """
    before = _end_at_once_by_sigint()
    try:
        from .commands.application import run_command
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
    if arguments is not None:
        return run_command(arguments)
    done = run_command(sys.argv[1:])
    _end_at_once_by_sigint()  # what is left is Python's own end
    return done


def _end_at_once_by_sigint() -> signal._HANDLER:
    """While modules are imported nothing is open that has to be closed, and an exception would come out anywhere.

    The handler to be restored; null where SIGINT is ignored, handled by somebody else or not ours to hear.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        return None
    try:
        signal.signal(signal.SIGINT, _end)
    except ValueError:  # only the main thread hears signals
        return None
    return before


def _end(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"run-recorder: interrupted\n")
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
