"""What a V3 node says of itself, and its older (V1) form that the rest of the host works with."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from .v3_types import InputBase, MatchType, OutputBase


class Hidden(str, Enum):
    """What a node may ask to know of its prompt."""

    unique_id = "UNIQUE_ID"
    prompt = "PROMPT"
    extra_pnginfo = "EXTRA_PNGINFO"
    dynprompt = "DYNPROMPT"
    auth_token_comfy_org = "AUTH_TOKEN_COMFY_ORG"  # noqa: S105  a name, not a token
    api_key_comfy_org = "API_KEY_COMFY_ORG"
    comfy_usage_source = "COMFY_USAGE_SOURCE"


class HiddenHolder:
    """The hidden values that a node asked for, by name; any other is None."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> None:
        """What wasn't asked for."""
        return


@dataclass
class Schema:
    """A node's id, inputs, outputs and traits."""

    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[InputBase] = field(default_factory=list)
    outputs: list[OutputBase] = field(default_factory=list)
    hidden: list[Hidden] = field(default_factory=list)
    description: str = ""
    search_aliases: list[str] = field(default_factory=list)
    is_input_list: bool = False
    is_output_node: bool = False
    is_deprecated: bool = False
    is_experimental: bool = False
    is_dev_only: bool = False
    is_api_node: bool = False
    not_idempotent: bool = False
    enable_expand: bool = False
    accept_all_inputs: bool = False
    essentials_category: str | None = None
    has_intermediate_output: bool = False

    def finalize(self) -> None:
        """Name the nameless outputs; a node that shows something is told prompt and page data."""
        shown = [Hidden.prompt, Hidden.extra_pnginfo] if self.is_output_node else []
        self.hidden = [*self.hidden, *(wish for wish in shown if wish not in self.hidden)]
        for index, output in enumerate(self.outputs):
            output.id = output.id or f"_{index}_{output.io_type}_"

    def validate(self) -> None:
        """Refuse ids that are used twice."""
        for kind, ids in (("Input", [i.id for i in self.inputs]), ("Output", [str(o.id) for o in self.outputs])):
            if twice := sorted({name for name in ids if ids.count(name) > 1}):
                raise ValueError(f"{kind} ids must be unique, but {twice} are not.")

    def input_types(self) -> dict[str, dict[str, Any]]:
        """The inputs as V1's INPUT_TYPES has them."""
        types: dict[str, dict[str, Any]] = {"required": {}}
        for entry in self.inputs:
            group = types.setdefault("optional" if entry.optional else "required", {})
            group[entry.id] = (entry.get_io_type(), entry.as_dict())
        if self.hidden:
            types["hidden"] = {wish.name: (wish.value,) for wish in self.hidden}
        return types

    def output_names(self) -> list[str]:
        """What the page calls the outputs."""
        return [output.display_name or output.io_type for output in self.outputs]

    def info(self, python_module: str) -> dict[str, Any]:
        """The node's entry in /object_info."""
        types = self.input_types()
        matching = [o.template.template_id if isinstance(o, MatchType.Output) else None for o in self.outputs]
        return {
            "input": types,
            "input_order": {group: list(entries) for group, entries in types.items()},
            "is_input_list": self.is_input_list,
            "output": [output.io_type for output in self.outputs],
            "output_is_list": [output.is_output_list for output in self.outputs],
            "output_name": self.output_names(),
            "output_tooltips": [output.tooltip or None for output in self.outputs],
            "output_matchtypes": matching if any(matching) else None,
            "name": self.node_id,
            "display_name": self.display_name,
            "description": self.description,
            "python_module": python_module,
            "category": self.category,
            "output_node": self.is_output_node,
            "has_intermediate_output": self.has_intermediate_output,
            "deprecated": self.is_deprecated,
            "experimental": self.is_experimental,
            "dev_only": self.is_dev_only,
            "api_node": self.is_api_node,
            "price_badge": None,
            "search_aliases": self.search_aliases,
            "essentials_category": self.essentials_category,
        }
