"""Two prompts beside each other: in what their settings, environments, conditions, figures and nodes differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..models.comparison import (
    ComparedPrompt,
    Comparison,
    Difference,
    FigureDifference,
    NodeDifference,
    SettingDifference,
)
from ..models.conditions import Conditions
from ..models.environment import Environment
from ..models.node import Node
from ..models.prompt import Prompt
from ..models.settings import SettingsList, SettingsOfNode
from ..models.text import natural_key
from .pictures import differences

OF_THE_PROMPT = ("duration_seconds", "queue_wait_seconds")
OF_THE_DEVICE = (
    "vram_used_peak_bytes",
    "torch_allocated_peak_bytes",
    "torch_reserved_peak_bytes",
    "utilization_percent_mean",
    "temperature_celsius_max",
    "power_watts_mean",
    "energy_joules",
)
OF_THE_SYSTEM = ("process_rss_peak_bytes", "cpu_percent")
WHERE_IT_LISTENS = ("--port", "--listen")
"""Options that make another environment, and nothing faster or slower."""
INCIDENTAL = frozenset(("run_since_start", "idle_before_seconds", "models", "models_before"))
"""Conditions that are hardly ever the same, or are compared in another form."""


@dataclass(frozen=True, slots=True)
class Side:
    """All that is known of one of the two."""

    prompt: Prompt
    nodes: list[Node] = field(default_factory=list)
    settings: SettingsList | None = None
    environment: Environment | None = None


def compared(one: Side, other: Side, roots: Mapping[str, Path]) -> Comparison:
    """The older one first; two that were queued in the same millisecond, or of which that is not known, as given.

    `roots` are the folders of `output` and `temp`, in which their pictures are looked for. Takes its time.
    """
    before, after = (other, one) if (other.prompt.queued_at or "") < (one.prompt.queued_at or "") else (one, other)
    return Comparison(
        before=_about(before.prompt),
        after=_about(after.prompt),
        same_workflow=_same(before.prompt.workflow_fingerprint, after.prompt.workflow_fingerprint),
        same_settings=_same(before.prompt.settings_fingerprint, after.prompt.settings_fingerprint),
        settings=list(_settings(before.settings, after.settings)),
        environment=list(_differing(_flat(before.environment), _flat(after.environment))),
        conditions=list(_differing(_conditions(before.prompt), _conditions(after.prompt))),
        figures=list(_figures(before.prompt, after.prompt)),
        nodes=_nodes(before.nodes, after.nodes),
        pictures=differences(before.prompt.outputs, after.prompt.outputs, roots),
        notes=list(_notes(before, after)),
    )


def _about(prompt: Prompt) -> ComparedPrompt:
    return ComparedPrompt(**{name: getattr(prompt, name) for name in ComparedPrompt.model_fields})


def _same(one: str | None, other: str | None) -> bool | None:
    """Null where either is not known, or they were made by algorithms that can't be compared."""
    if one is None or other is None or one.partition(":")[0] != other.partition(":")[0]:
        return None
    return one == other


# ---------------------------------------------------------------- settings


def _settings(before: SettingsList | None, after: SettingsList | None) -> Iterator[SettingDifference]:
    if before is None or after is None or before.settings_id is None or after.settings_id is None:
        return
    one, other = ({item.node_id: item for item in side.items} for side in (before, after))
    for node_id in sorted(one.keys() | other.keys(), key=natural_key):
        mine, theirs = one.get(node_id), other.get(node_id)
        if mine is not None and theirs is not None and mine.class_type != theirs.class_type:
            yield from _setting_differences(mine, None)  # another node stands in its place
            yield from _setting_differences(None, theirs)
        else:
            yield from _setting_differences(mine, theirs)


def _setting_differences(mine: SettingsOfNode | None, theirs: SettingsOfNode | None) -> Iterator[SettingDifference]:
    """Of one node, which one of the two may not have."""
    known = mine or theirs
    if known is None:
        return
    had, has = (item.inputs if item is not None else {} for item in (mine, theirs))
    for name in sorted(had.keys() | has.keys()):
        if not _equal(had.get(name), has.get(name)):
            yield SettingDifference(
                node_id=known.node_id,
                class_type=known.class_type,
                input=name,
                before=had.get(name),
                after=has.get(name),
            )


