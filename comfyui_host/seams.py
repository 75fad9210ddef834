"""Where ComfyUI is observed: each seam's state, and the one guard around every hook."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from ..telemetry.models.health import Seam
from ..telemetry.models.times import iso, milliseconds
from ..telemetry.process.problems import Problems

COSTS = {
    "on_prompt": "markers that ComfyUI refused are not noted",
    "validate": "outputs that ComfyUI refused are not known, and prompts of which it refused all are not recorded",
    "put": "the time of queueing, the graph's fingerprints and marker requests are not known before the start",
    "delete_queue_item": "prompts deleted from the queue are not seen to be cancelled",
    "wipe_queue": "prompts cleared from the queue are not seen to be cancelled",
    "add_message": "start, node times, errors and interrupts are not known",
    "progress": "nodes, their times and steps are not known",
    "task_done": "outputs are known only from the disk, and prompts end up to 5 s late",
    "gpu": "peaks of nodes, or the whole prompt's figures of GPU and memory, are not known",
    "gc": "after a long prompt its end is told up to a second late",
}
"""Every seam, and what it costs where it is missing."""
OTHER_COSTS = {
    "execute": "what other packs have put over ComfyUI's functions since its start is not observed",
    "marker": "what was wired into a marker node is not known, and a node that waits is answered without its marker",
}
"""Other hooks, and what it costs where one fails."""


class Seams:
    """The seams of this ComfyUI. A hook that fails is counted, told once, and costs the prompt nothing."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self.seen: dict[str, float] = {}
        """When each seam last told something, in seconds since 1970."""
        self._installed = dict.fromkeys(COSTS, False)

    def guarded(self, seam: str, hook: Callable[..., Any], *args: Any) -> Any:
        """Call a hook; whatever it raises stays here. Null where it failed."""
        try:
            self.seen[seam] = time.time()
            return hook(*args)
        except Exception as error:  # noqa: BLE001  a fault of ours never reaches a prompt
            self.hook_failed(seam, error)
            return None

    def hook_failed(self, seam: str, error: Exception) -> None:
        """Count a hook's fault, and tell it once. Raises nothing."""
        with contextlib.suppress(Exception):
            hint = f"our hook failed: {COSTS.get(seam) or OTHER_COSTS.get(seam, 'some figures are missing')}"
            self._problems.report(f"hook {seam}", hint, error, passing=True)

    def install(self, seam: str, install: Callable[[], object]) -> None:
        """Install what observes a seam; where this ComfyUI lacks it, health says what that costs."""
        try:
            install()
        except Exception as error:  # noqa: BLE001  an older or newer ComfyUI may lack it
            self._problems.report(f"seam {seam}", f"this ComfyUI lacks it: {COSTS[seam]}", error)
        else:
            self._installed[seam] = True

    def is_installed(self, seam: str) -> bool:
        """Whether a seam is observed."""
        return self._installed[seam]

    def health(self) -> dict[str, Seam]:
        """Each seam: whether it is installed, and when it last told something."""
        seen = dict(self.seen)
        return {
            name: Seam(installed=installed, last_seen=iso(milliseconds(seen[name])) if name in seen else None)
            for name, installed in self._installed.items()
        }
