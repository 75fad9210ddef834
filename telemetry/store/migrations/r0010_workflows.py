"""The runs of a workflow, newest first, without looking at those of others."""

from __future__ import annotations

from alembic.operations import Operations

revision = "0010"
down_revision: str | None = "0009"


def upgrade(op: Operations) -> None:
    """Add the index."""
    op.create_index("ix_prompts_workflow", "prompts", ["workflow_fingerprint", "sort_ms", "pk"])
