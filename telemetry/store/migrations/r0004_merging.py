"""The search index is put in order by us, in small batches, and no more by whichever record comes when it is due."""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import Connection

revision = "0004"
down_revision: str | None = "0003"
MOST_SEGMENTS = 1000
"""So many pieces of one size may wait to be merged (SQLite's limit is 2000) before a record has to wait for it."""


def upgrade(op: Operations) -> None:
    """Switch the merging within transactions off."""
    connection: Connection = op.get_bind()
    if connection.dialect.name == "sqlite" and connection.dialect.has_table(connection, "prompt_search"):
        for name, value in (("automerge", 0), ("crisismerge", MOST_SEGMENTS)):
            connection.exec_driver_sql(
                "INSERT INTO prompt_search(prompt_search, rank) VALUES (?, ?)",  # a setting of the index, not a row
                (name, value),
            )
