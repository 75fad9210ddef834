"""Names of node classes as small numbers: a name stands once in the store, however often its class ran."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Engine, insert, select
from sqlalchemy.exc import IntegrityError

from .tables import classes


class ClassNames:
    """The numbers of classes, in one database. Forget this object together with its database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[str, int] = {}

    def numbers_of(self, names: Iterable[str]) -> dict[str, int]:
        """The number of each name; one that is new is entered, in a transaction of its own."""
        wanted = set(names)
        for name in sorted(wanted - self._known.keys()):
            self._known[name] = self._find(name) or self._enter(name)
        return {name: self._known[name] for name in wanted}

    def _find(self, name: str) -> int | None:
        with self._engine.execution_options(run_recorder_reads=True).connect() as connection:
            return connection.execute(select(classes.c.id).where(classes.c.name == name)).scalar()

    def _enter(self, name: str) -> int:
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(classes), {"name": name})
        except IntegrityError:  # another server was quicker
            pass
        found = self._find(name)
        if found is None:
            raise RuntimeError("the database gave no number to a new class")
        return found
