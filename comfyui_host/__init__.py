"""The border: the only package that touches ComfyUI's internals, and turns what happens there into plain events.

Every place where ComfyUI is observed (a *seam*) is wrapped where it is really called, whatever its signature has
become, and calls one hook under one guard: a hook that fails is counted, told once in the log, shown in health, and
costs the prompt nothing. What a missing or silent seam would have told stays null.
"""

from __future__ import annotations

import atexit
import sys

from .host import PACKAGE, Host, process_of
from .process import is_comfyui

__all__ = ["Host", "install", "is_comfyui"]

_MARK = "__run_recorder__"
"""The attribute of ComfyUI's queue that names the copy of this package which observes it."""


def install() -> Host | None:
    """Install the recorder in this ComfyUI; null where another copy of this package has done so."""
    queue = getattr(sys.modules["execution"], "PromptQueue", None)
    first = getattr(queue, _MARK, None)
    if first is not None:
        first.note_second_copy(str(PACKAGE))
        return None
    host = Host(process_of)
    host.install()
    atexit.register(host.stop)
    if queue is not None:
        setattr(queue, _MARK, host)
    return host
