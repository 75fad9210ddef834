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
from operator import itemgetter
from typing import Any, NamedTuple

from ..models.settings import NodeSettings, Setting
from ..models.text import MAX_ID, clean
from .events import Graph, is_mapping

ALGORITHMS = (1, 2)
"""The numbers that the two fingerprints begin with; one grows when the same graph would give another one."""

MAX_NODES, MAX_INPUTS, MAX_CHOICE = 5000, 200, 300
"""Of the settings of a graph: nodes, inputs of one node, and characters of a choice that are kept."""
LARGEST = 2**53
"""Larger whole numbers are no settings, and not every reader of JSON can tell them apart."""

IsChoice = Callable[[str, str, str], bool]
"""Whether an input (by class and name) is a choice from a list of which a value is one; only the host can tell."""


def fingerprints(graph: Graph, is_choice: IsChoice) -> tuple[str, str]:
    """The fingerprint of the workflow, and that of the workflow with its settings.

    The first is of classes and wiring: the same for another seed, text, file name or number. The second also of
    numbers, switches and choices (models included); without free text and seeds.
    """
    nodes = {node_id: _read(node) for node_id, node in graph.items()}
    digests: dict[str, Digests] = {}
    for node_id in nodes:
        _digest(nodes, node_id, is_choice, digests)
    wholes = ("\n".join(sorted(digests[node_id][place] for node_id in nodes)) for place in (0, 1))
    workflow, with_settings = (f"{number}:{_hash(whole)}" for number, whole in zip(ALGORITHMS, wholes, strict=True))
    return workflow, with_settings


def settings_of(graph: Graph, is_choice: IsChoice) -> dict[str, NodeSettings]:
    """What counts as a setting of each node that has any: at most MAX_NODES of them, with MAX_INPUTS each."""
    found: dict[str, NodeSettings] = {}
    for node_id, given in graph.items():
        node = _read(given)
        kept = {name: _setting(node.class_type, name, value, is_choice) for name, value in node.values[:MAX_INPUTS]}
        inputs = {
            clean(name, MAX_ID): clean(value, MAX_CHOICE) if isinstance(value, str) else value
            for name, value in kept.items()
            if value is not None
        }
        if inputs and len(found) < MAX_NODES:
            found[clean(str(node_id), MAX_ID)] = (clean(node.class_type, MAX_ID), inputs)
    return found


def graph_digest(graph: Graph, key: bytes) -> str:
    """A keyed digest of everything in the graph; without the key nobody can test a guess against it."""
    plain = {
        str(node_id): [node.get("class_type"), node.get("inputs")]
        for node_id, node in graph.items()
        if is_mapping(node)
    }
    try:
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), default=repr)
    except (TypeError, ValueError, RecursionError):  # no JSON: keys that can't be ordered, a value in itself
        text = repr(plain)
    return hmac.new(key, text.encode("utf-8", "backslashreplace"), hashlib.sha256).hexdigest()[:32]


Digests = tuple[str, str]
"""A node's digests: without its settings, and with them."""


class _Node(NamedTuple):
    """A node as it counts: its inputs in the order of their names, wires apart from values."""

    class_type: str
    wires: list[tuple[str, str, str]]
    """Input, the node at the other end, and which of its outputs."""
    values: list[tuple[str, object]]


def _read(node: object) -> _Node:
    if not is_mapping(node):
        return _Node("", [], [])
    inputs = node.get("inputs")
    wires: list[tuple[str, str, str]] = []
    values: list[tuple[str, object]] = []
    for name, value in _by_name(inputs) if is_mapping(inputs) else ():
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
            wires.append((str(name), value[0], str(value[1])))
        else:
            values.append((str(name), value))
    return _Node(str(node.get("class_type")), wires, values)


def _by_name(inputs: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    try:
        return sorted(inputs.items(), key=itemgetter(0))
    except TypeError:  # names that are no text
        return sorted(inputs.items(), key=lambda item: str(item[0]))


def _digest(nodes: Mapping[str, _Node], first: str, is_choice: IsChoice, digests: dict[str, Digests]) -> None:
    """Fill in the digests of a node and of all that it hangs on, without recursion: chains may be long."""
    waiting = [first]
    open_ids: set[str] = set()
    while waiting:
        node_id = waiting[-1]
        if node_id not in digests:
            sources = [source for _, source, _ in nodes[node_id].wires if source in nodes]
            missing = [source for source in sources if source not in digests and source not in open_ids]
            if missing:
                open_ids.add(node_id)
                waiting.extend(missing)
                continue
            digests[node_id] = _node_digests(nodes[node_id], is_choice, digests)
        waiting.pop()
        open_ids.discard(node_id)


def _node_digests(node: _Node, is_choice: IsChoice, digests: Mapping[str, Digests]) -> Digests:
    """Of what is told of a node, as text that is the same with every Python: `ascii` of lists of plain values."""
    plain, told = [], []
    for name, source, output in node.wires:
        without, with_settings = digests.get(source, _CYCLE)
        plain.append((name, without, output))
        told.append((name, with_settings, output))
    settings = []
    for name, value in node.values:
        kept = _setting(node.class_type, name, value, is_choice)
        if kept is not None:
            settings.append((name, kept))
    return _hash(ascii((node.class_type, plain))), _hash(ascii((node.class_type, told, settings)))


def _setting(class_type: str, name: str, value: object, is_choice: IsChoice) -> Setting | None:
    """What of an input's value counts as a setting; null for nothing."""
    if isinstance(value, str):
        return value if "seed" not in name.lower() and is_choice(class_type, name, value) else None
    if not isinstance(value, (bool, int, float)) or "seed" in name.lower():
        return None
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) <= LARGEST else value
    return value if abs(value) <= LARGEST else None


_CYCLE: Digests = ("cycle", "cycle")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:32]
