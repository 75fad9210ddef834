"""Whose fault a database's error is: the record's own, which no retry mends, or the database's, which may be over soon.

PostgreSQL says so by SQLSTATE (its documentation, appendix A), SQLite by the class of the error and its words.
"""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from .database import is_corrupt
from .errors import StoreClosedError

RECORD_CLASSES = frozenset({"21", "22", "23", "44", "54", "P0"})
"""Cardinality, data, integrity, a check, a limit such as an index row's size, and what a trigger refuses."""
RECORD_STATES = frozenset({"42804", "42846"})
"""A type that doesn't fit. The rest of class 42 is about tables and rights: another migration or grant mends it."""


STORE_CLASSES = frozenset({"08", "25", "28", "3D", "42", "53", "57", "58"})
"""Connections, a server that only reads, rights, a missing table, resources, an operator, the system."""
CANCELED = "57014"
"""A statement took too long: that may be what it had to write."""
_STORE_CODES = frozenset({5, 6, 8, 10, 13, 14})
"""SQLite's BUSY, LOCKED, READONLY, IOERR, FULL and CANTOPEN."""
_STORE_WORDS = ("locked", "readonly", "disk i/o", "is full", "unable to open")
"""The same in words: Python 3.10 doesn't tell the code."""


def is_fault_of_store(error: BaseException) -> bool:
    """Whether an error is surely one of where it was to be written, so that nothing else can be written now either.

    What is neither this nor `is_fault_of_data` may be either: only another write tells.
    """
    if isinstance(error, DBAPIError):
        if error.connection_invalidated or is_corrupt(error):
            return True
        state = getattr(error.orig, "sqlstate", None)
        if state is not None:
            return state[:2] in STORE_CLASSES and state != CANCELED
        if type(error.orig).__module__.startswith("psycopg"):  # nothing came back: a connection that is not to be had
            return "OperationalError" in {kind.__name__ for kind in type(error.orig).__mro__}
        code = getattr(error.orig, "sqlite_errorcode", None)
        said = str(error.orig).lower()
        return (code is not None and code & 0xFF in _STORE_CODES) or any(words in said for words in _STORE_WORDS)
    return isinstance(error, (OSError, StoreClosedError))


def is_fault_of_data(error: BaseException) -> bool:
    """Whether an error is one of what was to be written, and not of where: trying again would not help.

    Everything that is not known to be the record's own is the server's: connections (08), resources (53), an
    operator (57), the system (58), conflicts (40), a server that only reads (25006), rights and missing tables (42).
    """
    if isinstance(error, DBAPIError):
        return _refused_by_database(error)
    if isinstance(error, StatementError):
        return True
    return isinstance(error, (ValueError, TypeError, OverflowError, RecursionError))


def is_no_answer(error: BaseException) -> bool:
    """Whether an error says that a question gets no answer now, so that it is worth asking again."""
    if isinstance(error, DBAPIError):
        return not is_fault_of_data(error)
    return isinstance(error, (StoreClosedError, PoolTimeoutError))


def _refused_by_database(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return False
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return state[:2] in RECORD_CLASSES or state in RECORD_STATES
    names = {kind.__name__ for kind in type(error.orig).__mro__}
    if type(error.orig).__module__.startswith("psycopg"):  # refused before it was sent: NUL in a text, an odd type
        return bool(names & {"DataError", "ProgrammingError", "NotSupportedError"})
    if "ProgrammingError" in names:
        return "binding" in str(error.orig)
    return bool(names & {"DataError", "IntegrityError", "InterfaceError"})
