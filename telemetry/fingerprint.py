"""Fingerprints of a graph: is this the same workflow, with the same settings, or even the very same graph?

A node's own digest is made of its class, of what is to be told of its inputs, and of the digests of the nodes
that it is wired to, so that neither the ids of nodes nor their order count.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .events import Graph

ALGORITHM = 1
"""The number that both fingerprints begin with; it grows when the same graph would give another one."""

IsChoice = Callable[[str, str], bool]
"""Whether an input (by class and name) is a choice from a list; only the host can tell."""


def fingerprints(graph: Graph, is_choice: IsChoice) -> tuple[str, str]:
    """The fingerprint of the workflow, and that of the workflow with its settings.

    The first is of classes and wiring: the same for another seed, text, file name or number. The second also of
    numbers, switches and choices (models included); without free text and seeds.
    """

    def nothing(_class: str, _name: str, _value: object) -> object:
        return None

    def settings(class_type: str, name: str, value: object) -> object:
        if "seed" in name.lower():
            return None
        if isinstance(value, str):
            return value if is_choice(class_type, name) else None
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return value if isinstance(value, (bool, int, float)) else None

    workflow, with_settings = _fingerprints(graph, (nothing, settings))
    return workflow, with_settings


def graph_digest(graph: Graph, key: bytes) -> str:
    """A keyed digest of everything in the graph; without the key nobody can test a guess against it."""
    plain = {
        str(node_id): [node.get("class_type"), node.get("inputs")]
        for node_id, node in graph.items()
        if isinstance(node, Mapping)
    }
    try:
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), default=repr)
    except (TypeError, ValueError, RecursionError):  # no JSON: keys that can't be ordered, a value in itself
        text = repr(plain)
    return hmac.new(key, text.encode("utf-8", "backslashreplace"), hashlib.sha256).hexdigest()[:32]


Keep = Callable[[str, str, object], object]
"""What of an input (of a class, by name, with its value) is to count; null for nothing."""
Digests = list[str]
"""A node's digests, one for each `Keep`."""
_encode = json.JSONEncoder(sort_keys=True, default=repr).encode


def _fingerprints(graph: Graph, keeps: Sequence[Keep]) -> list[str]:
    digests: dict[str, Digests] = {}
    for node_id in graph:
        _digest(graph, node_id, keeps, digests)
    wholes = ("\n".join(sorted(digests[node_id][place] for node_id in graph)) for place in range(len(keeps)))
    return [f"{ALGORITHM}:{_hash(whole)}" for whole in wholes]


def _digest(graph: Graph, first: str, keeps: Sequence[Keep], digests: dict[str, Digests]) -> None:
    """Fill in the digests of a node and of all that it hangs on, without recursion: chains may be long."""
    waiting = [first]
    open_ids: set[str] = set()
    while waiting:
        node_id = waiting[-1]
        missing = [source for source in _sources(graph, node_id) if source not in digests and source not in open_ids]
        if node_id not in digests and missing:
            open_ids.add(node_id)
            waiting.extend(missing)
            continue
        waiting.pop()
        open_ids.discard(node_id)
        if node_id not in digests:
            digests[node_id] = _node_digests(graph, node_id, keeps, digests)


def _node(graph: Graph, node_id: str) -> tuple[str, Mapping[str, Any]]:
    node = graph.get(node_id)
    if not isinstance(node, Mapping):
        return "", {}
    inputs = node.get("inputs")
    return str(node.get("class_type")), inputs if isinstance(inputs, Mapping) else {}


def _link(value: object) -> tuple[str, object] | None:
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
        return value[0], value[1]
    return None


def _sources(graph: Graph, node_id: str) -> list[str]:
    links = (_link(value) for value in _node(graph, node_id)[1].values())
    return [link[0] for link in links if link is not None and link[0] in graph]


def _node_digests(graph: Graph, node_id: str, keeps: Sequence[Keep], digests: Mapping[str, Digests]) -> Digests:
    class_type, inputs = _node(graph, node_id)
    ordered = [(name, inputs[name], _link(inputs[name])) for name in sorted(inputs, key=str)]
    found = []
    for place, keep in enumerate(keeps):
        told: list[object] = [class_type]
        for name, value, link in ordered:
            if link is not None:
                source = digests.get(link[0])
                told.append([name, "cycle" if source is None else source[place], str(link[1])])
                continue
            kept = keep(class_type, str(name), value)
            if kept is not None and not (isinstance(kept, float) and not math.isfinite(kept)):
                told.append([name, kept])
        found.append(_hash(_encode(told)))
    return found


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:32]
