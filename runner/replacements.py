"""Node classes that a server no longer has, and what it puts in their place when a graph is posted."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any


def with_replacements(
    graph: Mapping[str, Any], infos: Mapping[str, Any], replacements: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The graph as the server makes it of a posted one: `replacements` is what `/node_replacements` answers.

    The graph itself is not changed; it is given back where there is nothing to replace.
    """
    new = {node_id: entry for node_id in graph if (entry := _entry(graph[node_id], infos, replacements)) is not None}
    if not new:
        return graph
    changed = copy.deepcopy(dict(graph))
    for node_id, entry in new.items():
        given = changed[node_id]["inputs"]
        changed[node_id] |= {"class_type": entry["new_node_id"], "inputs": _inputs(given, entry.get("input_mapping"))}
    slots = {node_id: _slots(entry.get("output_mapping")) for node_id, entry in new.items()}
    for node in changed.values():
        for value in node["inputs"].values() if isinstance(node.get("inputs"), dict) else ():
            if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int):
                value[1] = slots.get(value[0], {}).get(value[1], value[1])
    return changed


def _entry(node: Mapping[str, Any], infos: Mapping[str, Any], replacements: Mapping[str, Any]) -> dict[str, Any] | None:
    """What stands for a node; null where it stays."""
    name = node.get("class_type")
    if name in infos or not isinstance(node.get("inputs"), dict):
        return None
    entries = replacements.get(name) if isinstance(name, str) else None
    first = entries[0] if isinstance(entries, list) and entries else None
    return first if isinstance(first, dict) and first.get("new_node_id") in infos else None


def _inputs(given: Mapping[str, Any], mapping: Any) -> dict[str, Any]:
    made = {}
    for one in mapping if isinstance(mapping, list) else ():
        if not isinstance(one, dict) or not isinstance(one.get("new_id"), str):
            continue
        if "set_value" in one:
            made[one["new_id"]] = one["set_value"]
        elif one.get("old_id") in given:
            made[one["new_id"]] = given[one["old_id"]]
    return made


def _slots(mapping: Any) -> dict[int, int]:
    pairs = [one for one in mapping if isinstance(one, dict)] if isinstance(mapping, list) else []
    found = {one.get("old_idx"): one.get("new_idx") for one in pairs}
    return {old: new for old, new in found.items() if isinstance(old, int) and isinstance(new, int)}
