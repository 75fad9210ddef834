"""Interrupts and the device: what custom nodes import as ``comfy.model_management``."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import psutil

_interrupted = threading.Event()
current_loaded_models: list[Any] = []
"""There are no models here."""


class InterruptProcessingException(BaseException):
    """Raised inside a node when someone has asked for the prompt to stop."""


@dataclass(frozen=True)
class Device:
    """What stands for ``torch.device``: the processor, the only device here."""

    type: str = "cpu"
    index: int | None = None

    def __str__(self) -> str:
        """The type alone, as torch prints a device without index."""
        return self.type


def interrupt_current_processing(value: bool = True) -> None:
    """Ask for an interrupt, or take the request back."""
    if value:
        _interrupted.set()
    else:
        _interrupted.clear()


def throw_exception_if_processing_interrupted() -> None:
    """Notice an interrupt: raise, once."""
    if _interrupted.is_set():
        _interrupted.clear()
        raise InterruptProcessingException()


def get_torch_device() -> Device:
    """The device that nodes compute on."""
    return Device()


def get_torch_device_name(device: Device) -> str:
    """What people call the device."""
    return str(device)


def get_total_memory(dev: Device | None = None) -> int:
    """Memory of the device, bytes. Source: psutil."""
    return int(psutil.virtual_memory().total)


def get_free_memory(dev: Device | None = None) -> int:
    """Memory of the device that can still be had, bytes. Source: psutil."""
    return int(psutil.virtual_memory().available)


def soft_empty_cache(force: bool = False) -> None:
    """Nothing to empty here."""