def _equal(one: object, other: object) -> bool:
    """`True` is not `1`, while `1.0` is."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


# ---------------------------------------------------------------- environment and conditions


def _flat(environment: Environment | None) -> dict[str, Any]:
    """An environment in one level: `distributions.numpy`, `machine.cpu`, `node_packs.x` as its version and commit."""
    if environment is None:
        return {}
    found: dict[str, Any] = {}
    for name, value in environment.model_dump(exclude={"id", "node_packs", "launch_options"}).items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{key}": one for key, one in value.items()}
        else:
            found[name] = value
    for option in environment.launch_options:
        name, _, value = option.partition(" ")
        if name not in WHERE_IT_LISTENS:
            found[f"launch_options.{name}"] = value or True
    for pack in environment.node_packs:
        found[f"node_packs.{pack.name}"] = " ".join(filter(None, (pack.version, pack.commit))) or "?"
    return found


def _conditions(prompt: Prompt) -> dict[str, Any]:
    """What was told of them, with models by name and in the same words."""
    told = prompt.conditions or Conditions()
    found = told.model_dump(exclude=set(INCIDENTAL))
    throttled = found.pop("throttled_seconds")
    found["models"] = sorted(one.name for one in told.models) if told.models is not None else None
    return found | {f"throttled_seconds.{why}": seconds for why, seconds in (throttled or {}).items()}


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    if not before or not after:
        return
    for what in [*before, *(name for name in after if name not in before)]:
        one, other = before.get(what), after.get(what)
        if not _equal(one, other):
            yield Difference(what=what, before=one, after=other)


# ---------------------------------------------------------------- figures and nodes


def _figures(before: Prompt, after: Prompt) -> Iterator[FigureDifference]:
    for what, one, other in _pairs(before, after):
        if one is None and other is None:
            continue
        known = one is not None and other is not None
        yield FigureDifference(
            what=what,
            before=one,
            after=other,
            change=_round(other - one) if known else None,
            ratio=round(other / one, 4) if known and one else None,
        )


def _pairs(before: Prompt, after: Prompt) -> Iterator[tuple[str, Any, Any]]:
    for what in OF_THE_PROMPT:
        yield what, getattr(before, what), getattr(after, what)
    devices = [next((one for one in prompt.devices if one.in_use), None) for prompt in (before, after)]
    for names, (one, other) in ((OF_THE_DEVICE, devices), (OF_THE_SYSTEM, [before.system, after.system])):
        for what in names:
            yield what, getattr(one, what, None), getattr(other, what, None)


def _nodes(before: list[Node], after: list[Node]) -> list[NodeDifference]:
    one, other = ({(node.node_id, node.class_type): node for node in side} for side in (before, after))
    found = [_node(one.get(key), other.get(key)) for key in dict.fromkeys((*one, *other))]
    return sorted(found, key=lambda node: -abs(node.change_seconds or 0))


def _node(before: Node | None, after: Node | None) -> NodeDifference:
    known = before or after
    took, takes = (node.duration_seconds if node is not None and not node.cached else None for node in (before, after))
    return NodeDifference(
        node_id=known.node_id if known is not None else "",
        class_type=known.class_type if known is not None else None,
        title=known.title if known is not None else None,
        before_seconds=took,
        after_seconds=takes,
        change_seconds=None if took is None and takes is None else _round((takes or 0) - (took or 0)),
        before_cached=before.cached if before is not None else None,
        after_cached=after.cached if after is not None else None,
        before_vram_used_peak_bytes=before.vram_used_peak_bytes if before is not None else None,
        after_vram_used_peak_bytes=after.vram_used_peak_bytes if after is not None else None,
    )


def _round(number: float) -> float:
    return round(number, 6)


def _notes(before: Side, after: Side) -> Iterator[str]:
    one, other = before.prompt, after.prompt
    if _same(one.workflow_fingerprint, other.workflow_fingerprint) is False:
        yield "these are two workflows: their nodes are matched by id and class alone"
    for side, which in ((before, "older"), (after, "newer")):
        prompt = side.prompt
        if prompt.status not in ("success", "error", "interrupted"):
            yield f"the {which} prompt is {prompt.status}"
        if side.settings is None or side.settings.settings_id is None:
            yield f"the settings of the {which} prompt were not kept, so settings are not compared"
        if side.environment is None:
            yield f"the environment of the {which} prompt is not known, so environments are not compared"
        if prompt.conditions is None:
            yield f"the conditions of the {which} prompt were not recorded, so conditions are not compared"
