"""The tables, as the newest migration leaves them. Times are milliseconds since 1970."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.types import TypeEngine

from ..models.kept import kept_fields
from ..models.record import PromptRecord

metadata = MetaData()
_Key = BigInteger().with_variant(Integer, "sqlite")

instances = Table(
    "instances",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("hostname", String(255)),
    Column("port", Integer),
    Column("started_ms", BigInteger, nullable=False),
    Column("machine", String(64)),
    Column("process", String(200)),
)

environments = Table(
    "environments",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("first_seen_ms", BigInteger, nullable=False),
    Column("data", JSON, nullable=False),
)

settings = Table(
    "settings",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("data", JSON, nullable=False),
)

_KINDS: dict[str, TypeEngine[Any]] = {
    "integer": Integer(),
    "big integer": BigInteger(),
    "number": Float(),
    "json": JSON(none_as_null=True),
}


def _columns(record: type) -> list[Column[Any]]:
    """A column for each field of a record that has one."""
    return [
        Column(
            name,
            (String(kept.size) if kept.size else Text()) if kept.kind == "text" else _KINDS[kept.kind],
            nullable=not kept.required,
        )
        for name, kept in kept_fields(record).items()
    ]


prompts = Table(
    "prompts",
    metadata,
    Column("pk", _Key, primary_key=True, autoincrement=True),
    *_columns(PromptRecord),
    Column("sort_ms", BigInteger, nullable=False),
    Column("search", Text, nullable=False),
    Column("figures", JSON(none_as_null=True)),
)
"""Beside the record's own columns: its key, by what it is sorted, what is looked for in it, and what was sampled."""

outputs = Table(
    "outputs",
    metadata,
    Column("prompt_pk", _Key, ForeignKey("prompts.pk", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("node_id", Text),
    Column("filename", Text, nullable=False),
    Column("subfolder", Text, nullable=False),
    Column("type", String(32)),
    Column("bytes", BigInteger),
    Column("modified_ns", BigInteger),
    Column("inode", String(40)),
    Column("cached", Boolean, nullable=False),
    sqlite_with_rowid=False,
)

classes = Table(
    "classes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
)

nodes = Table(
    "nodes",
    metadata,
    Column("prompt_pk", _Key, ForeignKey("prompts.pk", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("node_id", Text, nullable=False),
    Column("class_id", Integer, ForeignKey("classes.id")),
    Column("title", Text),
    Column("display_node_id", Text),
    Column("parent_node_id", Text),
    Column("started_ms", BigInteger),
    Column("duration_seconds", Float),
    Column("cached", Boolean, nullable=False),
    Column("progress_max", Float),
    Column("error", JSON(none_as_null=True)),
    Column("vram_used_peak_bytes", BigInteger),
    Column("vram_delta_bytes", BigInteger),
    sqlite_with_rowid=False,
)

samples = Table(
    "samples",
    metadata,
    Column("prompt_pk", _Key, ForeignKey("prompts.pk", ondelete="CASCADE"), primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("number", _Key, primary_key=True, autoincrement=False),
    Column("kind", String(40), nullable=False),
    Column("prompt_id", String(200), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("data", JSON(none_as_null=True)),
)

counters = Table(
    "counters",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", BigInteger, nullable=False),
)
