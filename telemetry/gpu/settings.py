"""What the sampler may be told."""

from __future__ import annotations

from dataclasses import dataclass

from ..process.settings import GPU_SOURCES, ServerSettings

DEFAULT_INTERVAL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class SamplerSettings:
    """How often figures are read while a prompt runs, and from which sources; from none where it is off."""

    interval_seconds: float = DEFAULT_INTERVAL_SECONDS
    sources: tuple[str, ...] = GPU_SOURCES

    @classmethod
    def of(cls, settings: ServerSettings) -> SamplerSettings:
        """As the settings say."""
        return cls(settings.sampler_interval_seconds, settings.gpu_sources)
