"""Figures of GPU and memory: of prompts and of nodes, and the curves of prompts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0003"
down_revision: str | None = "0002"


def upgrade(op: Operations) -> None:
    """Add the columns, and the table of curves: read on demand alone, so that no page of prompts carries them."""
    op.add_column("prompts", sa.Column("figures", sa.JSON(none_as_null=True)))
    op.add_column("nodes", sa.Column("vram_used_peak_bytes", sa.BigInteger()))
    op.add_column("nodes", sa.Column("vram_delta_bytes", sa.BigInteger()))
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "samples",
        sa.Column("prompt_pk", key, sa.ForeignKey("prompts.pk", ondelete="CASCADE"), primary_key=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )
