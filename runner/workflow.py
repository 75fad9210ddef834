"""Reads a graph in ComfyUI's API format; says what else it is where it is something else."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

MOST_BYTES = 64 * 1024 * 1024


class WorkflowError(Exception):
    """A file that holds no graph. `kind` is a stable word."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def read_workflow(path: Path) -> dict[str, Any]:
    """The graph in a file. Raises WorkflowError for a file that can't be read, is no JSON, or holds no API graph."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES).decode("utf-8-sig")
        graph = json.loads(text)
    except OSError as error:
        raise WorkflowError("not_found", f"{path} can't be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise WorkflowError("invalid_workflow", f"{path} is no JSON: {str(error).splitlines()[0]}") from None
    if isinstance(graph, dict) and isinstance(graph.get("nodes"), list):
        how = "in ComfyUI, Workflow > Export (API) writes the API format"
        raise WorkflowError("editor_format", f"{path} is in the editor's format; {how}")
    if isinstance(graph, dict) and set(graph) <= {"prompt", "extra_data", "client_id"} and "prompt" in graph:
        graph = graph["prompt"]
    if not isinstance(graph, dict) or not graph:
        raise WorkflowError("empty_workflow", f"{path} holds no node; an object of nodes by id is accepted")
    for node_id, node in graph.items():
        if not isinstance(node, dict) or not isinstance(node.get("class_type"), str):
            raise WorkflowError("invalid_workflow", f"{path}: node {node_id!r} has no class_type; is it API format?")
    return graph


def unknown_classes(graph: Mapping[str, Any], known: Iterable[str]) -> list[str]:
    """A sentence for each node whose class the server lacks, with the nearest names."""
    names = list(known)
    said = []
    for node_id, node in graph.items():
        name = node["class_type"]
        if names and name not in names:
            near = difflib.get_close_matches(name, names, 3)
            hint = f"; near it: {', '.join(near)}" if near else ""
            said.append(f"node {node_id}: the server has no class {name!r}{hint}")
    return said
