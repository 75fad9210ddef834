"""The numbers, switches and choices of graphs: each set of them once, however many prompts had it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0009"
down_revision: str | None = "0008"


def upgrade(op: Operations) -> None:
    """Make the table, and the column that leads to it; of prompts that ran before, nobody knows them."""
    op.create_table(
        "settings",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("data", sa.JSON(), nullable=False),
    )
    op.add_column("prompts", sa.Column("settings_id", sa.String(64)))
    op.create_index("ix_prompts_settings", "prompts", ["settings_id"])
