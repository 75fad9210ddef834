"""How long whoever asks is ready to wait for a database server, where that is not what its connection says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_granted: ContextVar[float | None] = ContextVar("run_recorder_patience", default=None)


@contextlib.contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Wait so many seconds for each answer of a server, on this thread and in this block; SQLite has no server."""
    token = _granted.set(seconds)
    try:
        yield
    finally:
        _granted.reset(token)


def granted() -> float | None:
    """Seconds; null where nobody has said otherwise than the connection."""
    return _granted.get()
