"""From records to the contract's models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any

from ..markers.outputs import ReportedFile
from ..process.redact import PATH
from .gpu import Figures
from .naming import name_of
from .node import Node
from .prompt import Instance, NodeCounts, Output, Prompt
from .record import NodeRecord, PromptRecord
from .text import clean, clean_or_none
from .times import iso, iso_or_none

UP_TO_THEN = "the process ended before this prompt did: these figures end up to a second before that"
NO_FIGURES = "no figures of GPU and memory were sampled while this prompt ran"
_MADE = ("current_node", "outputs")
"""Fields of both names that are not served as they are recorded."""
_SAME = tuple(one.name for one in fields(PromptRecord) if one.name in Prompt.model_fields and one.name not in _MADE)
_same: Callable[[PromptRecord], tuple[Any, ...]] = attrgetter(*_SAME)


def prompt_of(record: PromptRecord, instances: Mapping[str, Instance]) -> Prompt:
    """What the routes serve of a record."""
    figures = record.figures or Figures(fallback_notes=[NO_FIGURES] if record.started_ms is not None else [])
    return Prompt(
        **dict(zip(_SAME, _same(record), strict=True)),
        queued_at=iso_or_none(record.queued_ms),
        started_at=iso_or_none(record.started_ms),
        ended_at=iso_or_none(record.ended_ms),
        last_seen_at=iso_or_none(record.seen_ms) if _has_no_end(record) else None,
        name=name_of(record),
        node_counts=NodeCounts(total=record.node_total, executed=record.node_executed, cached=record.node_cached),
        current_node=record.current_node if record.status in ("running", "abandoned") else None,
        outputs=[output_of(file) for file in record.outputs],
        devices=figures.devices,
        system=figures.system,
        telemetry_source=figures.telemetry_source,
        fallback_notes=[*figures.fallback_notes, UP_TO_THEN] if _is_cut_off(record) else figures.fallback_notes,
        instance=instances.get(record.instance_id) or Instance(id=record.instance_id),
    )


def _has_no_end(record: PromptRecord) -> bool:
    return record.status in ("running", "abandoned") and record.ended_ms is None


def _is_cut_off(record: PromptRecord) -> bool:
    return record.status == "abandoned" and record.ended_ms is None and record.figures is not None


def output_of(file: ReportedFile) -> Output:
    """What is served of a file; a folder that is no part of the server's own is not told."""
    known = file.stamp
    return Output(
        node_id=clean_or_none(file.node_id),
        filename=clean(_last_part(file.filename)),
        subfolder=PATH if _leads_out(file.subfolder) else clean(file.subfolder),
        type=clean_or_none(file.type),
        bytes=known.bytes if known else None,
        modified=iso(known.modified_ns // 1_000_000) if known else None,
        cached=file.cached,
    )


def _leads_out(subfolder: str) -> bool:
    return subfolder.startswith(("/", "\\")) or subfolder[1:2] == ":" or ".." in subfolder.split("/")


def _last_part(filename: str) -> str:
    return filename.replace("\\", "/").rpartition("/")[2] if ("/" in filename or ":\\" in filename) else filename


def node_of(record: NodeRecord) -> Node:
    """What the routes serve of a node."""
    return Node(
        node_id=record.node_id,
        class_type=record.class_type,
        title=record.title,
        display_node_id=record.display_node_id,
        parent_node_id=record.parent_node_id,
        started_at=iso_or_none(record.started_ms),
        duration_seconds=record.duration_seconds,
        cached=record.cached,
        progress_max=record.progress_max,
        vram_used_peak_bytes=record.vram_used_peak_bytes,
        vram_delta_bytes=record.vram_delta_bytes,
        error=record.error,
    )
