"""When the process of a running prompt was last seen to live."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0007"
down_revision: str | None = "0006"


def upgrade(op: Operations) -> None:
    """Add the column; of prompts that were abandoned before, nobody knows it."""
    op.add_column("prompts", sa.Column("seen_ms", sa.BigInteger))
