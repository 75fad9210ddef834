"""What a prompt is called, where people read of it: never by its id alone, as long as anything better is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..markers.grouping import group_of
from ..markers.prefix import PrefixError, has_tokens, parse_prefix
from ..markers.requests import MARKER_CLASS
from ..record.events import Graph, is_mapping
from .text import clean

if TYPE_CHECKING:
    from .record import PromptRecord

MAX_NAME = 200
"""Characters."""
OWN_CLASSES = frozenset({MARKER_CLASS, "GPUTelemetry"})
"""Our own nodes save nothing."""


def called_by_graph(graph: Graph, accepted: frozenset[str], savers: Mapping[str, str]) -> str | None:
    """What a queued graph says of itself: the literal prefix of its first saver, else the class of its last output.

    `savers` are literal prefixes by node. Null where it has no output that ComfyUI accepted.
    """
    for literal in savers.values():
        if literal and not has_tokens(literal) and "%" not in literal:
            try:
                return clean(str(parse_prefix(literal)), MAX_NAME)
            except PrefixError:
                continue
    for node_id in reversed(list(graph)):
        node = graph[node_id]
        kind = node.get("class_type") if is_mapping(node) and str(node_id) in accepted else None
        if isinstance(kind, str) and kind not in OWN_CLASSES:
            return clean(kind, MAX_NAME)
    return None


def name_of(record: PromptRecord) -> str | None:
    """The workflow's name; else scene and run of a batch, the first output's prefix, what the graph says; or null."""
    if record.workflow_name:
        return record.workflow_name
    batch = record.batch
    if batch is not None and (batch.scene_id or batch.run_id):
        return " · ".join(part for part in (batch.scene_id, batch.run_id) if part)
    for file in record.outputs:
        if file.type == "output" and not any(mark in file.filename for mark in "/\\:"):
            folder = file.subfolder.replace("\\", "/").strip("/")
            inside = folder and ".." not in folder.split("/") and ":" not in folder and file.subfolder[0] not in "/\\"
            group = clean(group_of(file.filename), MAX_NAME)
            return f"{clean(folder, MAX_NAME)}/{group}" if inside else group
    return record.called
