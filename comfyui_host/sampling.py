"""Figures of GPU and memory while a prompt runs: when the sampler reads, and torch's peaks around each node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..telemetry.gpu.sampler import make_sampler
from ..telemetry.gpu.session import Session
from ..telemetry.process.problems import Problems
from ..telemetry.process.settings import ServerSettings
from .torch import Torch


class Sampling:
    """Begins and ends the sampler's sessions, on the executing thread."""

    HOOKS = ("on_sampling", "on_sampled")
    """A test makes each of them raise."""

    def __init__(self, problems: Problems, settings: ServerSettings) -> None:
        self._torch = Torch()
        self.sampler = make_sampler(self._torch, problems, settings)
        self.boundary: Callable[[str | None, bool], None] | None = None
        """Reads and resets torch's peaks; null where ComfyUI's device has none, and then nodes cost nothing more."""

    def on_sampling(self, prompt_id: str, mono: float) -> Session:
        """A prompt starts: read figures from now on, and torch's peaks at the boundaries of its nodes."""
        self.boundary = None
        session = self.sampler.begin(prompt_id, mono)
        if self.sampler.is_on:
            self.boundary = self._torch.peak_reader(session.nodes.boundaries)
        if self.boundary is not None:
            self.boundary(None, True)
        return session

    def on_sampled(self, mono: float) -> None:
        """The prompt has ended."""
        boundary, self.boundary = self.boundary, None
        if boundary is not None:
            boundary(None, False)
        self.sampler.end(mono)

    def add_metrics(self, registry: Any) -> None:
        """Add what Prometheus reads of the devices. Imported here, on the recorder's thread."""
        from ..telemetry.gpu.metrics import GpuMetrics

        registry.register(GpuMetrics(self.sampler.now, self.sampler.models))
