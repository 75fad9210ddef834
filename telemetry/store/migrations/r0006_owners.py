"""Whose a record's files are, who lives, and which outputs ComfyUI refused."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0006"
down_revision: str | None = "0005"


def upgrade(op: Operations) -> None:
    """Add the columns, and the index by which ended prompts are found whose markers are still to be written."""
    op.add_column("prompts", sa.Column("output_root", sa.String(64)))
    op.add_column("prompts", sa.Column("refused", sa.JSON(none_as_null=True)))
    op.add_column("instances", sa.Column("machine", sa.String(64)))
    op.add_column("instances", sa.Column("process", sa.String(200)))
    planned = sa.text("plan IS NOT NULL")
    op.create_index("ix_prompts_plan", "prompts", ["pk"], sqlite_where=planned, postgresql_where=planned)
