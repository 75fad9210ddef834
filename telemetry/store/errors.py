"""What the store raises of its own; what the database raises is SQLAlchemy's."""

from __future__ import annotations


class StoreClosedError(RuntimeError):
    """The database is not open."""


class UnreadableRecordError(RuntimeError):
    """A record is in the database, and can't be read."""
