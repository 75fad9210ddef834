"""A psycopg connection that waits for no answer for ever.

Time-outs of the server tell nothing where its answers no longer come, and keepalives are answered by whatever stands
between: a proxy or a firewall that has forgotten the connection, or holds it and forwards nothing. So the end that
waits has a bound of its own. Imported only where psycopg is there.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg

from .patience import granted

Result = TypeVar("Result")


class SilentServerError(psycopg.OperationalError):
    """The server did not answer in time; the connection is closed, and what was asked may have been done or not."""


class BoundedConnection(psycopg.Connection[Any]):
    """`answer_seconds` bounds each wait for the server, unless the caller's patience says otherwise; null is no bound.

    After a silence the connection is closed, and SilentServerError raised.
    """

    answer_seconds: float | None = None

    def wait(self, gen: Generator[Any, Any, Result], *args: Any, **kwargs: Any) -> Result:
        """Bring an exchange with the server to its end."""
        own = granted()
        seconds = self.answer_seconds if own is None else own
        if seconds is None:
            return super().wait(gen, *args, **kwargs)
        try:
            return super().wait(_until(gen, time.monotonic() + seconds, seconds), *args, **kwargs)
        except SilentServerError:
            self.pgconn.finish()
            raise


def _until(gen: Generator[Any, Any, Result], deadline: float, seconds: float) -> Generator[Any, Any, Result]:
    """The same exchange, given up at a moment of the monotonic clock: psycopg looks in several times a second."""
    try:
        asked = next(gen)
        while True:
            ready = yield asked
            if time.monotonic() >= deadline and not ready:
                raise SilentServerError(f"the database server has not answered for {seconds:g} seconds")
            asked = gen.send(ready)
    except StopIteration as end:
        result: Result = end.value
        return result
