"""How a recorder comes to its store: the database, this process' instance, and what dead processes left."""

from __future__ import annotations

import contextlib
import functools
import secrets
from pathlib import Path

from sqlalchemy.exc import ArgumentError, DBAPIError

from ..files.guarded_files import read_regular, write_whole
from ..live.feed import Feed
from ..process.identity import UNKNOWN, this_process
from ..process.problems import Problems
from ..process.redact import redact
from ..store.database import Database, default_url, is_corrupt
from ..store.database_file import make_private_folder
from ..store.instance import InstanceLocks
from ..store.store import Store
from .context import Context
from .host import HostProcess
from .inbox import Inbox
from .set_aside import FOLDER as ASIDE_FOLDER
from .set_aside import SetAside
from .spool import FOLDER as SPOOL_FOLDER
from .spool import Spool, left_in, owner_of
from .writer import Writer

KEY_FILE = "digest.key"
KEY_BYTES = 32
URL_SETTING = "RUN_RECORDER_DATABASE_URL"


class Opening:
    """Opens the store of one recorder, and holds what tells others that this process lives. The writer's thread."""

    def __init__(self, host: HostProcess, problems: Problems) -> None:
        self._host = host
        self._problems = problems
        self._locks: InstanceLocks | None = None
        self._spool_locks: InstanceLocks | None = None

    def context(self, inbox: Inbox, feed: Feed) -> Context:
        """What the recorder's verbs share. The store in it is not open yet."""
        host, folder = self._host, self._host.private_folder
        with contextlib.suppress(OSError):
            make_private_folder(folder)
        database = self._database(folder)
        beside = database.file.parent if database.file is not None else folder
        self._locks = InstanceLocks(beside, shared_with_all=database.file is not None)
        return Context(
            inbox,
            Store(database),
            feed,
            self._problems,
            host,
            self._locks.without_lock(host.port()),
            this_process(),
            digest_key=digest_key(folder),
            clean=self._clean,
        )

    def equip(self, context: Context, writer: Writer) -> None:
        """Give the writer what it keeps records in, and the way to open the store."""
        folder = self._host.private_folder
        writer.open_with(functools.partial(self._open_store, context, writer))
        self._keep_spool(context, writer, folder / SPOOL_FOLDER)
        writer.set_aside_in(SetAside(folder / ASIDE_FOLDER, self._problems))

    def close(self, context: Context) -> None:
        """The process ends: let go of everything."""
        context.store.database.close()
        if context.kept.spool is not None:
            context.kept.spool.close()
        for locks in (self._locks, self._spool_locks):
            if locks is not None:
                locks.end()

    def _clean(self, text: str) -> str:
        return redact(text, [str(folder) for folder in self._host.roots().values()])

    def _database(self, folder: Path) -> Database:
        """The configured database; the default one where the setting is of no use."""
        url = self._host.settings.database_url
        if url is not None:
            try:
                return Database(url)
            except (ArgumentError, ImportError, ValueError) as error:
                hint = f"{URL_SETTING} can't be used; the default takes its place"
                self._problems.report(f"setting {URL_SETTING}", hint, error)
        return Database(default_url(folder))

    def _keep_spool(self, context: Context, writer: Writer, folder: Path) -> None:
        """Be ready to keep what the store can't take; and take over what dead processes left of that."""
        locks = InstanceLocks(folder)
        try:
            owner = locks.begin(None)
        except OSError as error:
            self._problems.report("spool", "what the store can't take at once is not safe from a kill", error)
            return
        self._spool_locks = locks
        writer.keep_spool(Spool(folder, owner.id, context.instance, context.identity))
        dead: dict[str, bool] = {owner.id: False}
        for left, file in left_in(folder):
            owned = owner_of(file)
            if left not in dead and locks.is_dead(left, owned[1] if owned is not None else UNKNOWN):
                dead[left] = True
                writer.inherit(file)
        locks.sweep(dead)

    def _open_store(self, context: Context, writer: Writer) -> None:
        store, problems = context.store, self._problems
        database = store.database
        self._open_database(database)
        if database.on_network:
            hint = "the database is on a network file system: slower, and without WAL; set RUN_RECORDER_DATABASE_URL"
            problems.report("store on a network file system", hint)
        assert self._locks is not None
        try:
            self._locks.hold(context.instance)  # only now: a file that isn't ours gets nothing beside it
        except OSError as error:
            problems.report("instance", "this process can't be told from a dead one by others", error)
        store.servers.add_instance(context.instance, context.identity)
        store.look()
        context.stream.begin(store.events.newest())
        self._adopt_dead(context, writer, self._locks)
        problems.solved("store")
        context.upkeep_due.set()

    def _open_database(self, database: Database) -> None:
        """Open it; a corrupt one is set aside, never deleted, and a new one takes its place."""
        try:
            database.open()
        except DBAPIError as error:
            aside = database.set_aside() if is_corrupt(error) else None
            if aside is None:
                raise
            hint = f"the database was corrupt; it is kept as {aside.name} beside the new one"
            self._problems.report("store corrupt", hint, error)
            database.open()

    @staticmethod
    def _adopt_dead(context: Context, writer: Writer, locks: InstanceLocks) -> None:
        dead: dict[str, bool] = {context.instance.id: False}
        unsettled = context.store.history.unsettled()
        known = context.store.servers.identities({record.instance_id for record in unsettled})
        for record in unsettled:
            owner = record.instance_id
            if owner not in dead:
                dead[owner] = locks.is_dead(owner, known.get(owner, UNKNOWN))
            if dead[owner]:
                writer.adopt(record, known.get(owner, UNKNOWN))
        locks.sweep(dead)


def digest_key(folder: Path) -> bytes:
    """The key of graph digests, made on the first start; kept beside the database, readable by its user alone.

    What lies in its place and is no key of ours is left as it is; then the key lives as long as this process.
    """
    path = folder / KEY_FILE
    key = secrets.token_bytes(KEY_BYTES)
    try:
        kept = read_regular(path, KEY_BYTES)
    except FileNotFoundError:
        kept = b""
    except OSError:
        return key
    if len(kept) == KEY_BYTES:
        return kept
    if not kept:
        with contextlib.suppress(OSError):
            write_whole(path, key, mode=0o600)
    return key
