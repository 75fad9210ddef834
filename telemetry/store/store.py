"""The durable half of the recorder: what is kept, and every question that is asked of it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError
from sqlalchemy import (
    Connection,
    Row,
    RowMapping,
    Select,
    bindparam,
    delete,
    func,
    insert,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError

from ..live.stream import StreamEvent
from ..markers.folder import FileStamp
from ..markers.outputs import ReportedFile
from ..models.base import OPEN_STATUSES
from ..models.environment import Environment
from ..models.listing import Filter, Position
from ..models.prompt import Instance
from ..models.record import NodeRecord, PromptRecord
from ..models.text import clean, clean_or_none, kept_id, storable
from ..models.times import milliseconds
from ..process.identity import UNKNOWN, Identity
from . import kept_events, word_index
from .bulk import insert_many
from .class_names import ClassNames
from .database import Database
from .doubt import Doubts
from .errors import StoreClosedError, UnreadableRecordError
from .figures import StoreFigures
from .kept_events import WrittenMarkers
from .rows import (
    NODE_CHANGES,
    NODE_COLUMNS,
    instance_of,
    node_change,
    node_record,
    node_row,
    output_file,
    output_row,
    prompt_record,
    prompt_row,
    unread,
)
from .search import SEARCH_TABLE, conditions
from .tables import classes, environments, instances, nodes, outputs, prompts, samples

Made = TypeVar("Made")
NAMES_A_QUERY = 500
MAX_HOSTNAME = 255
LATEST_MS = 10**15 - 1
"""No cursor says more. SQLite puts what is no number before all numbers, so a page begins behind it from here."""
_PAGES = ("page_count", "freelist_count", "page_size")


@dataclass(slots=True)
class Change:
    """What is to be saved of one run."""

    record: PromptRecord
    new_nodes: list[NodeRecord] = field(default_factory=list)
    changed_nodes: list[NodeRecord] = field(default_factory=list)
    outputs: bool = False
    """True where the outputs are final and are to be saved, too."""

    @property
    def was_new(self) -> bool:
        """Whether the store does not have its prompt yet."""
        return self.record.pk is None

    @property
    def new_seqs(self) -> list[int]:
        """The places of its new nodes."""
        return [node.seq for node in self.new_nodes]

    @property
    def has_samples(self) -> bool:
        """Whether a curve is to be saved."""
        return self.record.samples is not None


class Store:
    """Prompts, nodes, outputs, environments and instances in one database.

    Threads that write take turns; any thread may read. Every method may raise sqlalchemy.exc.DBAPIError, and
    StoreClosedError while the database is not open.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._opened = -1
        self._names = ClassNames(database.engine)
        self._indexed = False
        self._turn = threading.Lock()
        """Held while a transaction writes: SQLite's own way to wait for one is to look again at growing intervals."""
        self._doubts = Doubts()
        self.figures = StoreFigures()
        self.unkept = 0
        """Rows changed since the last upkeep."""
        self._owes_words = False
        self.on_damaged: Callable[[str, str], None] = lambda _which, _what: None
        """Told of every row that is read and damaged: which it is, and what is the matter. The others are read."""

    def _require_open(self) -> None:
        if not self.database.is_open:
            raise StoreClosedError("the store is not open; /telemetry/health says why")
        if self._opened != self.database.opened:
            self._opened = self.database.opened
            self._names = ClassNames(self.database.engine)
            with self.database.engine.connect() as connection:
                self._indexed = connection.dialect.has_table(connection, SEARCH_TABLE)
                self._owes_words = self._indexed and word_index.is_owed(connection)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        self._require_open()
        engine = self.database.engine.execution_options(run_recorder_reads=True)
        if self.database.backend == "postgresql":
            engine = engine.execution_options(isolation_level="REPEATABLE READ")  # prompts and files of one moment
        with engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self, durable: bool = False) -> Iterator[Connection]:
        self._require_open()
        with self._turn, self.database.engine.connect() as connection:
            self.database.set_durable(connection, durable)
            before = self.database.changes(connection)
            with connection.begin():
                yield connection
            self.unkept += self.database.changes(connection) - before

    # ------------------------------------------------------------ writing

    def save(
        self,
        changes: Sequence[Change],
        *,
        durable: bool = False,
        news: Sequence[StreamEvent] = (),
        untrue: Sequence[WrittenMarkers] = (),
    ) -> None:
        """Save some runs in one transaction; with `durable` it is on the disk when this returns.

        `news` are numbered events; those that outlive the process are saved, too. `untrue` are taken back.
        """
        self._require_open()
        keys: list[int] = []
        new = {node.class_type for change in changes for node in change.new_nodes if node.class_type is not None}
        numbers = self._names.numbers_of(map(clean, new))
        try:
            with self._writing(durable) as connection:
                if self._doubts:
                    self._doubts.undo(connection)
                for change in changes:
                    keys.append(_save(connection, change, numbers))
                kept_events.keep(connection, news)
                for events in untrue:
                    kept_events.retract(connection, events)
        except DBAPIError as error:
            if error.connection_invalidated and len(keys) == len(changes):
                self._doubts.add(zip(changes, keys, strict=True), [event.number for event in news])
            raise
        self._doubts.forget()
        self.figures.wrote(sum(change.record.pk is None for change in changes), self.database.bytes())
        for change, key in zip(changes, keys, strict=True):  # a key says that a record is committed, so not before
            change.record.pk, change.record.samples = key, None

    def events(self) -> list[StreamEvent]:
        """The newest events that were kept, oldest first."""
        with self._reading() as connection:
            rows = kept_events.newest(connection)
            return [event for _, event in self._each(rows, kept_events.event_of, "event {number}")]

    def reserve_numbers(self, count: int, at_least: int = 1) -> int:
        """Reserve a block of event numbers for this process alone; the first of them. Also lets go of old events."""
        with self._writing() as connection:
            return kept_events.reserve(connection, count, at_least)

    def add_instance(self, instance: Instance, identity: Identity = UNKNOWN) -> None:
        """Enter a process, unless it is there: what was not answered may have been done.

        `identity` is how others can tell whether it lives.
        """
        if self.instances([instance.id]):
            return
        now = milliseconds(time.time())
        with self._writing() as connection:
            hostname = clean_or_none(instance.hostname, MAX_HOSTNAME)
            row = {"id": instance.id, "hostname": hostname, "port": instance.port, "started_ms": now}
            connection.execute(insert(instances).values({**row, **asdict(identity)}))

    def set_port(self, instance_id: str, port: int) -> None:
        """Say which port a process listens on, which is known only after it has started."""
        with self._writing() as connection:
            connection.execute(update(instances).where(instances.c.id == instance_id).values(port=port))

    def add_environment(self, environment: Environment) -> None:
        """Keep an environment, unless it is there."""
        with self._writing() as connection:
            known = select(environments.c.id).where(environments.c.id == environment.id)
            if connection.execute(known).first() is None:
                now = milliseconds(time.time())
                row = {"id": environment.id, "first_seen_ms": now, "data": environment.model_dump()}
                connection.execute(insert(environments).values(row))

    def try_to_write(self) -> None:
        """Write something that changes nothing; raises where nothing can be written now."""
        with self._writing() as connection:
            kept_events.touch(connection)

    def clear_pending(self, keys: Sequence[int]) -> None:
        """Note that the markers of these runs are in place."""
        with self._writing() as connection:
            connection.execute(update(prompts).where(prompts.c.pk.in_(keys)).values(pending=null()))

    def erase_prompt(self, prompt_id: str, run_number: int | None = None) -> int:
        """Erase an ended prompt (all its runs, or one) with its events; how many runs were there."""
        prompt_id = kept_id(prompt_id)
        which = [prompts.c.prompt_id == prompt_id, prompts.c.status.not_in(OPEN_STATUSES)]
        if run_number is not None:
            which.append(prompts.c.run_number == storable(run_number, 32))
        with self._writing() as connection:
            gone = connection.execute(delete(prompts).where(*which)).rowcount
            kept_events.erase(connection, {prompt_id})
            self._owe_words(connection, gone)
        self.figures.wrote(-gone, self.database.bytes())
        return gone

    def has_open(self, prompt_id: str, run_number: int | None = None) -> bool:
        """Whether a run (that one, or any) of an id is queued or running, on any server."""
        query = select(prompts.c.pk).where(
            prompts.c.prompt_id == kept_id(prompt_id), prompts.c.status.in_(OPEN_STATUSES)
        )
        if run_number is not None:
            query = query.where(prompts.c.run_number == storable(run_number, 32))
        with self._reading() as connection:
            return connection.execute(query.limit(1)).first() is not None

    def delete_oldest(self, most: int, before_ms: int | None = None, *, erasing: bool = False) -> int:
        """Delete at most so many of the oldest ended prompts, of those queued before a time; how many there were.

        With `erasing` their events go, too.
        """
        oldest = select(prompts.c.pk, prompts.c.prompt_id).where(prompts.c.status.not_in(OPEN_STATUSES))
        if before_ms is not None:
            oldest = oldest.where(prompts.c.sort_ms < storable(before_ms))
        oldest = oldest.order_by(prompts.c.sort_ms, prompts.c.pk).limit(most)
        with self._writing() as connection:
            found = connection.execute(oldest).all()
            if not found:
                return 0
            if erasing:
                kept_events.erase(connection, {row.prompt_id for row in found}, but_of=[row.pk for row in found])
            gone = connection.execute(delete(prompts).where(prompts.c.pk.in_([row.pk for row in found]))).rowcount
            if erasing:
                self._owe_words(connection, gone)
        self.figures.wrote(-gone, self.database.bytes())
        return gone

    def newest_ms(self, until_ms: int, but_of: str | None = None) -> int | None:
        """When the newest run was queued that is not later than a time, in milliseconds since 1970; null for none.

        Runs of the process `but_of` don't count.
        """
        query = select(prompts.c.sort_ms).where(prompts.c.sort_ms <= storable(until_ms))
        if but_of is not None:
            query = query.where(prompts.c.instance_id != but_of)
        with self._reading() as connection:
            return connection.execute(query.order_by(prompts.c.sort_ms.desc()).limit(1)).scalar()

    def known(self, prompt_ids: Iterable[str]) -> set[str]:
        """Which of these prompts are kept."""
        wanted, found = list(map(kept_id, prompt_ids)), set[str]()
        with self._reading() as connection:
            for start in range(0, len(wanted), NAMES_A_QUERY):
                query = select(prompts.c.prompt_id).where(
                    prompts.c.prompt_id.in_(wanted[start : start + NAMES_A_QUERY])
                )
                found.update(connection.execute(query).scalars())
        return found

    def forget_log(self) -> None:
        """Empty SQLite's log, in which what was erased may still stand."""
        self.database.empty_log()

    @property
    def owes_words(self) -> bool:
        """Whether letters of what was erased may still be in the search index."""
        self._require_open()
        return self._owes_words

    def _owe_words(self, connection: Connection, gone: int) -> None:
        if gone and self._indexed:
            word_index.owe(connection)
            self._owes_words = True

    def merge_words(self, pages: int) -> bool:
        """Put about so many pages of the search index in order; whether that found anything to do.

        Negative pages begin to merge all of it into one piece, from which what was erased is gone.
        """
        self._require_open()
        if not self._indexed:
            return False
        with self._writing() as connection:
            before = self.database.changes(connection)
            word_index.merge(connection, pages)
            return self.database.changes(connection) - before >= word_index.LEAST_MERGED

    def words_are_gone(self) -> None:
        """Note that what was erased has left the search index."""
        self._owes_words = False
        with self._writing() as connection:
            word_index.done(connection)

    # ------------------------------------------------------------ reading

    def used_bytes(self) -> int:
        """How much of the database is in use, without what deleted records have left free in it; 0 where unknown."""
        if self.database.backend != "sqlite":
            return 0
        with self._reading() as connection:
            figures = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in _PAGES]
        pages, free, size = (int(figure or 0) for figure in figures)
        return (pages - free) * size

    def export(self, batch: int = 200) -> Iterator[tuple[PromptRecord, list[NodeRecord]]]:
        """Every prompt with its nodes, oldest first."""
        last = 0
        while True:
            with self._reading() as connection:
                query = select(prompts).where(prompts.c.pk > last).order_by(prompts.c.pk).limit(batch)
                rows = connection.execute(query).all()
                found = self._records(connection, rows)
            for record in found:
                yield record, self.nodes(record.pk or 0)
            if not rows:
                return
            last = rows[-1].pk

    def record(self, prompt_id: str, run_number: int | None = None) -> PromptRecord | None:
        """A prompt with its outputs: that run, else the newest; null where it is not known.

        Raises UnreadableRecordError.
        """
        query = select(prompts).where(prompts.c.prompt_id == kept_id(prompt_id))
        if run_number is not None:
            query = query.where(prompts.c.run_number == storable(run_number, 32))
        with self._reading() as connection:
            rows = connection.execute(query.order_by(prompts.c.run_number.desc()).limit(1)).all()
            found = self._records(connection, rows)
        if rows and not found:
            raise UnreadableRecordError("this prompt's record can't be read; health names it")
        return found[0] if found else None

    def page(self, wanted: Filter, limit: int, after: Position | None = None) -> list[PromptRecord]:
        """At most `limit` prompts, newest first; fewer on the last page alone."""
        found: list[PromptRecord] = []
        with self._reading() as connection:
            query = select(prompts).where(*conditions(connection, wanted, self._indexed))
            query = query.order_by(prompts.c.sort_ms.desc(), prompts.c.pk.desc())
            while room := limit - len(found):
                rows = connection.execute(_after(query, after).limit(room)).all()
                found += self._records(connection, rows)
                if len(rows) < room:
                    break
                after = _position(rows[-1].sort_ms, rows[-1].pk)
        return found

    def position(self, pk: int) -> Position | None:
        """Where a prompt stands in the list."""
        with self._reading() as connection:
            row = connection.execute(select(prompts.c.sort_ms).where(prompts.c.pk == pk)).first()
        return None if row is None else _position(row.sort_ms, pk)

    def nodes(self, pk: int) -> list[NodeRecord]:
        """A prompt's nodes in the order in which they ran."""
        named = select(nodes, classes.c.name.label("class_type")).outerjoin(classes)
        query = named.where(nodes.c.prompt_pk == pk).order_by(nodes.c.seq)
        with self._reading() as connection:
            rows = connection.execute(query)
            return [node for _, node in self._each(rows, node_record, "record {prompt_pk}, node {seq}")]

    def samples(self, pk: int) -> bytes | None:
        """A prompt's encoded curve; null where none was kept."""
        with self._reading() as connection:
            return connection.execute(select(samples.c.data).where(samples.c.prompt_pk == pk)).scalar()

    def environment(self, environment_id: str) -> Environment | None:
        """An environment; null where it is not known."""
        with self._reading() as connection:
            row = connection.execute(
                select(environments.c.data).where(environments.c.id == clean(environment_id))
            ).first()
        return None if row is None else Environment.model_validate(row[0])

    def instances(self, ids: Iterable[str]) -> dict[str, Instance]:
        """The processes with these ids."""
        return {row.id: made for row, made in self._each(self._instances(ids), instance_of, "process {id}")}

    def identities(self, ids: Iterable[str]) -> dict[str, Identity]:
        """What tells whether these processes live; of an unknown one there is none."""
        return {row.id: Identity(*map(clean_or_none, (row.machine, row.process))) for row in self._instances(ids)}

    def _instances(self, ids: Iterable[str]) -> Sequence[Row[Any]]:
        with self._reading() as connection:
            return connection.execute(select(instances).where(instances.c.id.in_(set(map(clean, ids))))).all()

    def last_run_number(self, prompt_id: str) -> int:
        """The highest run number of a prompt id; 0 for none."""
        query = select(func.max(prompts.c.run_number)).where(prompts.c.prompt_id == kept_id(prompt_id))
        query = query.where(prompts.c.run_number <= 2**31 - 1)  # for SQLite a text is more than any number
        with self._reading() as connection:
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
        with self._reading() as connection:
            found = self._records(connection, connection.execute(query.order_by(prompts.c.pk).limit(1)).all())
        return found[0] if found else None

    def unsettled(self) -> list[PromptRecord]:
        """Every prompt that is queued or running, or whose markers may not be in place or not be decided yet."""
        waiting = select(prompts.c.pk).where(prompts.c.pending.is_not(None))
        undecided = select(prompts.c.pk).where(prompts.c.plan.is_not(None))
        unfinished = select(prompts.c.pk).where(prompts.c.status.in_(OPEN_STATUSES))
        query = select(prompts).where(prompts.c.pk.in_(unfinished.union(waiting, undecided)))
        with self._reading() as connection:
            rows = connection.execute(query.order_by(prompts.c.sort_ms, prompts.c.pk)).all()
            return self._records(connection, rows)

    def listed(self, subfolder: str, filenames: Iterable[str]) -> set[tuple[str, FileStamp]]:
        """Which versions of these files in this folder earlier records list."""
        found: set[tuple[str, FileStamp]] = set()
        names = [clean(name) for name in filenames]
        with self._reading() as connection:
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
        with self._reading() as connection:
            return [file for _, file in self._each(connection.execute(query), output_file, _OUTPUT)]

    def _records(self, connection: Connection, rows: Sequence[Row[Any]]) -> list[PromptRecord]:
        """The records of some rows of `prompts`, with their outputs."""
        found: dict[int, PromptRecord] = {}
        for row, record in self._each(rows, prompt_record, "record {pk}, prompt {prompt_id}"):
            found[row.pk] = record
            if record.damaged:
                self.on_damaged(f"record {row.pk}, prompt {row.prompt_id}", f"told without {', '.join(record.damaged)}")
        files = select(outputs).where(outputs.c.prompt_pk.in_(found)).order_by(outputs.c.prompt_pk, outputs.c.seq)
        if found:
            for row, file in self._each(connection.execute(files), output_file, _OUTPUT):
                found[row.prompt_pk].outputs.append(file)
        return list(found.values())

    def _each(
        self, rows: Iterable[Row[Any]], make: Callable[[RowMapping], Made], name: str
    ) -> Iterator[tuple[Row[Any], Made]]:
        """What is made of each row. One that can't be read is left out, and told by its `name`."""
        for row in rows:
            try:
                yield row, make(row._mapping)
            except ValidationError as error:
                self.on_damaged(name.format_map(row._mapping), f"left out for its {', '.join(unread(error))}")

    def look(self) -> None:
        """Count anew what `figures` tells."""
        self.figures.look(self.count, self.database.bytes)

    def count(self) -> int:
        """How many runs are kept."""
        with self._reading() as connection:
            return connection.execute(select(func.count()).select_from(prompts)).scalar() or 0


