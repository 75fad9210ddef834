"""Between records and the database's rows: nothing here touches a database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

from sqlalchemy import RowMapping

from .contract import Batch, CurrentNode, Figures, Model, PromptError, PromptMarker, Refusal
from .folder import FileStamp
from .naming import name_of
from .outputs import ReportedFile
from .record import NodeRecord, PromptRecord
from .requests import MarkerPlan
from .text import clean, clean_or_none, json_text, kept_id

Row = dict[str, Any]
Fields = Mapping[str, Any] | RowMapping
_SAME = (
    "prompt_id run_number instance_id status queued_ms started_ms ended_ms queue_wait_seconds duration_seconds "
    "client_id queue_number workflow_name workflow_fingerprint settings_fingerprint graph_digest environment_id "
    "node_total node_executed node_cached output_root seen_ms"
).split()
"""Columns that are the record's own fields."""
_SELF = "record"
"""Where `figures` keeps what a record says of itself and has no column for."""
_FOREIGN = ("client_id", "workflow_name")
"""Those that hold others' text."""
_NODE_TEXTS = ("node_id", "title", "display_node_id", "parent_node_id")
_NODE_FIGURES = tuple(
    "seq started_ms duration_seconds cached progress_max vram_used_peak_bytes vram_delta_bytes".split()
)
_NODE = (*_NODE_TEXTS, *_NODE_FIGURES)
_node_figures: Callable[[NodeRecord], tuple[object, ...]] = attrgetter(*_NODE_FIGURES)
NODE_COLUMNS = ("prompt_pk", "class_id", "error", *_NODE)
"""The columns of `nodes`, in the order in which `node_row` gives their values."""
NODE_CHANGES = "started_ms duration_seconds cached progress_max error vram_used_peak_bytes vram_delta_bytes".split()
"""What of a node may change after it was first saved: fields of the record, and columns of `nodes`."""
MAX_TYPE = 32
"""Characters of a file's type, `output` and the like."""
MAX_SEARCH = 64_000
"""Characters: the names of some three thousand files."""


def _dump(model: Model | None) -> Row | None:
    return None if model is None else model.model_dump()


def prompt_row(record: PromptRecord, now_ms: int) -> Row:
    """A record as a row of `prompts`."""
    row: Row = {name: getattr(record, name) for name in _SAME}
    row.update({name: clean_or_none(row[name]) for name in _FOREIGN}, prompt_id=kept_id(record.prompt_id))
    known = record.queued_ms if record.queued_ms is not None else record.started_ms
    row.update(
        sort_ms=now_ms if known is None else known,
        current_node=_dump(record.current_node),
        error=_dump(record.error),
        markers=[marker.model_dump() for marker in record.markers] or None,
        notes=record.notes or None,
        batch=_dump(record.batch),
        plan=record.plan.dump() if record.plan is not None else None,
        refused=[refusal.model_dump() for refusal in record.refused] or None,
        figures=_figures(record),
        pending=[list(item) for item in record.pending] or None,
        search=search_text(record),
    )
    return row


def _figures(record: PromptRecord) -> Row | None:
    """What was sampled, and beside it what the graph says of itself, which has no column of its own."""
    sampled = record.figures.model_dump(exclude_none=True) if record.figures is not None else {}
    return {**sampled, _SELF: {"called": record.called}} if record.called is not None else sampled or None


def search_text(record: PromptRecord) -> str:
    """What `q` looks in besides the names of classes: id, names of the workflow and of outputs, what it is called."""
    names = dict.fromkeys(file.filename for file in record.outputs)
    words = [record.prompt_id, record.workflow_name or "", name_of(record) or "", *names]
    return clean("\n".join(words).lower(), MAX_SEARCH)


def prompt_record(row: Fields) -> PromptRecord:
    """The record of a row of `prompts`; its outputs are in rows of their own."""
    figures = dict(row["figures"] or {})
    beside = figures.pop(_SELF, None) or {}
    return PromptRecord(
        pk=row["pk"],
        called=beside.get("called"),
        **{name: row[name] for name in _SAME},
        current_node=CurrentNode.model_validate(row["current_node"]) if row["current_node"] else None,
        error=PromptError.model_validate(row["error"]) if row["error"] else None,
        markers=[PromptMarker.model_validate(marker) for marker in row["markers"] or ()],
        notes=list(row["notes"] or ()),
        batch=Batch.model_validate(row["batch"]) if row["batch"] else None,
        refused=[Refusal.model_validate(refusal) for refusal in row["refused"] or ()],
        plan=MarkerPlan.load(row["plan"]) if row["plan"] else None,
        figures=Figures.model_validate(figures) if figures else None,
        pending=[(prefix, status, name) for prefix, status, name in row["pending"] or ()],
    )


def output_row(pk: int, seq: int, file: ReportedFile) -> Row:
    """A file as a row of `outputs`."""
    stamp = file.stamp
    return {
        "prompt_pk": pk,
        "seq": seq,
        "node_id": clean_or_none(file.node_id),
        "filename": clean(file.filename),
        "subfolder": clean(file.subfolder),
        "type": clean_or_none(file.type, MAX_TYPE),
        "bytes": stamp.bytes if stamp else None,
        "modified_ns": stamp.modified_ns if stamp else None,
        "inode": stamp.inode if stamp else None,
        "cached": file.cached,
    }


def output_file(row: Fields) -> ReportedFile:
    """The file of a row of `outputs`."""
    stamp = None
    if row["bytes"] is not None:
        stamp = FileStamp(row["bytes"], row["modified_ns"] or 0, row["inode"] or "")
    return ReportedFile(row["node_id"], row["filename"], row["subfolder"], row["type"], row["cached"], stamp)


def node_row(pk: int, node: NodeRecord, class_id: int | None) -> tuple[object, ...]:
    """A node as a row of `nodes`, as the driver takes it; `class_id` is null where the class is not known."""
    error = None if node.error is None else json_text(node.error.model_dump())
    texts = clean(node.node_id), *map(clean_or_none, (node.title, node.display_node_id, node.parent_node_id))
    return (pk, class_id, error, *texts, *_node_figures(node))


def node_change(node: NodeRecord) -> Row:
    """What of a node may have changed, by column."""
    row: Row = {name: getattr(node, name) for name in NODE_CHANGES}
    return {**row, "error": _dump(node.error)}


def node_record(row: Fields) -> NodeRecord:
    """The node of a row of `nodes`, with its class' name as `class_type`."""
    error = PromptError.model_validate(row["error"]) if row["error"] else None
    return NodeRecord(error=error, class_type=row["class_type"], **{name: row[name] for name in _NODE})
