"""What can be seen of a ComfyUI server's GPU from outside its process: for who runs a batch against it.

By steps, the first that answers: our own route `/telemetry/gpu`; ComfyUI's `/system_stats`, tried three times; for a
server on this machine nvidia-smi; else nothing. The notes say what was done instead of what, word for word as
`docs/gpu.md` has them. Imports neither ComfyUI nor anything of a server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from ..telemetry.gpu.live import live_device
from ..telemetry.gpu.numbers import free_of, size, text, told_by_directml
from ..telemetry.gpu.nvidia_smi import NvidiaSmi
from ..telemetry.gpu.reading import Source, SourceUnavailableError
from ..telemetry.models.gpu import LiveDevice, LiveFigures, System
from . import blocking, comfyui, recorder
from .errors import ServerError
from .request import Request
from .urls import is_local

When = Literal["before", "after"]
TRIES, PAUSE_SECONDS = 3, 0.5
UNAVAILABLE = "/system_stats unavailable{when}"
NO_VRAM = "/system_stats returned no VRAM{when}"
USED_SMI = "; used nvidia-smi fallback"
HOST_MEMORY = "the device is a processor: its memory is the host's"
NO_DIRECTML_MEMORY = "DirectML does not tell its memory: the 1 GiB that ComfyUI gives for it is no figure"
NO_MEMORY = "nvidia-smi tells no card's memory"
UNMATCHED = "nvidia-smi sees several cards, and which of them ComfyUI uses is not known: the first is told"

Step = Literal["/telemetry/gpu", "/system_stats", "nvidia-smi"]


@dataclass(slots=True)
class Seen:
    """What was seen, and by which step; no device and no step where nothing answered."""

    devices: list[LiveDevice] = field(default_factory=list)
    """ComfyUI's own first. Bytes; what is unknown is null."""
    system: System | None = None
    step: Step | None = None
    telemetry_source: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def device(self) -> LiveDevice | None:
        """The device that ComfyUI computes on; null where none is known."""
        return next((device for device in self.devices if device.in_use), self.devices[0] if self.devices else None)


class Outside:
    """Looks at one server. `headers` go with each request, a bearer token for one."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        smi: Source | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = url.rstrip("/")
        self._headers = dict(headers or {})
        self._smi = smi or NvidiaSmi()
        self._sleep = sleep

    def look(self, when: When | None = None) -> Seen:
        """What is seen now; `when` is told in the notes, where this is before or after an execution. Raises nothing."""
        seen = self._ask_ours() or self._ask_comfyui()
        if seen is not None and any(_has_memory(device) for device in seen.devices):
            return seen
        said = (NO_VRAM if seen is not None else UNAVAILABLE).format(when=f" {when} execution" if when else "")
        cards = self._ask_smi() if is_local(self._url) else Seen()
        if not cards.devices:
            left = seen or Seen()
            left.notes = [said, *left.notes, *cards.notes]
            return left
        cards.notes.insert(0, said + USED_SMI)
        if seen is not None:
            cards.system = seen.system
            cards.notes += seen.notes
        return cards

    # ------------------------------------------------------------ our own route

    def _ask_ours(self) -> Seen | None:
        """Null where the server has no such route, which is no fault of its, or can't be asked so."""
        try:
            told = LiveFigures.model_validate(self._get(recorder.live_figures()))
        except (ServerError, ValueError):
            return None
        if not told.devices:
            return None
        seen = Seen(told.devices, told.system, "/telemetry/gpu", told.telemetry_source, list(told.fallback_notes))
        for device in seen.devices:
            checked = free_of(size(device.vram_total_bytes), size(device.vram_free_bytes))
            device.vram_total_bytes, device.vram_free_bytes = checked
        self._give_host_memory(seen)
        return seen if any(_has_memory(device) for device in seen.devices if device.in_use) else None

    def _give_host_memory(self, seen: Seen) -> None:
        """A processor's memory is the host's, as ComfyUI itself has it."""
        system = seen.system
        for device in seen.devices:
            if device.type == "cpu" and system is not None and not _has_memory(device):
                device.vram_total_bytes, device.vram_free_bytes = system.ram_total_bytes, system.ram_free_bytes

    # ------------------------------------------------------------ ComfyUI's

    def _ask_comfyui(self) -> Seen | None:
        """Three tries, half a second apart. Null where none is answered."""
        tries = Retrying(
            retry=retry_if_exception_type((ServerError, ValueError)),
            stop=stop_after_attempt(TRIES),
            wait=wait_fixed(PAUSE_SECONDS),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return tries(lambda: system_stats(self._get(comfyui.system_stats("figures"))))
        except (ServerError, ValueError):
            return None

    def _get(self, request: Request) -> Any:
        """Raises ServerError, and ValueError for what is no JSON or an error."""
        answer = blocking.ask(self._url, request, headers=self._headers)
        if answer.status != 200:
            raise ValueError(f"{request.shown} answered {answer.status}")
        return answer.value

    # ------------------------------------------------------------ nvidia-smi

    def _ask_smi(self) -> Seen:
        """The cards with their memory; without one the notes say why, unless there is no such program."""
        try:
            self._smi.probe()
            read = self._smi.read()
        except SourceUnavailableError as error:
            return Seen(notes=[] if error.absent else [str(error)])
        cards = [card for card in map(live_device, read.devices) if _has_memory(card)]
        if not cards:
            return Seen(notes=read.notes or [NO_MEMORY])
        notes = [UNMATCHED] if len(cards) > 1 else []
        return Seen(cards, None, "nvidia-smi", self._smi.name, [*notes, *read.notes])


def system_stats(answer: Any) -> Seen:
    """What ComfyUI's own route says, in either spelling of its fields. Raises ValueError for what isn't its answer."""
    if not isinstance(answer, dict) or not isinstance(answer.get("devices", []), list):
        raise ValueError("this is no answer of /system_stats")
    about = answer.get("system")
    system = _plain(about) if isinstance(about, dict) else {}
    total, free = free_of(size(system.get("ramtotal")), size(system.get("ramfree")))
    devices = [_device(_plain(device)) for device in answer.get("devices", []) if isinstance(device, dict)]
    directml = [one for one in devices if told_by_directml(one.type, one.vram_total_bytes)]
    for device in directml:
        device.vram_total_bytes = device.vram_free_bytes = None
    notes = [NO_DIRECTML_MEMORY] if directml else []
    notes += [HOST_MEMORY] if devices and devices[0].type == "cpu" and _has_memory(devices[0]) else []
    return Seen(devices, System(ram_total_bytes=total, ram_free_bytes=free), "/system_stats", "/system_stats", notes)


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Names without their spelling: `vram_total`, `vramTotal` and `VRAM_Total` are one."""
    return {name.replace("_", "").lower(): value for name, value in fields.items()}


def _device(told: Mapping[str, Any]) -> LiveDevice:
    total, free = free_of(size(told.get("vramtotal")), size(told.get("vramfree")))
    index = told.get("index")
    return LiveDevice(
        index=index if isinstance(index, int) and not isinstance(index, bool) else None,
        name=text(told.get("name")),
        type=text(told.get("type"), 20),
        in_use=True,
        vram_total_bytes=total,
        vram_free_bytes=free,
        source="/system_stats",
    )


def _has_memory(device: LiveDevice) -> bool:
    return device.vram_total_bytes is not None and device.vram_free_bytes is not None
