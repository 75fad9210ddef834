"""The prompts that run, as far as anybody told: while they do, they hold their groups open."""

from __future__ import annotations

from .evidence import Key, KnownAsOf, RunningPrompt
from .group import Group


class RunningPrompts:
    """Which prompts run. Times are those of one monotonic clock, in seconds."""

    def __init__(self, root: tuple[str, ...]) -> None:
        """`root` is the watched folder's path in parts, to recognise what ComfyUI calls it by."""
        self.root = root
        self._running: dict[str, tuple[RunningPrompt, float]] = {}
        self._asked: float | None = None

    def runs(self, running: RunningPrompt, at: float) -> None:
        """A prompt runs; it holds its groups open until it is told to have ended."""
        self._running.setdefault(running.prompt_id, (running, at))

    def expect_answers(self) -> None:
        """There is a ComfyUI to ask: no group is complete before it was asked about it."""
        self._asked = float("-inf")

    @property
    def running(self) -> list[str]:
        """The prompts that are taken to run."""
        return list(self._running)

    def holds(self, key: Key, group: Group) -> bool:
        """Whether a prompt that runs may still write to a group."""
        return any(
            running.claims(key, self.root) or (group.active >= since and running.saves_beside(key, self.root))
            for running, since in self._running.values()
        )

    def waits_for_answer(self, group: Group) -> bool:
        """Whether nobody has answered yet which prompts ran when something last happened to a group."""
        return self._asked is not None and self._asked < group.active

    def end(self, prompt_id: str) -> RunningPrompt | None:
        """A prompt runs no more; what it held, null where it was not known to run."""
        held = self._running.pop(prompt_id, None)
        return held[0] if held else None

    def asked(self, answer: KnownAsOf) -> None:
        """What is known of prompts is as new as that; or there is nobody to ask, and only windows count."""
        for prompt_id in [prompt_id for prompt_id in self._running if prompt_id not in answer.running]:
            del self._running[prompt_id]
        self._asked = answer.at
