"""The graph in a document around it: a request's body, a picture's metadata, a history, what a service takes.

A graph in ComfyUI's API format is an object of nodes by id, and a node has a `class_type`. Nothing else looks like
that, so it is found wherever it stands, also in a text that is JSON itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..client.limits import MOST_DEPTH
from ..client.parsing import depth_of

MOST_LEVELS = 5
MOST_LOOKED_AT = 20_000
"""Values of a document: a graph stands near its top."""
_ID = re.compile(r"\d+(?::\d+)*")


def graphs_in(document: Any) -> list[tuple[str, dict[str, Any]]]:
    """The graphs nearest to the document's top, each with where it is (empty: it is the document itself)."""
    for level in _levels(document):
        found = [(where, value) for where, value in level if is_graph(value)]
        if found:
            return found
    return []


def editor_graph_in(document: Any) -> str | None:
    """Where a graph in the editor's format is; null where none is."""
    for level in _levels(document):
        for where, value in level:
            if isinstance(value, dict) and isinstance(value.get("nodes"), list):
                return where
    return None


def is_graph(value: Any) -> bool:
    """Whether it is an object with a node in it."""
    return isinstance(value, dict) and any(
        isinstance(one, dict) and isinstance(one.get("class_type"), str) for one in value.values()
    )


def nodes_of(graph: Mapping[str, Any]) -> dict[str, Any]:
    """A graph's nodes: notes and versions that somebody has put beside them are left out, each node has inputs."""
    nodes = {}
    for name, value in graph.items():
        is_node = isinstance(value, dict) and bool({"class_type", "inputs", "_meta"} & set(value))
        if is_node or _ID.fullmatch(name):
            empty = isinstance(value, dict) and value.get("inputs") is None
            nodes[name] = {**value, "inputs": {}} if empty else value
    return nodes


def _levels(document: Any) -> Iterator[list[tuple[str, Any]]]:
    """The document, then what is in it, then what is in that: each value with where it is, texts of JSON read."""
    level = [("", document)]
    for _ in range(MOST_LEVELS):
        level = [(where, _parsed(value) if isinstance(value, str) else value) for where, value in level]
        yield level
        level = [one for where, value in level for one in _inside(where, value)][:MOST_LOOKED_AT]


def _inside(where: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, one in value.items():
            yield f"{where}.{name}".lstrip("."), one
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield f"{where}[{number}]", one


def _parsed(text: str) -> Any:
    """What a text says where it is JSON; null where it isn't."""
    value: Any = text
    for _ in range(MOST_LEVELS):
        if not isinstance(value, str) or not value.lstrip().startswith(("{", "[", '"')):
            break
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if depth_of(value) <= MOST_DEPTH else None
