"""What the recorder asks of earlier runs, and of those that are still open: which there are, and what they saved."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import func, select

from ..markers.folder import FileStamp
from ..markers.outputs import ReportedFile
from ..models.base import OPEN_STATUSES
from ..models.record import PromptRecord
from ..models.text import clean, kept_id, storable
from .connections import StoreConnections
from .row_reader import OUTPUT_ROW, RowReader
from .rows import output_file
from .tables import outputs, prompts

NAMES_A_QUERY = 500


class RunHistory:
    """Reads about earlier runs. Every method may raise sqlalchemy.exc.DBAPIError, and StoreClosedError."""

    def __init__(self, connections: StoreConnections, rows: RowReader) -> None:
        self._connections = connections
        self._rows = rows

    def known(self, prompt_ids: Iterable[str]) -> set[str]:
        """Which of these prompts are kept."""
        wanted, found = list(map(kept_id, prompt_ids)), set[str]()
        with self._connections.reading() as connection:
            for start in range(0, len(wanted), NAMES_A_QUERY):
                query = select(prompts.c.prompt_id).where(
                    prompts.c.prompt_id.in_(wanted[start : start + NAMES_A_QUERY])
                )
                found.update(connection.execute(query).scalars())
        return found

    def has_open(self, prompt_id: str, run_number: int | None = None) -> bool:
        """Whether a run (that one, or any) of an id is queued or running, on any server."""
        query = select(prompts.c.pk).where(
            prompts.c.prompt_id == kept_id(prompt_id), prompts.c.status.in_(OPEN_STATUSES)
        )
        if run_number is not None:
            query = query.where(prompts.c.run_number == storable(run_number, 32))
        with self._connections.reading() as connection:
            return connection.execute(query.limit(1)).first() is not None

    def last_run_number(self, prompt_id: str) -> int:
        """The highest run number of a prompt id; 0 for none."""
        query = select(func.max(prompts.c.run_number)).where(prompts.c.prompt_id == kept_id(prompt_id))
        query = query.where(prompts.c.run_number <= 2**31 - 1)  # for SQLite a text is more than any number
        with self._connections.reading() as connection:
            return connection.execute(query).scalar() or 0

    def find_run(
        self, instance_id: str, prompt_id: str, queued_ms: int | None, queue_number: float | None
    ) -> PromptRecord | None:
        """The run of a process that was queued at this time; null where it is not known."""
        query = select(prompts).where(
            prompts.c.prompt_id == prompt_id,
            prompts.c.instance_id == instance_id,
            prompts.c.queued_ms.is_not_distinct_from(queued_ms),
            prompts.c.queue_number.is_not_distinct_from(queue_number),
        )
        with self._connections.reading() as connection:
            found = self._rows.records(connection, connection.execute(query.order_by(prompts.c.pk).limit(1)).all())
        return found[0] if found else None

    def unsettled(self) -> list[PromptRecord]:
        """Every prompt that is queued or running, or whose markers may not be in place or not be decided yet."""
        waiting = select(prompts.c.pk).where(prompts.c.pending.is_not(None))
        undecided = select(prompts.c.pk).where(prompts.c.plan.is_not(None))
        unfinished = select(prompts.c.pk).where(prompts.c.status.in_(OPEN_STATUSES))
        query = select(prompts).where(prompts.c.pk.in_(unfinished.union(waiting, undecided)))
        with self._connections.reading() as connection:
            rows = connection.execute(query.order_by(prompts.c.sort_ms, prompts.c.pk)).all()
            return self._rows.records(connection, rows)

    def newest_ms(self, until_ms: int, but_of: str | None = None) -> int | None:
        """When the newest run was queued that is not later than a time, in milliseconds since 1970; null for none.

        Runs of the process `but_of` don't count.
        """
        query = select(prompts.c.sort_ms).where(prompts.c.sort_ms <= storable(until_ms))
        if but_of is not None:
            query = query.where(prompts.c.instance_id != but_of)
        with self._connections.reading() as connection:
            return connection.execute(query.order_by(prompts.c.sort_ms.desc()).limit(1)).scalar()

    def listed(self, subfolder: str, filenames: Iterable[str]) -> set[tuple[str, FileStamp]]:
        """Which versions of these files in this folder earlier records list."""
        found: set[tuple[str, FileStamp]] = set()
        names = [clean(name) for name in filenames]
        with self._connections.reading() as connection:
            for start in range(0, len(names), NAMES_A_QUERY):
                query = select(outputs).where(
                    outputs.c.filename.in_(names[start : start + NAMES_A_QUERY]),
                    outputs.c.subfolder == clean(subfolder),
                    outputs.c.bytes.is_not(None),
                )
                for row in connection.execute(query):
                    found.add((row.filename, FileStamp(row.bytes, row.modified_ns, row.inode)))
        return found

    def outputs_of_graph(self, digest: str) -> list[ReportedFile]:
        """What the last successful run of exactly this graph saved; empty where there is none."""
        last = (
            select(prompts.c.pk)
            .where(prompts.c.graph_digest == digest, prompts.c.status == "success")
            .order_by(prompts.c.pk.desc())
            .limit(1)
        )
        query = select(outputs).where(outputs.c.prompt_pk == last.scalar_subquery()).order_by(outputs.c.seq)
        with self._connections.reading() as connection:
            return [file for _, file in self._rows.made(connection.execute(query), output_file, OUTPUT_ROW)]
