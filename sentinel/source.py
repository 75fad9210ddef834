"""Asks a ComfyUI about prompts, while a group is open and at no other time, and tells the watches what it says."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

from ..telemetry.process.printable import logger
from .evidence import Answer, EndedPrompt, KnownAsOf, RunningPrompt, SilentError
from .feed import News, now

ASK_SECONDS = 0.25
"""How often it is asked while a group is open that no prompt explains."""
WAIT_SECONDS = 1.0
"""How long one question for a running prompt's end is left open."""
QUICK_SECONDS = 0.05
"""How often it is asked while a prompt runs, where it can't be waited for."""
SILENCE_SECONDS = 5.0
"""After so long without an answer only windows count."""
REMEMBERED = 2000
"""How many ended prompts are remembered as told."""


class ComfyUI(Protocol):
    """Whoever can be asked."""

    def ask(self) -> Answer:
        """What runs, and what has ended lately. Raises SilentError."""

    def wait(self, running: RunningPrompt, seconds: float) -> EndedPrompt | None:
        """The end of a running prompt as soon as it has come; null when the time is up, or it can't be waited for.

        Raises SilentError.
        """

    @property
    def can_wait(self) -> bool:
        """Whether `wait` waits."""


class Source:
    """One thread that asks for all watches."""

    def __init__(self, comfyui: ComfyUI, tell: Callable[[News], None], has_open: Callable[[], bool]) -> None:
        self._comfyui, self._tell, self._has_open = comfyui, tell, has_open
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._new = threading.Event()
        """A group has been opened since the last question."""
        self._asked = float("-inf")
        self._told: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._running: Sequence[RunningPrompt] = ()
        self._answered = now()
        self._is_silent = False
        self._thread = threading.Thread(target=self._run, name="run-recorder-sentinel-source", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, at its next step."""
        self._stopping.set()
        self._new.set()
        self._wanted.set()

    def poke(self, *, is_new: bool) -> None:
        """A group is open: ask; at once where one `is_new` since the last time, for its prompt may be over already."""
        if is_new:
            self._new.set()
        if not self._wanted.is_set():
            self._wanted.set()

    def once(self) -> None:
        """Ask once, and tell it. Where nobody answers there is no waiting: only windows count."""
        self._answered = float("-inf")
        self._step()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wanted.wait()
            if not self._has_open():
                self._wanted.clear()
                if not self._has_open():
                    continue
            self._step()
            self._pause()

    def _step(self) -> None:
        self._new.clear()
        self._asked = asked = now()
        try:
            answer = self._comfyui.ask()
        except SilentError as error:
            self._unanswered(str(error))
            return
        self._answered = now()
        if self._is_silent:
            self._is_silent = False
            logger.warning("Run Recorder: ComfyUI answers again")
        for running in answer.running:
            self._tell(running)
        for ended in answer.ended:
            self._tell_end(ended)
        self._running = answer.running
        self._tell(KnownAsOf(asked, frozenset(running.prompt_id for running in answer.running)))

    def _unanswered(self, why: str) -> None:
        self._running = ()
        if now() - self._answered < SILENCE_SECONDS and not self._is_silent:
            return
        if not self._is_silent:
            logger.warning("Run Recorder: %s; until it answers, only the files themselves tell what is complete", why)
        self._is_silent = True
        self._tell(KnownAsOf(None))

    def _tell_end(self, ended: EndedPrompt) -> None:
        key = ended.prompt_id, ended.run_number
        if key not in self._told:
            self._told[key] = None
            if len(self._told) > REMEMBERED:
                self._told.popitem(last=False)
            self._tell(ended)

    def _pause(self) -> None:
        if self._running and self._comfyui.can_wait:
            try:
                ended = self._comfyui.wait(self._running[0], WAIT_SECONDS)
            except SilentError:
                ended = None
                self._stopping.wait(ASK_SECONDS)
            if ended is not None:
                self._tell_end(ended)
            return
        if self._new.wait(QUICK_SECONDS if self._running else 4 * ASK_SECONDS if self._is_silent else ASK_SECONDS):
            self._stopping.wait(max(0.0, self._asked + QUICK_SECONDS - now()))
