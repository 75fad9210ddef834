"""What torch and ComfyUI's model management tell of devices and of loaded models. Imports neither."""

from __future__ import annotations

import contextlib
import re
import sys
from collections import deque
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ..telemetry.gpu.node_memory import NodeBoundary
from ..telemetry.gpu.torch_devices import HostDevice
from ..telemetry.process.environment import TorchBuild
from .conditions import mark_of


class Torch:
    """Asks what ComfyUI has loaded. Every question may raise what torch or a driver raises."""

    def devices(self, with_memory: bool) -> list[HostDevice]:
        """ComfyUI's devices, the one that it computes on first."""
        management = sys.modules["comfy.model_management"]
        current = management.get_torch_device()
        every = getattr(management, "get_all_torch_devices", lambda: [current])()
        others = [device for device in every if device != current]
        return [self._device(management, device, with_memory) for device in [current, *others]]

    def _device(self, management: ModuleType, device: Any, with_memory: bool) -> HostDevice:
        kind = str(getattr(device, "type", "directml"))
        backend = self._backend(device)
        if backend is None:
            return HostDevice(kind, getattr(device, "index", None), str(management.get_torch_device_name(device)))
        if kind == "mps":
            allocated, reserved = backend.current_allocated_memory(), backend.driver_allocated_memory()
            return HostDevice(kind, None, "Apple GPU", allocated=allocated, reserved=reserved)
        about = backend.get_device_properties(device)
        found = HostDevice(
            "rocm" if kind == "cuda" and sys.modules["torch"].version.hip else kind,
            device.index if device.index is not None else backend.current_device(),
            about.name,
            str(about.uuid) if getattr(about, "uuid", None) is not None else None,
            _pci_address(about),
        )
        if with_memory and hasattr(backend, "mem_get_info"):
            found.vram_free, found.vram_total = backend.mem_get_info(device)
        stats = backend.memory_stats_as_nested_dict(device)
        if stats:
            found.allocated = stats["allocated_bytes"]["all"]["current"]
            found.reserved = stats["reserved_bytes"]["all"]["current"]
        return found

    def _backend(self, device: Any) -> Any:
        """Torch's module for a device; null for a processor, and for what torch has no counters of."""
        kind = getattr(device, "type", None)
        return getattr(sys.modules.get("torch"), kind, None) if kind in ("cuda", "xpu", "mps") else None

    def loaded_models(self) -> frozenset[int] | None:
        """Marks of the models that are loaded now."""
        loaded = getattr(sys.modules["comfy.model_management"], "current_loaded_models", None)
        if not isinstance(loaded, list):
            return None
        models = [entry.model for entry in list(loaded)]
        return frozenset(mark_of(model) for model in models if model is not None)

    def peak_reader(self, boundaries: deque[NodeBoundary]) -> Callable[[str | None, bool], None] | None:
        """What the executing thread calls at each boundary of a node; null where the device has no peaks to reset.

        Takes the node's id, null for the prompt itself, and whether it begins.
        """
        device = sys.modules["comfy.model_management"].get_torch_device()
        backend = self._backend(device)
        if not hasattr(backend, "reset_peak_memory_stats"):
            return None
        read, reset = backend.memory_stats_as_nested_dict, backend.reset_peak_memory_stats

        def boundary(node_id: str | None, begins: bool) -> None:
            stats = read(device)
            if not stats:
                return
            allocated, reserved = stats["allocated_bytes"]["all"], stats["reserved_bytes"]["all"]
            boundaries.append(NodeBoundary(node_id, begins, allocated["current"], allocated["peak"], reserved["peak"]))
            reset(device)

        return boundary


def _pci_address(about: Any) -> str | None:
    bus, device = getattr(about, "pci_bus_id", None), getattr(about, "pci_device_id", None)
    if not isinstance(bus, int) or not isinstance(device, int):
        return None
    return f"{getattr(about, 'pci_domain_id', 0):04x}:{bus:02x}:{device:02x}.0"


def torch_build() -> TorchBuild:
    """What the loaded torch was built for."""
    about = getattr(sys.modules.get("torch"), "version", None)
    if about is None:
        return TorchBuild()
    cuda, rocm, xpu = (_short(getattr(about, name, None)) for name in ("cuda", "hip", "xpu"))
    build = f"cuda {cuda}" if cuda else f"rocm {rocm}" if rocm else f"xpu {xpu}" if xpu else "cpu"
    return TorchBuild(build, cuda, _cudnn)


def _short(version: object) -> str | None:
    """`7.1` of `7.1.25424-4179531dcd`."""
    found = re.match(r"[0-9]+(\.[0-9]+)?", version) if isinstance(version, str) else None
    return found[0] if found else None


def _cudnn() -> str | None:
    """Torch's cuDNN: 91002 is 9.10.2, and 8902, of the time before 9, is 8.9.2."""
    with contextlib.suppress(Exception):  # a driver's or torch's own trouble
        number = sys.modules["torch"].backends.cudnn.version()
        if isinstance(number, int):
            major = 10_000 if number >= 90_000 else 1000
            return f"{number // major}.{number % major // 100}.{number % 100}"
    return None
