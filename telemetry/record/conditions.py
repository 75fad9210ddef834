"""The conditions of a prompt, put together: what the host told at its borders, what came before, what was sampled."""

from __future__ import annotations

from collections.abc import Iterable

from ..gpu.session import Session
from ..gpu.witness import traffic
from ..models.conditions import Conditions, LoadedModel
from ..models.numbers import duration
from ..models.record import PromptRecord
from ..models.text import clean, clean_or_none
from ..models.times import Stamp
from .events import HostState, ModelState
from .prompt import OpenPrompt

MAX_NAME = 200
SAMPLED = (
    "vram_free_before_bytes",
    "vram_others_bytes",
    "ram_free_before_bytes",
    "swap_used_before_bytes",
    "throttled_seconds",
)
"""What the sampler tells of them."""


class Sequence:
    """The prompts that a process has run, one after the other."""

    def __init__(self) -> None:
        self._runs = 0
        self._last_end: float | None = None

    def begin(self, run: OpenPrompt, at: Stamp, state: HostState | None) -> None:
        """A run starts: say what came before it, and what the host is like."""
        self._runs += 1
        told = run.record.conditions or Conditions()
        told.run_since_start = self._runs
        if self._last_end is not None:
            told.idle_before_seconds = duration(at.mono - self._last_end)
        if state is not None:
            told.attention = clean_or_none(state.attention, MAX_NAME)
            told.vram_mode = clean_or_none(state.vram_mode, MAX_NAME)
            told.cudnn_benchmark, told.allow_tf32 = state.cudnn_benchmark, state.allow_tf32
            told.deterministic = state.deterministic
            told.float32_matmul_precision = clean_or_none(state.float32_matmul_precision, MAX_NAME)
            told.models = told.models_before = _models(state.models)
        run.record.conditions, run.models = told, _marks(state)

    def end(self, run: OpenPrompt, at: Stamp, state: HostState | None) -> None:
        """A run that had started has ended."""
        self._last_end = at.mono
        told, last = run.record.conditions, _marks(state)
        if told is None or last is None or state is None:
            return
        told.models = _models(state.models)
        if run.models is not None:
            seen = run.session.models_seen() if run.session is not None else []
            told.loaded, told.unloaded = traffic([run.models, *seen, last])
            told.warm = told.loaded == 0


def take_sampled(record: PromptRecord, session: Session) -> None:
    """What the sampler saw of a prompt's conditions, put into its record."""
    told, seen = record.conditions or Conditions(), session.witness()
    for name in SAMPLED:
        setattr(told, name, getattr(seen, name))
    if told.throttled_seconds is not None:
        told.throttled_seconds = {why: round(seconds, 2) for why, seconds in told.throttled_seconds.items()}
    record.conditions = told


def _models(states: Iterable[ModelState] | None) -> list[LoadedModel] | None:
    if states is None:
        return None
    return [
        LoadedModel(
            name=clean(one.name, MAX_NAME),
            device_bytes=one.device_bytes,
            offloaded_bytes=one.offloaded_bytes,
            patches=one.patches,
        )
        for one in states
    ]


def _marks(state: HostState | None) -> frozenset[int] | None:
    return None if state is None or state.models is None else frozenset(one.mark for one in state.models)
