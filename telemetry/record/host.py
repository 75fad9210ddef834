"""What the recorder is told of the process that it lives in. The border makes it; nothing here knows ComfyUI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..models.environment import Environment
from ..process.settings import ServerSettings, server_settings
from .events import PromptDone, PromptMet
from .fingerprint import IsChoice


def _nothing_is_known(*_asked: object) -> None:
    return None


def _none_waits(_prompt_id: str) -> list[PromptMet]:
    return []


@dataclass(frozen=True, slots=True)
class HostProcess:
    """The process that the recorder lives in. Every question may be asked on any thread, and raises nothing."""

    private_folder: Path
    """Where the recorder keeps what is nobody else's."""
    roots: Callable[[], dict[str, Path]]
    """The folders of `output`, `temp` and `input`, as they are now: a node may set others."""
    worker_alive: Callable[[], bool | None]
    """Whether the thread that runs prompts lives; null where that is not known."""
    is_choice: IsChoice
    """Whether an input of a class of nodes is a choice from a list, and a value one of it."""
    port: Callable[[], int | None]
    """The port that its server listens on; null until it does."""
    environment: Callable[[], Environment]
    """What its prompts run on. Reads files, so it may take its time; may raise."""
    settings: ServerSettings = field(default_factory=lambda: server_settings()[0])
    """What the environment says."""
    pack_of: Callable[[str], str | None] = _nothing_is_known
    """Which node pack a class is of, by its folder's name; `ComfyUI` for its own, null for an unknown one."""
    queued_ids: Callable[[], frozenset[str] | None] = _nothing_is_known
    """The ids of the prompts that ComfyUI's queue holds or runs; null where it can't be asked."""
    waiting: Callable[[str], list[PromptMet]] = _none_waits
    """The prompts of an id that wait in ComfyUI's queue."""
    in_history: Callable[[str, float | None], PromptDone | None] = _nothing_is_known
    """The end of a prompt, by its id and number, as ComfyUI's history has it."""
