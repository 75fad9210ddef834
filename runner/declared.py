"""What a node class declares, as `/object_info` tells it: inputs, outputs, and which inputs it judges by itself.

Inputs that a node grows on demand (ComfyUI's dynamic combos, slots and growing lists) are put in by what the graph
gives the node. What is of an unexpected shape counts as not declared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

AUTOGROW, COMBO, SLOT = "COMFY_AUTOGROW_V3", "COMFY_DYNAMICCOMBO_V3", "COMFY_DYNAMICSLOT_V3"
MOST_GROWN = 100
"""Inputs that one growing list may have; ComfyUI's own bound."""
MOST_NESTED = 20
ALL = None
_OWN_JUDGEMENT: Mapping[str, frozenset[str] | None] = {
    "CustomCombo": ALL,
    "Load3D": ALL,
    "Load3DAdvanced": ALL,
    "ComfySoftSwitchNode": frozenset({"switch", "on_false", "on_true"}),
    "LoadLatent": frozenset({"latent"}),
    "ModelAttentionBackend": frozenset({"attention"}),
    "SelectModelDevice": frozenset({"device"}),
    "SelectCLIPDevice": frozenset({"device"}),
    "SelectVAEDevice": frozenset({"device"}),
}
"""ComfyUI's own classes whose own check takes the place of choices and ranges, for these inputs; ALL for every one.

`/object_info` doesn't tell which classes have such a check. Inputs for uploads are known by their flag.
"""
_FILES = {"LoadLatent": "latent"}
"""Inputs that take a file's name, though no flag says so."""
_MAY_HAVE_NONE = ("Load3D", "Load3DAdvanced")


@dataclass(frozen=True, slots=True)
class Input:
    """One input that a node may be given."""

    name: str
    type: Any
    """A type's name, or a list of choices."""
    more: Mapping[str, Any] = field(default_factory=dict)
    required: bool = False

    @property
    def choices(self) -> list[Any] | None:
        """What may be chosen; null where it is no choice, or the server tells the choices elsewhere."""
        if isinstance(self.type, list):
            return self.type
        if self.type != "COMBO" or self.more.get("remote"):
            return None
        options = self.more.get("options", [])
        return options if isinstance(options, list) else []

    @property
    def takes_uploads(self) -> bool:
        """Whether a file may be chosen or uploaded, so that its name is judged by whether the file is there."""
        return (isinstance(self.type, list) or self.type == "COMBO") and any(
            flag and str(key).endswith("_upload") for key, flag in self.more.items()
        )


class Class:
    """One node class of a server."""

    def __init__(self, name: str, info: Mapping[str, Any]) -> None:
        self.name = name
        self._info = info

    @property
    def is_known(self) -> bool:
        """Whether the server tells of it at all."""
        return bool(self._info)

    @property
    def is_output(self) -> bool:
        """Whether a graph's nodes of this class are what it is run for."""
        return self._info.get("output_node") is True

    @property
    def outputs(self) -> list[Any]:
        """The types of its outputs, by slot."""
        told = self._info.get("output")
        return told if isinstance(told, list) else []

    def inputs(self, given: Mapping[str, Any]) -> dict[str, Input]:
        """Its inputs by name, for a node that is given these."""
        told = self._info.get("input")
        return {one.name: one for one in _inputs(told if isinstance(told, dict) else {}, given, "", 0)}

    def judges(self, one: Input) -> bool:
        """Whether a class of ComfyUI's own looks at an input's value itself, instead of its choices and range."""
        own = _OWN_JUDGEMENT.get(self.name, frozenset())
        return own is ALL or one.name in own or self.names_file(one)

    def names_file(self, one: Input) -> bool:
        """Whether the value is a file's name, and the file has to be there."""
        return one.takes_uploads or _FILES.get(self.name) == one.name

    @property
    def may_have_no_file(self) -> bool:
        """Whether it does without the file that it could be given."""
        return self.name in _MAY_HAVE_NONE


def _inputs(told: Mapping[str, Any], given: Mapping[str, Any], prefix: str, depth: int) -> Iterator[Input]:
    for kind in ("required", "optional"):
        group = told.get(kind)
        for name, declared in group.items() if isinstance(group, dict) else ():
            if not isinstance(declared, (list, tuple)) or not declared:
                continue
            more = declared[1] if len(declared) > 1 and isinstance(declared[1], dict) else {}
            one = Input(f"{prefix}{name}", declared[0], more, kind == "required")
            if one.type in (AUTOGROW, COMBO, SLOT) and depth < MOST_NESTED:
                yield from _grown(one, given, depth + 1)
            else:
                yield one


def _grown(one: Input, given: Mapping[str, Any], depth: int) -> Iterator[Input]:
    """What stands for a dynamic input. One that the node isn't given has no inputs, and isn't missed."""
    if one.type == AUTOGROW:
        yield from _listed(one)
    elif one.name in given:
        chosen: Any = one.more.get("inputs")
        if one.type == COMBO:
            options = one.more.get("options")
            keys = [option for option in options if isinstance(option, dict)] if isinstance(options, list) else []
            chosen = next((option.get("inputs") for option in keys if option.get("key") == given[one.name]), None)
        if isinstance(chosen, dict):
            yield one
            yield from _inputs(chosen, given, f"{one.name}.", depth)


def _listed(one: Input) -> Iterator[Input]:
    """A list's inputs: the first few are required where its template is."""
    template = one.more.get("template")
    groups = template.get("input") if isinstance(template, dict) else None
    if not isinstance(template, dict) or not isinstance(groups, dict):
        return
    kind, group = next(((kind, group) for kind, group in groups.items() if isinstance(group, dict) and group), ("", {}))
    declared = next(iter(group.values()), None)
    if not isinstance(declared, (list, tuple)) or not declared:
        return
    more = declared[1] if len(declared) > 1 and isinstance(declared[1], dict) else {}
    for number, name in enumerate(_names(template)):
        required = kind == "required" and number < _count(template.get("min"))
        yield Input(f"{one.name}.{name}", declared[0], more, required)


def _names(template: Mapping[str, Any]) -> list[str]:
    names = template.get("names")
    if isinstance(names, list):
        return [str(name) for name in names[:MOST_GROWN]]
    prefix = template.get("prefix")
    return [f"{prefix}{number}" for number in range(_count(template.get("max")))] if isinstance(prefix, str) else []


def _count(value: object) -> int:
    return min(value, MOST_GROWN) if isinstance(value, int) and not isinstance(value, bool) else 0
