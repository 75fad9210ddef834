"""Why a prompt failed, as far as its own record says it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from ..models.gpu import Device
from ..models.prompt import Prompt, PromptError
from ..models.why import Reason
from .out_of_memory import OutOfMemory, out_of_memory
from .words import size_of

ALMOST_ALL = 0.97
"""So much of the host's memory in use at the last sample is said to have been all of it."""
FRAGMENTED = 2**28
"""So much that torch keeps and has not allocated is worth a word."""


def failures(prompt: Prompt) -> list[Reason]:
    """The most specific first; nothing for a prompt that didn't fail."""
    if prompt.status == "interrupted":
        return [_interrupted(prompt)]
    if prompt.status == "abandoned":
        return list(_abandoned(prompt))
    if prompt.status not in ("error", "refused") or prompt.error is None:
        return []
    error = prompt.error
    memory = out_of_memory(error.exception_type, error.message)
    if memory is not None:
        return [_out_of_memory(prompt, error, memory)]
    for is_it, made in _KINDS:
        if is_it(error):
            return [made(error)]
    return [_node_error(error)]


def _where(error: PromptError) -> str:
    if error.node_id is None:
        return "the prompt"
    return f"node {error.node_id} ({error.class_type})" if error.class_type else f"node {error.node_id}"


def _out_of_memory(prompt: Prompt, error: PromptError, memory: OutOfMemory) -> Reason:
    if memory.of_host:
        asked = f" when it asked for {size_of(memory.asked_bytes)}" if memory.asked_bytes is not None else ""
        return Reason(
            kind="host_out_of_memory",
            text=f"{_where(error)} ran out of the host's memory{asked}",
            share_bytes=memory.asked_bytes,
            evidence=_told(asked_bytes=memory.asked_bytes, ram_free_bytes=_ram_free(prompt)),
            confidence=1,
        )
    text = f"{_where(error)} ran out of the device's memory"
    if memory.asked_bytes is not None:
        text += f": it asked for {size_of(memory.asked_bytes)}"
        text += f", and {size_of(memory.free_bytes)} was free" if memory.free_bytes is not None else ""
    advice = list(_advice(prompt, memory))
    device = next((one for one in prompt.devices if one.in_use), None)
    return Reason(
        kind="out_of_memory",
        text=". ".join([text, *advice]),
        share_bytes=memory.asked_bytes,
        evidence=_told(
            asked_bytes=memory.asked_bytes,
            free_bytes=memory.free_bytes,
            total_bytes=memory.total_bytes if memory.total_bytes is not None else _total(device),
            torch_allocated_bytes=memory.torch_allocated_bytes,
            torch_reserved_bytes=memory.torch_reserved_bytes,
            others_bytes=_others(prompt, memory),
        ),
        confidence=1,
    )


def _advice(prompt: Prompt, memory: OutOfMemory) -> Iterator[str]:
    """What would help, as far as it follows from the figures."""
    others, asked = _others(prompt, memory), memory.asked_bytes
    device = next((one for one in prompt.devices if one.in_use), None)
    total = memory.total_bytes if memory.total_bytes is not None else _total(device)
    if asked is not None and total is not None and asked > total:
        yield f"That is more than the card's {size_of(total)}: smaller pictures, fewer at once, or tiles would help"
        return
    if others and asked is not None and others + (memory.free_bytes or 0) >= asked:
        yield f"Other processes held {size_of(others)}: to end them would have made room"
    kept = (memory.torch_reserved_bytes or 0) - (memory.torch_allocated_bytes or 0)
    enough = asked is not None and kept + (memory.free_bytes or 0) >= asked
    if memory.torch_reserved_bytes is not None and kept >= FRAGMENTED and enough:
        yield f"torch kept {size_of(kept)} in pieces: PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True may help"


def _others(prompt: Prompt, memory: OutOfMemory) -> int | None:
    if memory.others_bytes is not None:
        return memory.others_bytes
    return prompt.conditions.vram_others_bytes if prompt.conditions is not None else None


def _total(device: Device | None) -> int | None:
    return device.vram_total_bytes if device is not None else None


def _ram_free(prompt: Prompt) -> int | None:
    return prompt.system.ram_free_bytes if prompt.system is not None else None


def _told(**figures: int | None) -> Mapping[str, tuple[None, int]]:
    return {name: (None, value) for name, value in figures.items() if value is not None}


def _abandoned(prompt: Prompt) -> Iterator[Reason]:
    """The process ended first, and left nothing but what was sampled up to a second before."""
    node = prompt.current_node
    where = f"while node {node.node_id} ({node.class_type}) ran" if node is not None else "before it ended"
    seen = {"last_seen_at": (None, prompt.last_seen_at)} if prompt.last_seen_at else {}
    system = prompt.system
    if system is not None and system.ram_total_bytes and system.ram_free_bytes is not None:
        used = system.ram_total_bytes - system.ram_free_bytes
        if used >= ALMOST_ALL * system.ram_total_bytes:
            yield Reason(
                kind="host_out_of_memory",
                text=f"the process ended {where}, with {size_of(system.ram_free_bytes)} of the host's "
                f"{size_of(system.ram_total_bytes)} of memory free at the last sample",
                evidence=_told(ram_free_bytes=system.ram_free_bytes, process_rss_bytes=system.process_rss_bytes),
                confidence=0.7,
            )
    yield Reason(kind="killed", text=f"the process ended {where}", evidence=seen, confidence=1)


def _interrupted(prompt: Prompt) -> Reason:
    node = prompt.error
    where = f" in {_where(node)}" if node is not None and node.node_id is not None else ""
    return Reason(kind="interrupted", text=f"it was interrupted{where}", evidence={}, confidence=1)


def _is_missing_node(error: PromptError) -> bool:
    return error.exception_type == "missing_node_type"


def _is_disk_full(error: PromptError) -> bool:
    return bool(
        re.search(r"No space left on device|\[Errno 28\]|\[WinError 112\]|disk quota exceeded", error.message, re.I)
    )


def _is_missing_file(error: PromptError) -> bool:
    kind = (error.exception_type or "").rpartition(".")[2]
    return kind == "FileNotFoundError" or bool(re.search(r"\[Errno 2\]|No such file or directory", error.message))


def _is_driver(error: PromptError) -> bool:
    said = (
        r"CUDA error: (?!out of memory)|CUBLAS_STATUS|CUDNN_STATUS|cuDNN error|device-side assert|HIP error"
        r"|an illegal memory access|\bXid\b|no kernel image is available|GPU is lost|UR_RESULT_ERROR_DEVICE_LOST"
    )
    return bool(re.search(said, error.message))


def _made(kind: str, says: str) -> Callable[[PromptError], Reason]:
    def made(error: PromptError) -> Reason:
        evidence = {"exception_type": (None, error.exception_type)} if error.exception_type else {}
        text = f"{_where(error)} {says}: {error.message.splitlines()[0] if error.message else '?'}"
        return Reason.model_validate({"kind": kind, "text": text, "evidence": evidence, "confidence": 1})

    return made


_node_error = _made("node_error", "raised an error")
_KINDS: tuple[tuple[Callable[[PromptError], bool], Callable[[PromptError], Reason]], ...] = (
    (_is_missing_node, _made("missing_node", "is of a class that is not installed")),
    (_is_disk_full, _made("disk_full", "could not write, since the disk is full")),
    (_is_missing_file, _made("missing_file", "did not find a file")),
    (_is_driver, _made("driver", "was failed by the driver or its libraries")),
)
