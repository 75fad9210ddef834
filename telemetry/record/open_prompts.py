"""The open prompts, found by what is asked of them: their id, that they have started or ended, that they changed.

Thousands of prompts may wait in ComfyUI's queue. What one event or one look costs must not grow with them, so nothing
here walks over all runs but the iteration itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from .prompt import OpenPrompt


class OpenPrompts(Sequence[OpenPrompt]):
    """Open runs, and ended ones until the writer is done with them, in the order of queueing. Not thread-safe."""

    def __init__(self) -> None:
        self._runs: dict[OpenPrompt, None] = {}
        self._of_id: dict[str, dict[OpenPrompt, None]] = {}
        self.started: dict[OpenPrompt, None] = {}
        """Those that have started and not ended, in the order in which they started."""
        self.ended: dict[OpenPrompt, None] = {}
        """Those that have ended and are not settled, in the order in which they ended."""
        self.changed: dict[OpenPrompt, None] = {}
        """Those of which the store doesn't have all, or that the writer has not yet looked at."""

    def add(self, run: OpenPrompt) -> None:
        """A run is queued."""
        self._runs[run] = None
        self._of_id.setdefault(run.record.prompt_id, {})[run] = None
        self.changed[run] = None

    def remove(self, run: OpenPrompt) -> None:
        """A run is done with. Raises KeyError where it isn't here."""
        del self._runs[run]
        of_id = self._of_id[run.record.prompt_id]
        del of_id[run]
        if not of_id:
            del self._of_id[run.record.prompt_id]
        for some in (self.started, self.ended, self.changed):
            some.pop(run, None)

    def begin(self, run: OpenPrompt) -> None:
        """A run starts."""
        self.started[run] = None

    def end(self, run: OpenPrompt) -> None:
        """A run has ended."""
        self.started.pop(run, None)
        self.ended[run] = None

    def touch(self, run: OpenPrompt, *, urgent: bool = False) -> None:
        """Something of a run has changed; with `urgent` the store is to have it now. One that is done with stays so."""
        if run not in self._runs:
            return
        run.dirty = True
        run.urgent = run.urgent or urgent
        self.changed[run] = None

    def depth(self) -> tuple[int, int]:
        """How many wait, and how many run. Any thread, without the lock: each figure is right, if not of one moment."""
        running = len(self.started)
        return max(0, len(self._runs) - running - len(self.ended)), running

    def of(self, prompt_id: str) -> list[OpenPrompt]:
        """The runs of one id, oldest first."""
        return list(self._of_id.get(prompt_id, ()))

    def __iter__(self) -> Iterator[OpenPrompt]:
        return iter(self._runs)

    def __reversed__(self) -> Iterator[OpenPrompt]:
        return reversed(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, run: object) -> bool:
        return run in self._runs

    @overload
    def __getitem__(self, place: int) -> OpenPrompt: ...

    @overload
    def __getitem__(self, place: slice) -> list[OpenPrompt]: ...

    def __getitem__(self, place: int | slice) -> OpenPrompt | list[OpenPrompt]:
        return list(self._runs)[place]