_OUTPUT = "record {prompt_pk}, output {seq}"


def _after(query: Select[Any], after: Position | None) -> Select[Any]:
    if after is None:
        return query
    at, pk = storable(after.sort_ms), storable(after.pk)
    # The first condition follows from the second; it is what the index is searched by.
    return query.where(prompts.c.sort_ms <= at, or_(prompts.c.sort_ms < at, prompts.c.pk < pk))


def _position(sort_ms: object, pk: int) -> Position:
    at = sort_ms if isinstance(sort_ms, (int, float)) else LATEST_MS
    return Position(math.floor(max(-(2.0**63), min(at, LATEST_MS))), pk)


def _save(connection: Connection, change: Change, numbers: Mapping[str, int]) -> int:
    """Save one run within a transaction; its key."""
    record = change.record
    row = prompt_row(record, milliseconds(time.time()))
    key = record.pk
    if key is None:
        made = connection.execute(insert(prompts), row).inserted_primary_key
        key = made[0] if made is not None else None
    else:
        connection.execute(_UPDATE_PROMPT, {**row, "the_pk": key})
    if key is None:
        raise RuntimeError("the database gave no key to a new prompt")
    if change.new_nodes:
        rows = [node_row(key, node, numbers.get(clean(node.class_type or ""))) for node in change.new_nodes]
        insert_many(connection, nodes, NODE_COLUMNS, rows)
    if change.changed_nodes:
        connection.execute(_UPDATE_NODE, [_node_change(key, node) for node in change.changed_nodes])
    if change.outputs and record.outputs:
        connection.execute(insert(outputs), [output_row(key, seq, file) for seq, file in enumerate(record.outputs)])
    if record.samples is not None:
        _save_curve(connection, key, record.samples)
    return key


def _save_curve(connection: Connection, pk: int, data: bytes) -> None:
    if not connection.execute(_UPDATE_SAMPLES, {"the_pk": pk, "new_data": data}).rowcount:
        connection.execute(insert(samples), {"prompt_pk": pk, "data": data})


_UPDATE_PROMPT = update(prompts).where(prompts.c.pk == bindparam("the_pk"))
_UPDATE_SAMPLES = update(samples).where(samples.c.prompt_pk == bindparam("the_pk")).values(data=bindparam("new_data"))
_UPDATE_NODE = (
    update(nodes)
    .where(nodes.c.prompt_pk == bindparam("the_pk"), nodes.c.seq == bindparam("the_seq"))
    .values({name: bindparam(f"new_{name}") for name in NODE_CHANGES})
)


def _node_change(pk: int, node: NodeRecord) -> dict[str, object]:
    changes = {f"new_{name}": value for name, value in node_change(node).items()}
    return {"the_pk": pk, "the_seq": node.seq, **changes}
