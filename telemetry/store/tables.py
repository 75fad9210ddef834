"""The tables, as the newest migration leaves them. Times are milliseconds since 1970."""

from __future__ import annotations

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

prompts = Table(
    "prompts",
    metadata,
    Column("pk", _Key, primary_key=True, autoincrement=True),
    Column("prompt_id", String(200), nullable=False),
    Column("run_number", Integer, nullable=False),
    Column("instance_id", String(36), nullable=False),
    Column("status", String(16), nullable=False),
    Column("sort_ms", BigInteger, nullable=False),
    Column("queued_ms", BigInteger),
    Column("started_ms", BigInteger),
    Column("ended_ms", BigInteger),
    Column("queue_wait_seconds", Float),
    Column("duration_seconds", Float),
    Column("client_id", Text),
    Column("queue_number", Float),
    Column("workflow_name", Text),
    Column("workflow_fingerprint", String(80)),
    Column("settings_fingerprint", String(80)),
    Column("graph_digest", String(64)),
    Column("environment_id", String(64)),
    Column("node_total", Integer, nullable=False),
    Column("node_executed", Integer, nullable=False),
    Column("node_cached", Integer, nullable=False),
    Column("current_node", JSON(none_as_null=True)),
    Column("error", JSON(none_as_null=True)),
    Column("markers", JSON(none_as_null=True)),
    Column("notes", JSON(none_as_null=True)),
    Column("batch", JSON(none_as_null=True)),
    Column("plan", JSON(none_as_null=True)),
    Column("pending", JSON(none_as_null=True)),
    Column("search", Text, nullable=False),
    Column("figures", JSON(none_as_null=True)),
    Column("output_root", String(64)),
    Column("refused", JSON(none_as_null=True)),
    Column("seen_ms", BigInteger),
)

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
