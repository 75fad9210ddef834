"""Reads a graph in ComfyUI's API format; says what else it is where it is something else."""

from __future__ import annotations

import difflib
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..client.limits import MOST_DEPTH
from ..client.parsing import depth_of
from ..telemetry.models.text import clean
from .unwrapping import editor_graph_in, graphs_in, nodes_of

MOST_BYTES = 64 * 1024 * 1024
MOST_NAMED, MOST_ID = 5, 100
"""Places of graphs that an error names, and characters of an id or a title."""
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
CONVERT_SECONDS = 120
EXPORT = "in ComfyUI, Workflow > Export (API) writes the API format"
INSTALL = "; or pip install comfy-cli, which converts it"
_CONVERT = (
    "import json, sys; given = json.load(sys.stdin); "
    "from comfy_cli.workflow_to_api import convert_ui_to_api as convert; "
    "told = json.dumps(convert(given['workflow'], given['infos'])); sys.stdout.write('\\n' + told)"
)


class WorkflowError(Exception):
    """A file that holds no graph. `kind` is a stable word."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def read_workflow(path: Path, infos: Callable[[], Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """The graph in a file, also where a request, a picture's metadata or such stands around it.

    Raises WorkflowError for a file that can't be read, is no JSON, or holds no API graph, or several.
    One in the editor's format is converted, where comfy-cli is installed and `infos` gives what the server says of its
    node classes; whatever `infos` raises is passed on.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES)
        graph = json.loads(data.decode("utf-16" if data.startswith(_UTF16) else "utf-8-sig"))
        deep = depth_of(graph) > MOST_DEPTH
    except RecursionError:
        deep = True
    except OSError as error:
        raise WorkflowError("not_found", f"{path} can't be read: {error.strerror or error}") from None
    except ValueError as error:
        hint = "" if isinstance(error, UnicodeError) else _hint(data)
        raise WorkflowError("invalid_workflow", f"{path} is no JSON: {str(error).splitlines()[0]}{hint}") from None
    if deep:
        raise WorkflowError("invalid_workflow", f"{path} is nested more than {MOST_DEPTH} deep: no graph is")
    found = graphs_in(graph)
    if len(found) > 1:
        places = ", ".join(where for where, _ in found[:MOST_NAMED]) + (", ..." if len(found) > MOST_NAMED else "")
        raise WorkflowError(
            "invalid_workflow", f"{path} holds {len(found)} graphs, at {places}: put the one to run into a file"
        )
    if found:
        return _checked(path, nodes_of(found[0][1]))
    place = editor_graph_in(graph)
    if place is None or not isinstance(graph, dict):
        return _checked(path, graph)
    if place or infos is None or importlib.util.find_spec("comfy_cli") is None:
        where = f"{path} holds, at {place}, a graph" if place else f"{path} is"
        raise WorkflowError("editor_format", f"{where} in the editor's format; {EXPORT}{INSTALL}")
    return _checked(path, _converted(path, graph, infos()))


def _checked(path: Path, graph: Any) -> dict[str, Any]:
    """A graph, each of whose nodes has a class. Raises WorkflowError."""
    if not isinstance(graph, dict) or not graph:
        raise WorkflowError("empty_workflow", f"{path} holds no node; an object of nodes by id is accepted")
    for node_id, node in graph.items():
        if not isinstance(node, dict) or not isinstance(node.get("class_type"), str):
            meta = node.get("_meta") if isinstance(node, dict) else None
            title = meta.get("title") if isinstance(meta, dict) else None
            shown = f"node {clean(node_id, MOST_ID)!r}" + (
                f" ({clean(title, MOST_ID)})" if isinstance(title, str) else ""
            )
            raise WorkflowError(
                "invalid_workflow", f"{path}: {shown} has no class_type; was its pack missing when it was exported?"
            )
    return graph


def _hint(data: bytes) -> str:
    """What may be meant: some editors leave comments and last commas in."""
    odd = re.search(rb"^\s*//|/\*|,\s*[}\]]", data, re.MULTILINE)
    return "; comments and commas before a closing bracket are no JSON" if odd else ""


def _converted(path: Path, document: object, infos: Mapping[str, Any]) -> Any:
    """By comfy-cli's own converter, in a process of its own."""
    given = json.dumps({"workflow": document, "infos": infos})
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CONVERT],
            input=given,
            capture_output=True,
            text=True,
            timeout=CONVERT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise WorkflowError("editor_format", f"{path}: comfy-cli could not convert it ({error}); {EXPORT}") from None
    try:
        return json.loads(done.stdout.rpartition("\n")[2])
    except ValueError:
        why = done.stderr.strip().rpartition("\n")[2][:300]
        raise WorkflowError("editor_format", f"{path}: comfy-cli could not convert it ({why}); {EXPORT}") from None


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
