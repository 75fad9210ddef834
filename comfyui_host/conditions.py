"""What only ComfyUI's process can see of how a prompt runs: torch's switches, attention, and the models it holds.

Asked on the executing thread at a prompt's borders, so it asks for little, and what one version lacks is null.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ..telemetry.record.events import HostState, ModelState

MOST_MODELS = 50
ATTENTION = {"sub_quad": "sub_quadratic"}
"""What ComfyUI's functions are called, where that is not what people say."""


def host_state() -> HostState:
    """As it is now."""
    management = sys.modules.get("comfy.model_management")
    torch = sys.modules.get("torch")
    return HostState(
        attention=_quietly(_attention),
        vram_mode=_quietly(lambda: str(management.vram_state.name).lower()),  # type: ignore[union-attr]
        cudnn_benchmark=_switch(torch, "backends.cudnn.benchmark"),
        allow_tf32=_switch(torch, "backends.cuda.matmul.allow_tf32"),
        deterministic=_switch(torch, "are_deterministic_algorithms_enabled"),
        float32_matmul_precision=_quietly(lambda: str(torch.get_float32_matmul_precision())),  # type: ignore[union-attr]
        models=_quietly(lambda: _models(management)),
    )


def _quietly(ask: Callable[[], Any]) -> Any:
    """An answer; null where this ComfyUI, or this torch, has none."""
    try:
        return ask()
    except Exception:  # noqa: BLE001  versions differ, and node packs put their own in the place of these
        return None


def _switch(torch: ModuleType | None, path: str) -> bool | None:
    """One of torch's switches, or what a function of it answers."""

    def ask() -> bool | None:
        found: Any = torch
        for name in path.split("."):
            found = getattr(found, name)
        found = found() if callable(found) else found
        return found if isinstance(found, bool) else None

    return _quietly(ask)  # type: ignore[no-any-return]


def _attention() -> str:
    """By the name of the function that ComfyUI's models call: `attention_pytorch`."""
    function = sys.modules["comfy.ldm.modules.attention"].optimized_attention
    name = str(getattr(function, "__name__", type(function).__name__)).removeprefix("attention_")
    return ATTENTION.get(name, name)


def _models(management: Any) -> tuple[ModelState, ...] | None:
    loaded = management.current_loaded_models
    if not isinstance(loaded, list):
        return None
    patchers = [patcher for entry in loaded[:MOST_MODELS] if (patcher := entry.model) is not None]
    return tuple(_model(patcher) for patcher in patchers)


def _model(patcher: Any) -> ModelState:
    size, on_device = _bytes(patcher, "model_size"), _bytes(patcher, "loaded_size")
    return ModelState(
        mark=mark_of(patcher),
        name=_quietly(lambda: type(patcher.model).__name__) or type(patcher).__name__,
        device_bytes=on_device,
        offloaded_bytes=max(0, size - on_device) if size is not None and on_device is not None else None,
        patches=_quietly(lambda: len(patcher.patches)),
    )


def mark_of(patcher: Any) -> int:
    """Tells loaded weights apart: nodes make clones of a patcher that share them, and one takes another's place."""
    weights = getattr(patcher, "model", None)
    return id(patcher if weights is None else weights)


def _bytes(patcher: Any, name: str) -> int | None:
    found = _quietly(lambda: int(getattr(patcher, name)()))
    return found if isinstance(found, int) and found >= 0 else None
