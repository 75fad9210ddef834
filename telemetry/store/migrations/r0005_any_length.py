"""Names of any length can be kept in PostgreSQL, whose B-trees take no row of more than 2,704 bytes."""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import Connection

revision = "0005"
down_revision: str | None = "0004"

_STATEMENTS = (
    "ALTER TABLE classes DROP CONSTRAINT classes_name_key",
    "ALTER TABLE classes ADD CONSTRAINT classes_name_key EXCLUDE USING hash (name WITH =)",
    "DROP INDEX ix_outputs_filename",
    "CREATE INDEX ix_outputs_filename ON outputs USING hash (filename)",
)
"""A hash index holds four bytes of each name; an exact name is still found by it, and is still unique."""


def upgrade(op: Operations) -> None:
    """Index names by their hashes; SQLite's own index takes any length and stays as it is."""
    connection: Connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for statement in _STATEMENTS:
            connection.exec_driver_sql(statement)
