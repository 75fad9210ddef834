"""What it was like when a prompt ran: what was loaded, what torch was set to, who else held memory."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0008"
down_revision: str | None = "0007"


def upgrade(op: Operations) -> None:
    """Add the column; of prompts that ran before, nobody knows it."""
    op.add_column("prompts", sa.Column("conditions", sa.JSON))
