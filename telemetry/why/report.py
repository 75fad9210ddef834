"""A prompt's report for a bug tracker: Markdown that is complete, short, and holds nothing private.

What is told of the graph are classes, ids, numbers and switches; no titles, names, file names, texts, and of models and
other choices the names only where that is asked for. Everything stands in code, so that nothing of it is Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..models.comparison import Comparison, Difference
from ..models.environment import Environment, NodePack
from ..models.node import Node
from ..models.prompt import Prompt, PromptError
from ..models.why import Why
from .comparing import WHERE_IT_LISTENS, Side, compared
from .words import seconds_of, size_of, word_of

MOST_NODES, MOST_CHANGES, MOST_PACKS = 20, 10, 60
MOST_OF_A_MESSAGE = 1200
_MODEL = re.compile(r"\.(?:safetensors|sft|ckpt|pth?|bin|gguf|onnx|engine)\b", re.IGNORECASE)


@dataclass(slots=True)
class Names:
    """Names of models and other choices, which are told as they are, or as `<model 1>`."""

    are_told: bool
    known: dict[str, str]

    def of(self, value: object) -> str:
        """As a report has it."""
        text = str(value)
        if self.are_told or not isinstance(value, str):
            return text
        kind = "model" if _MODEL.search(text) else "choice"
        if text not in self.known:
            number = sum(one.startswith(f"<{kind} ") for one in self.known.values()) + 1
            self.known[text] = f"<{kind} {number}>"
        return self.known[text]


def report(
    now: Side, why: Why, last: Side | None, pack_of: Callable[[str], str | None], *, with_names: bool = False
) -> str:
    """The report of a prompt. `last` is the newest earlier success of its workflow; `pack_of` tells a class' pack."""
    names = Names(with_names, {})
    parts = [
        _head(now.prompt, why),
        _error(now, pack_of),
        _environment(now.environment),
        _conditions(now.prompt),
        _nodes(now),
        _changes(now, last, names),
    ]
    return "\n\n".join("\n".join(part) for part in map(list, parts) if part) + "\n"


def code(value: object) -> str:
    """Text as Markdown shows it and nothing more, in one line."""
    text = re.sub(r"[`|\x00-\x1f\x7f]+", " ", str(value)).strip()
    return f"`{text}`" if text else "-"


def _head(prompt: Prompt, why: Why) -> Iterator[str]:
    counts = prompt.node_counts
    took = f" after {seconds_of(prompt.duration_seconds)}" if prompt.duration_seconds is not None else ""
    yield f"# A prompt of ComfyUI: {prompt.status}{took}"
    yield ""
    queued, started, ended = (one or "-" for one in (prompt.queued_at, prompt.started_at, prompt.ended_at))
    yield f"- Queued {queued}, started {started}, ended {ended} (UTC)"
    yield f"- {counts.total} nodes: {counts.executed} ran, {counts.cached} were cached"
    if why.usual is not None:
        low, high = map(seconds_of, why.usual.interval)
        yield f"- Usually {seconds_of(why.usual.median)} ({low} to {high} in {why.usual.runs} runs)"
    for reason in why.reasons:
        figures = "; ".join(f"{name}: {before} → {after}" for name, (before, after) in reason.evidence.items())
        yield f"- {reason.kind} (confidence {reason.confidence:g})" + (f": {code(figures)}" if figures else "")


def _error(now: Side, pack_of: Callable[[str], str | None]) -> Iterator[str]:
    error = now.prompt.error
    if error is None:
        return
    yield "## Error"
    yield ""
    where = f" in node {code(error.node_id)} ({code(error.class_type or '?')})" if error.node_id is not None else ""
    yield f"{code(error.exception_type or 'error')}{where}{_pack(error, now.environment, pack_of)}"
    yield ""
    message = re.sub(r"[\x00-\x09\x0b-\x1f\x7f]", " ", error.message[:MOST_OF_A_MESSAGE])
    fence = "`" * max(3, 1 + max((len(one) for one in re.findall("`+", message)), default=0))
    yield f"{fence}text\n{message}\n{fence}"


def _pack(error: PromptError, environment: Environment | None, pack_of: Callable[[str], str | None]) -> str:
    """Whose class it is, with the version and the commit of that pack."""
    name = pack_of(error.class_type) if error.class_type is not None else None
    if name is None:
        return ""
    packs = environment.node_packs if environment is not None else []
    found = next((one for one in packs if one.name == name), None)
    return f", of {code(_named(found) if found is not None else name)}"


def _named(pack: NodePack) -> str:
    commit = f"({pack.commit[:10]})" if pack.commit else None
    return " ".join(filter(None, (pack.name, pack.version, commit)))


