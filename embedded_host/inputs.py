"""What a node is called with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .cache import CacheEntry
from .graph import DynamicPrompt
from .graph_utils import is_link
from .v3_node import ComfyNode

ResultOf = Callable[[str], "CacheEntry | None"]


@dataclass
class Gathered:
    """A node's inputs, each a list of what successive calls get; and what it may know of its prompt."""

    values: dict[str, list[Any]] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    hidden: dict[str, Any] = field(default_factory=dict)


def input_info(types: dict[str, dict[str, Any]], name: str) -> tuple[Any, str | None, dict[str, Any]]:
    """An input's type, its category (None: the class has no such input) and its options."""
    for category in ("required", "optional", "hidden"):
        if name in types.get(category, {}):
            spec = types[category][name]
            if isinstance(spec, (tuple, list)):
                return spec[0], category, spec[1] if len(spec) > 1 else {}
            return spec, category, {}
    return None, None, {}


def gather(
    node_class: type[Any],
    node_id: str,
    inputs: dict[str, Any],
    result_of: ResultOf | None = None,
    dynprompt: DynamicPrompt | None = None,
    extra_data: dict[str, Any] | None = None,
) -> Gathered:
    """A node's inputs. Without ``result_of``, or where a source has no result yet, a link counts as missing: None."""
    types = node_class.INPUT_TYPES()
    gathered = Gathered()
    for name, value in inputs.items():
        _, category, info = input_info(types, name)
        if is_link(value) and not info.get("rawLink", False):
            found = _linked(value, result_of)
            gathered.values[name] = [None] if found is None else found
            if found is None:
                gathered.missing.add(name)
        elif category is not None or getattr(node_class, "ACCEPT_ALL_INPUTS", False):
            gathered.values[name] = [value]
    _add_hidden(gathered, node_class, types, _known(node_id, dynprompt, extra_data or {}))
    return gathered


def _linked(link: list[Any], result_of: ResultOf | None) -> list[Any] | None:
    entry = result_of(link[0]) if result_of is not None else None
    if entry is None or link[1] >= len(entry.outputs):
        return None
    found: list[Any] = entry.outputs[link[1]]
    return found


def _known(node_id: str, dynprompt: DynamicPrompt | None, extra_data: dict[str, Any]) -> dict[str, Any]:
    """What nodes may know, by the word they ask with."""
    return {
        "PROMPT": dynprompt.get_original_prompt() if dynprompt is not None else {},
        "DYNPROMPT": dynprompt,
        "EXTRA_PNGINFO": extra_data.get("extra_pnginfo"),
        "UNIQUE_ID": node_id,
        "AUTH_TOKEN_COMFY_ORG": extra_data.get("auth_token_comfy_org"),
        "API_KEY_COMFY_ORG": extra_data.get("api_key_comfy_org"),
        "COMFY_USAGE_SOURCE": extra_data.get("comfy_usage_source"),
    }


def _add_hidden(gathered: Gathered, node_class: type[Any], types: dict[str, Any], known: dict[str, Any]) -> None:
    is_v3 = issubclass(node_class, ComfyNode)
    for name, wish in types.get("hidden", {}).items():
        if is_v3:
            gathered.hidden[name] = known[wish[0]]
        elif isinstance(wish, str) and wish in known:
            gathered.values[name] = [known[wish]]
