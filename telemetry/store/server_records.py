"""Which servers have written to the store, and on what machines: instances and environments."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, insert, select, update

from ..models.environment import Environment
from ..models.prompt import Instance
from ..models.text import clean, clean_or_none
from ..models.times import milliseconds
from ..process.identity import UNKNOWN, Identity
from .connections import StoreConnections
from .row_reader import RowReader
from .rows import instance_of
from .tables import environments, instances, prompts

MAX_HOSTNAME = 255
EARLIEST_MS = 3_600_000
"""How long before a process was entered it may have queued a prompt, whatever its clock did meanwhile."""


class ServerRecords:
    """Instances and environments. Every method may raise sqlalchemy.exc.DBAPIError, and StoreClosedError."""

    def __init__(self, connections: StoreConnections, rows: RowReader) -> None:
        self._connections = connections
        self._rows = rows

    def add_instance(self, instance: Instance, identity: Identity = UNKNOWN) -> None:
        """Enter a process, unless it is there: what was not answered may have been done.

        `identity` is how others can tell whether it lives.
        """
        if self.instances([instance.id]):
            return
        now = milliseconds(time.time())
        with self._connections.writing() as connection:
            hostname = clean_or_none(instance.hostname, MAX_HOSTNAME)
            row = {"id": instance.id, "hostname": hostname, "port": instance.port, "started_ms": now}
            connection.execute(insert(instances).values({**row, **asdict(identity)}))

    def set_port(self, instance_id: str, port: int) -> None:
        """Say which port a process listens on, which is known only after it has started."""
        with self._connections.writing() as connection:
            connection.execute(update(instances).where(instances.c.id == instance_id).values(port=port))

    def instances(self, ids: Iterable[str]) -> dict[str, Instance]:
        """The processes with these ids."""
        return {row.id: made for row, made in self._rows.made(self._instances(ids), instance_of, "process {id}")}

    def identities(self, ids: Iterable[str]) -> dict[str, Identity]:
        """What tells whether these processes live; of an unknown one there is none."""
        return {row.id: Identity(*map(clean_or_none, (row.machine, row.process))) for row in self._instances(ids)}

    def _instances(self, ids: Iterable[str]) -> Sequence[Row[Any]]:
        with self._connections.reading() as connection:
            return connection.execute(select(instances).where(instances.c.id.in_(set(map(clean, ids))))).all()

    def add_environment(self, environment: Environment, of: str | None = None) -> None:
        """Keep an environment, unless it is there; and give it to what the process `of` ran before it was known."""
        with self._connections.writing() as connection:
            known = select(environments.c.id).where(environments.c.id == environment.id)
            if connection.execute(known).first() is None:
                now = milliseconds(time.time())
                row = {"id": environment.id, "first_seen_ms": now, "data": environment.model_dump()}
                connection.execute(insert(environments).values(row))
            begun = select(instances.c.started_ms).where(instances.c.id == of).scalar_subquery()
            nameless = (
                prompts.c.sort_ms >= begun - EARLIEST_MS,
                prompts.c.instance_id == of,
                prompts.c.environment_id.is_(None),
                prompts.c.started_ms.is_not(None),
            )
            connection.execute(update(prompts).where(*nameless).values(environment_id=environment.id))

    def environment(self, environment_id: str) -> Environment | None:
        """An environment; null where it is not known."""
        with self._connections.reading() as connection:
            row = connection.execute(
                select(environments.c.data).where(environments.c.id == clean(environment_id))
            ).first()
        return None if row is None else Environment.model_validate(row[0])