def _environment(told: Environment | None) -> Iterator[str]:
    yield "## Environment"
    yield ""
    if told is None:
        yield "Not known."
        return
    machine = told.machine
    pairs = (
        ("ComfyUI", _joined(told.comfyui_version, told.comfyui_commit and told.comfyui_commit[:10])),
        ("front end", told.frontend_version),
        ("Python", told.python_version),
        ("torch", _joined(told.torch_version, told.torch_build)),
        ("CUDA, cuDNN", _joined(told.cuda_runtime_version, told.cudnn_version)),
        ("driver", told.driver_version),
        ("OS", told.os),
        ("devices", ", ".join(told.devices)),
        ("processor", machine and machine.cpu and f"{machine.cpu}, {machine.cpu_count} logical"),
        ("memory", machine and machine.ram_total_bytes and size_of(machine.ram_total_bytes)),
        ("attention packages", ", ".join(f"{name} {version}" for name, version in told.attention_packages.items())),
        ("launch options", " ".join(one for one in told.launch_options if one.split()[0] not in WHERE_IT_LISTENS)),
    )
    for name, value in pairs:
        if value:
            yield f"- {name}: {code(value)}"
    packs = [_named(pack) for pack in told.node_packs]
    more = f" and {len(packs) - MOST_PACKS} more" if len(packs) > MOST_PACKS else ""
    yield f"- {len(packs)} node packs: {code(', '.join(packs[:MOST_PACKS]) + more)}"


def _joined(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)


def _conditions(prompt: Prompt) -> Iterator[str]:
    yield "## Conditions"
    yield ""
    told = prompt.conditions
    if told is None:
        yield "Not recorded."
        return
    simple = told.model_dump(exclude={"models", "models_before", "throttled_seconds"}, exclude_none=True)
    said = [f"{name} {size_of(value) if name.endswith('_bytes') else value}" for name, value in simple.items()]
    yield f"- {code(', '.join(said))}"
    for model in told.models or ():
        sizes = f"{size_of(model.device_bytes)} on the device, {size_of(model.offloaded_bytes)} off it"
        yield f"- model {code(model.name)}: {sizes}, {model.patches if model.patches is not None else '?'} patches"
    for why, seconds in (told.throttled_seconds or {}).items():
        yield f"- clock held down by {code(why)} for {seconds_of(seconds)}"
    for device in prompt.devices:
        if device.in_use and device.vram_total_bytes:
            peak, total = size_of(device.vram_used_peak_bytes), size_of(device.vram_total_bytes)
            yield f"- {code(device.name or device.type or 'device')}: peak {peak} of {total}"


def _nodes(now: Side) -> Iterator[str]:
    if not now.nodes:
        return
    shown = sorted(now.nodes, key=lambda node: -(node.duration_seconds or 0))[:MOST_NODES]
    yield "## Nodes"
    yield ""
    yield "| node | class | time | peak VRAM |"
    yield "| --- | --- | --- | --- |"
    for node in shown:
        yield f"| {code(node.node_id)} | {code(node.class_type or '?')} | {_time(node)} | {_peak(node)} |"
    if len(now.nodes) > len(shown):
        yield f"\n{len(now.nodes) - len(shown)} more took less."


def _time(node: Node) -> str:
    if node.cached:
        return "cached"
    return "did not finish" if node.duration_seconds is None else seconds_of(node.duration_seconds)


def _peak(node: Node) -> str:
    return size_of(node.vram_used_peak_bytes) if node.vram_used_peak_bytes is not None else "-"


def _changes(now: Side, last: Side | None, names: Names) -> Iterator[str]:
    yield "## Changed since it last worked"
    yield ""
    if last is None:
        yield "No earlier success of this workflow is recorded."
        return
    found = compared(last, now, {})
    lines = list(_changed(found, names))
    yield f"It last worked {last.prompt.queued_at or '-'}."
    yield from lines[:MOST_CHANGES] or ["Nothing that is recorded."]
    if len(lines) > MOST_CHANGES:
        yield f"- {len(lines) - MOST_CHANGES} more"


def _changed(found: Comparison, names: Names) -> Iterator[str]:
    for setting in found.settings:
        what = f"{setting.class_type}.{setting.input} (node {setting.node_id})"
        yield f"- {code(what)}: {code(names.of(setting.before))} → {code(names.of(setting.after))}"
    yield from _listed(found.environment)
    yield from _listed(found.conditions)


def _listed(differences: Sequence[Difference]) -> Iterable[str]:
    return [f"- {code(one.what)}: {code(word_of(one.before))} → {code(word_of(one.after))}" for one in differences]
