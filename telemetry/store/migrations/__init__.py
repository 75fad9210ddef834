"""Brings a database to the newest schema, by Alembic's operations.

Never by `alembic.command`: its `op` and `context` are process-wide, and ComfyUI runs its own upgrade in the same
process right after custom nodes are loaded. So a revision is given its `op`, and this file walks the revisions.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Column, Connection, String, column, select, table

REVISIONS: tuple[ModuleType, ...] = tuple(
    importlib.import_module(f".{found.name}", __name__)
    for found in sorted(pkgutil.iter_modules(__path__), key=lambda found: found.name)
)
"""Every file beside this one, in the order of their names; each has `revision`, `down_revision` and `upgrade(op)`."""
VERSION_TABLE = "run_recorder_version"
HEAD: str = REVISIONS[-1].revision
_version = table(VERSION_TABLE, column("version_num"))


class NewerDatabaseError(RuntimeError):
    """The database was made by a newer version of this package."""


class OlderDatabaseError(RuntimeError):
    """The database was made by an older version of this package, and was to be read without being changed."""


def require_newest(connection: Connection) -> None:
    """Raises OlderDatabaseError or NewerDatabaseError for a database that is not at the newest revision."""
    at = current_revision(connection)
    if at == HEAD:
        return
    if at in [None, *(revision.revision for revision in REVISIONS)]:
        raise OlderDatabaseError(f"the database is at revision {at or 'none'}; this version reads {HEAD}")
    raise NewerDatabaseError(f"the database is at revision {at}; this version knows only up to {HEAD}")


def current_revision(connection: Connection) -> str | None:
    """The revision that a database is at; null for an empty one."""
    if not connection.dialect.has_table(connection, VERSION_TABLE):
        return None
    return connection.execute(select(_version.c.version_num)).scalar()


def upgrade(connection: Connection) -> list[str]:
    """Run the revisions that a database lacks, in the caller's transaction; their names.

    Raises NewerDatabaseError for one that is at a revision that we don't know.
    """
    known = [revision.revision for revision in REVISIONS]
    at = current_revision(connection)
    if at is not None and at not in known:
        raise NewerDatabaseError(f"the database is at revision {at}; this version knows only up to {HEAD}")
    missing = REVISIONS[0 if at is None else known.index(at) + 1 :]
    if not missing:
        return []
    op = Operations(MigrationContext.configure(connection))
    for revision in missing:
        revision.upgrade(op)
    if at is None:
        if not connection.dialect.has_table(connection, VERSION_TABLE):
            op.create_table(VERSION_TABLE, Column("version_num", String(32), primary_key=True))
        connection.execute(_version.insert().values(version_num=HEAD))
    else:
        connection.execute(_version.update().values(version_num=HEAD))
    return [revision.revision for revision in missing]


__all__ = [
    "HEAD",
    "REVISIONS",
    "VERSION_TABLE",
    "NewerDatabaseError",
    "OlderDatabaseError",
    "current_revision",
    "require_newest",
    "upgrade",
]
