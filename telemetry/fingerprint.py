"""Fingerprints of a graph: is this the same workflow, with the same settings, or even the very same graph?

A node's own digest is made of its class, of what is to be told of its inputs, and of the digests of the nodes
that it is wired to, so that neither the ids of nodes nor their order count.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from .events import Graph

ALGORITHM = 1
"""The number that both fingerprints begin with; it grows when the same graph would give another one."""

IsChoice = Callable[[str, str], bool]
"""Whether an input (by class and name) is a choice from a list; only the host can tell."""


def workflow_fingerprint(graph: Graph) -> str:
    """Of classes and wiring: the same for another seed, text, file name or number."""
    return _fingerprint(graph, lambda _class, _name, _value: None)


def settings_fingerprint(graph: Graph, is_choice: IsChoice) -> str:
    """As above, and numbers, switches and choices (models included); without free text and seeds."""

    def kept(class_type: str, name: str, value: object) -> object:
        if "seed" in name.lower():
            return None
        if isinstance(value, str):
            return value if is_choice(class_type, name) else None
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return value if isinstance(value, (bool, int, float)) else None

    return _fingerprint(graph, kept)


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


def _fingerprint(graph: Graph, keep: Keep) -> str:
    digests: dict[str, str] = {}
    for node_id in graph:
        _digest(graph, node_id, keep, digests)
    whole = "\n".join(sorted(digests[node_id] for node_id in graph))
    return f"{ALGORITHM}:{_hash(whole)}"


def _digest(graph: Graph, first: str, keep: Keep, digests: dict[str, str]) -> None:
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
            digests[node_id] = _node_digest(graph, node_id, keep, digests)


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


def _node_digest(graph: Graph, node_id: str, keep: Keep, digests: Mapping[str, str]) -> str:
    class_type, inputs = _node(graph, node_id)
    told: list[object] = [class_type]
    for name in sorted(inputs, key=str):
        link = _link(inputs[name])
        if link is not None:
            told.append([name, digests.get(link[0], "cycle"), str(link[1])])
            continue
        value = keep(class_type, str(name), inputs[name])
        if value is not None and not (isinstance(value, float) and not math.isfinite(value)):
            told.append([name, value])
    return _hash(json.dumps(told, sort_keys=True, default=repr))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:32]
