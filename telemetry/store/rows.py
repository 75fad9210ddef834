"""Between records and the database's rows: nothing here touches a database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import RowMapping

from ..markers.outputs import ReportedFile
from ..markers.requests import MarkerPlan
from ..models.base import Model
from ..models.conditions import Conditions
from ..models.kept import kept_fields
from ..models.naming import name_of
from ..models.prompt import Instance
from ..models.record import NodeRecord, PromptRecord
from ..models.text import clean, clean_or_none, json_text, kept_id

Row = dict[str, Any]
Fields = Mapping[str, Any] | RowMapping
_KEPT = kept_fields(PromptRecord)
_PLAIN = tuple(name for name, kept in _KEPT.items() if kept.kind != "json")
_JSON = tuple(name for name, kept in _KEPT.items() if kept.kind == "json")
_plain: Callable[[PromptRecord], tuple[object, ...]] = attrgetter(*_PLAIN)
_LISTS = frozenset(one.name for one in fields(PromptRecord) if one.default_factory is list)
"""Fields that are empty where nothing is kept of them; the others are null."""
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


_PROMPT, _FILE = TypeAdapter(PromptRecord), TypeAdapter(ReportedFile)
_NODE_RECORD = TypeAdapter(NodeRecord)
_NEEDED = frozenset({"pk", "prompt_id", "run_number", "instance_id", "status"})
"""Without these a record is nobody's."""


def _dump(model: Model | None) -> Row | None:
    return None if model is None else model.model_dump()


def _json(value: Any) -> Any:
    """A field as JSON has it; null for nothing, and for an empty list."""
    if isinstance(value, Conditions):
        return value.model_dump(exclude_none=True) or None
    if isinstance(value, Model):
        return value.model_dump()
    if isinstance(value, MarkerPlan):
        return value.dump()
    if isinstance(value, list):
        return [
            one.model_dump() if isinstance(one, Model) else list(one) if isinstance(one, tuple) else one
            for one in value
        ] or None
    return value


def prompt_row(record: PromptRecord, now_ms: int) -> Row:
    """A record as a row of `prompts`."""
    row: Row = dict(zip(_PLAIN, _plain(record), strict=True))
    row.update({name: clean_or_none(row[name]) for name in _FOREIGN}, prompt_id=kept_id(record.prompt_id))
    row.update((name, _json(getattr(record, name))) for name in _JSON)
    known = record.queued_ms if record.queued_ms is not None else record.started_ms
    row.update(sort_ms=now_ms if known is None else known, figures=_figures(record), search=search_text(record))
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
    """The record of a row of `prompts`, without what of it can't be read; its outputs are in rows of their own.

    A column that an older version's spool does not have is as if nothing had been known. Raises ValidationError where
    it can't be told which prompt it is of, or what became of that.
    """
    figures = row["figures"]
    beside = figures.get(_SELF) if isinstance(figures, dict) else None
    if isinstance(beside, dict):
        figures = {name: value for name, value in figures.items() if name != _SELF} or None
    found: Row = {name: row[name] for name in ("pk", *_PLAIN) if name in row}
    found |= {name: row[name] or ([] if name in _LISTS else None) for name in _JSON if name in row}
    found |= {"figures": figures or None, "called": beside.get("called") if isinstance(beside, dict) else None}
    try:
        return _PROMPT.validate_python(found)
    except ValidationError as error:
        damaged = unread(error)
        if not _NEEDED.isdisjoint(damaged):
            raise
    record = _PROMPT.validate_python({name: value for name, value in found.items() if name not in damaged})
    record.damaged = damaged
    record.note(f"{', '.join(damaged)} of this record can't be read where it is kept")
    return record


def unread(error: ValidationError) -> tuple[str, ...]:
    """The fields that an error is about."""
    return tuple(dict.fromkeys(str(one["loc"][0]) for one in error.errors(include_url=False, include_input=False)))


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
    """The file of a row of `outputs`. Raises ValidationError for what is none."""
    stamp = None
    if row["bytes"] is not None:
        stamp = row["bytes"], row["modified_ns"] or 0, row["inode"] or ""
    fields = {name: row[name] for name in ("node_id", "filename", "subfolder", "type", "cached")}
    return _FILE.validate_python({**fields, "stamp": stamp})


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
    """The node of a row of `nodes`, with its class' name as `class_type`. Raises ValidationError for what is none."""
    fields = {name: row[name] for name in (*_NODE, "class_type")}
    return _NODE_RECORD.validate_python({**fields, "error": row["error"] or None})


def instance_of(row: Fields) -> Instance:
    """The process of a row of `instances`. Raises ValidationError for what is none."""
    return Instance.model_validate({name: row[name] for name in ("id", "hostname", "port")})
