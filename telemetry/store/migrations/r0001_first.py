"""The first schema: instances, environments, prompts, their outputs and nodes, and what they are searched by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision: str | None = None


def upgrade(op: Operations) -> None:
    """Make the tables and their indexes."""
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    json = sa.JSON(none_as_null=True)
    op.create_table(
        "instances",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("hostname", sa.String(255)),
        sa.Column("port", sa.Integer()),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "environments",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("first_seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
    )
    op.create_table(
        "prompts",
        sa.Column("pk", key, primary_key=True, autoincrement=True),
        sa.Column("prompt_id", sa.String(200), nullable=False),
        sa.Column("run_number", sa.Integer(), nullable=False),
        sa.Column("instance_id", sa.String(36), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("sort_ms", sa.BigInteger(), nullable=False),
        sa.Column("queued_ms", sa.BigInteger()),
        sa.Column("started_ms", sa.BigInteger()),
        sa.Column("ended_ms", sa.BigInteger()),
        sa.Column("queue_wait_seconds", sa.Float()),
        sa.Column("duration_seconds", sa.Float()),
        sa.Column("client_id", sa.Text()),
        sa.Column("queue_number", sa.Float()),
        sa.Column("workflow_name", sa.Text()),
        sa.Column("workflow_fingerprint", sa.String(80)),
        sa.Column("settings_fingerprint", sa.String(80)),
        sa.Column("graph_digest", sa.String(64)),
        sa.Column("environment_id", sa.String(64)),
        sa.Column("node_total", sa.Integer(), nullable=False),
        sa.Column("node_executed", sa.Integer(), nullable=False),
        sa.Column("node_cached", sa.Integer(), nullable=False),
        sa.Column("current_node", json),
        sa.Column("error", json),
        sa.Column("markers", json),
        sa.Column("notes", json),
        sa.Column("batch", json),
        sa.Column("plan", json),
        sa.Column("pending", json),
        sa.Column("search", sa.Text(), nullable=False),
        sa.UniqueConstraint("prompt_id", "run_number", name="uq_prompts_run"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_prompts_sort", "prompts", ["sort_ms", "pk"])
    op.create_index("ix_prompts_status", "prompts", ["status", "sort_ms", "pk"])
    op.create_index("ix_prompts_digest", "prompts", ["graph_digest"])
    pending = sa.text("pending IS NOT NULL")
    op.create_index("ix_prompts_pending", "prompts", ["pk"], sqlite_where=pending, postgresql_where=pending)
    op.create_table(
        "outputs",
        sa.Column("prompt_pk", key, sa.ForeignKey("prompts.pk", ondelete="CASCADE"), primary_key=True),
        sa.Column("seq", sa.Integer(), primary_key=True),
        sa.Column("node_id", sa.Text()),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("subfolder", sa.Text(), nullable=False),
        sa.Column("type", sa.String(32)),
        sa.Column("bytes", sa.BigInteger()),
        sa.Column("modified_ns", sa.BigInteger()),
        sa.Column("inode", sa.String(40)),
        sa.Column("cached", sa.Boolean(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_outputs_filename", "outputs", ["filename"])
    op.create_table(
        "classes",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False, unique=True),
    )
    op.create_table(
        "nodes",
        sa.Column("prompt_pk", key, sa.ForeignKey("prompts.pk", ondelete="CASCADE"), primary_key=True),
        sa.Column("seq", sa.Integer(), primary_key=True),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("class_id", sa.Integer(), sa.ForeignKey("classes.id")),
        sa.Column("title", sa.Text()),
        sa.Column("display_node_id", sa.Text()),
        sa.Column("parent_node_id", sa.Text()),
        sa.Column("started_ms", sa.BigInteger()),
        sa.Column("duration_seconds", sa.Float()),
        sa.Column("cached", sa.Boolean(), nullable=False),
        sa.Column("progress_max", sa.Float()),
        sa.Column("error", json),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_nodes_class", "nodes", ["class_id", "prompt_pk"])
    _index_words(op)


_WORDS = (
    "CREATE VIRTUAL TABLE prompt_search USING fts5("
    "search, content='prompts', content_rowid='pk', tokenize='trigram', detail='none', columnsize=0)",
    "CREATE TRIGGER prompt_search_insert AFTER INSERT ON prompts BEGIN "
    "INSERT INTO prompt_search(rowid, search) VALUES (new.pk, new.search); END",
    "CREATE TRIGGER prompt_search_delete AFTER DELETE ON prompts BEGIN "
    "INSERT INTO prompt_search(prompt_search, rowid, search) VALUES ('delete', old.pk, old.search); END",
    "CREATE TRIGGER prompt_search_update AFTER UPDATE OF search ON prompts WHEN new.search IS NOT old.search BEGIN "
    "INSERT INTO prompt_search(prompt_search, rowid, search) VALUES ('delete', old.pk, old.search); "
    "INSERT INTO prompt_search(rowid, search) VALUES (new.pk, new.search); END",
)


def _index_words(op: Operations) -> None:
    """Index every three letters of what is searched, where this is an SQLite that can."""
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        return
    try:
        connection.exec_driver_sql(_WORDS[0])
    except sa.exc.OperationalError:  # built without FTS5, or older than 3.34: a search reads every prompt
        return
    for statement in _WORDS[1:]:
        connection.exec_driver_sql(statement)
