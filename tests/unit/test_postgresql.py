"""PostgreSQL keeps what SQLite keeps, and a server that no longer answers is waited for no longer than was said."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from run_recorder.telemetry.live.stream import StreamEvent
from run_recorder.telemetry.markers.outputs import ReportedFile
from run_recorder.telemetry.models.listing import Filter
from run_recorder.telemetry.models.prompt import CurrentNode, Instance
from run_recorder.telemetry.models.record import NodeRecord, PromptRecord
from run_recorder.telemetry.store import postgresql as postgresql_module
from run_recorder.telemetry.store.changes import Change
from run_recorder.telemetry.store.database import Database
from run_recorder.telemetry.store.migrations import HEAD, REVISIONS, VERSION_TABLE
from run_recorder.telemetry.store.patience import patience
from run_recorder.telemetry.store.postgresql import CONNECT, UnfitDatabaseError
from run_recorder.telemetry.store.store import Store
from sqlalchemy import create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ..fakes.stalling_proxy import StallingProxy
from ..older import older
from ..postgres import fresh_database
from .conftest import ON_POSTGRESQL

pytest.importorskip("psycopg")
PREFIX = "postgresql+psycopg://me:pw@host/db"


def set_on(database: Database, name: str) -> Any:
    with database.engine.connect() as connection:
        return connection.exec_driver_sql(f"SELECT current_setting('{name}')").scalar()


# ---------------------------------------------------------------- the URL and its settings


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2"])
def test_any_url_of_postgresql_is_opened_by_the_one_driver_that_can_be_bounded(scheme: str) -> None:
    database = Database(f"{scheme}://me:pw@host/db")
    assert (database.backend, database.engine.dialect.driver, database.file) == ("postgresql", "psycopg", None)


@ON_POSTGRESQL
def test_every_limit_has_a_default(database: Database) -> None:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "application_name")
    assert [set_on(database, name) for name in names] == ["10s", "5s", "30s", "run-recorder"]
    pool: Any = database.engine.pool
    assert (pool.size(), pool._max_overflow, pool._pre_ping, pool.timeout()) == (3, 0, True, 5)
    with database.engine.connect() as connection:
        told = connection.connection.dbapi_connection.info.get_parameters()  # type: ignore[union-attr]
    assert {name: told[name] for name in CONNECT} == CONNECT


@ON_POSTGRESQL
def test_the_url_may_say_otherwise(database_url: str) -> None:
    asked = {
        "connect_timeout": "7",
        "keepalives_idle": "60",
        "statement_timeout": "2000",
        "pool_size": "1",
        "pool_timeout": "1",
        "options": "-c lock_timeout=123",
    }
    database = Database(make_url(database_url).update_query_dict(asked).render_as_string(hide_password=False))
    database.open()
    assert [set_on(database, name) for name in ("statement_timeout", "lock_timeout")] == ["2s", "123ms"]
    with database.engine.connect() as connection:
        raw: Any = connection.connection.dbapi_connection
        told = raw.info.get_parameters()
        assert (told["connect_timeout"], told["keepalives_idle"], told["keepalives_count"]) == ("7", "60", "3")
        assert raw.answer_seconds == 7.0
        began = time.monotonic()
        with pytest.raises(PoolTimeoutError):
            database.engine.connect()
        assert time.monotonic() - began < 4
    database.close()


@ON_POSTGRESQL
def test_no_limit_is_no_limit(database_url: str) -> None:
    database = Database(f"{database_url}?statement_timeout=0")
    with database.engine.connect() as connection:
        raw: Any = connection.connection.dbapi_connection
        assert raw.answer_seconds is None
    database.close()


@pytest.mark.parametrize(
    "name",
    ["pool_size", "pool_timeout", "statement_timeout", "lock_timeout", "connect_timeout", "keepalives_idle"],
)
@pytest.mark.parametrize("value", ["many", "-1", "1e9", "99999999999"])
def test_a_limit_that_is_no_number_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ArgumentError) as refused:
        Database(f"{PREFIX}?{name}={value}")
    assert name in str(refused.value)
    assert "pw" not in str(refused.value)


def test_a_database_in_another_encoding_is_refused(postgresql_server: URL) -> None:
    engine = create_engine(postgresql_server, isolation_level="AUTOCOMMIT")
    with fresh_database(postgresql_server) as url, engine.connect() as connection:
        name = make_url(url).database
        connection.exec_driver_sql(f"DROP DATABASE {name}")
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1'")
        database = Database(url)
        with pytest.raises(UnfitDatabaseError, match="LATIN1"):
            database.open()
        database.close()
    engine.dispose()


# ---------------------------------------------------------------- what is kept


@ON_POSTGRESQL
@pytest.mark.parametrize("known", range(1, len(REVISIONS) + 1))
def test_a_database_of_any_older_version_is_brought_to_the_newest(database_url: str, known: int) -> None:
    database = Database(database_url)
    with older(REVISIONS[known - 1].revision):
        database.open()
    assert database.open() == [revision.revision for revision in REVISIONS[known:]]
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar() == HEAD
    database.close()


@ON_POSTGRESQL
def test_two_servers_that_start_at_once_upgrade_one_after_the_other(database_url: str) -> None:
    failed: list[BaseException] = []

    def start() -> None:
        database = Database(database_url)
        try:
            database.open()
        except BaseException as error:
            failed.append(error)
        database.close()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


@ON_POSTGRESQL
def test_exact_names_are_found_by_their_index(store: Store) -> None:
    with store.database.engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        for query, index in (
            ("SELECT 1 FROM outputs WHERE filename = 'x'", "ix_outputs_filename"),
            ("SELECT 1 FROM outputs WHERE filename IN ('x', 'y')", "ix_outputs_filename"),
            ("SELECT 1 FROM classes WHERE name = 'x'", "classes_name_key"),
        ):
            plan = "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {query}"))
            assert index in plan, plan


# ---------------------------------------------------------------- a server that falls silent


@pytest.fixture
def silent(postgresql_server: URL, postgresql_url: str) -> Iterator[tuple[Store, StallingProxy]]:
    """A store behind a proxy, with small limits: two seconds for a statement, and as long for the pool."""
    assert postgresql_server.port is not None
    proxy = StallingProxy(postgresql_server.port)
    limits = {"statement_timeout": "1000", "connect_timeout": "2", "pool_timeout": "1"}
    url = make_url(postgresql_url).set(host="127.0.0.1", port=proxy.port).update_query_dict(limits)
    database = Database(url.render_as_string(hide_password=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgresql_module, "ANSWER_SLACK_SECONDS", 0.5)
        database.open()
        store = Store(database)
        store.servers.add_instance(Instance(id="me"))
        yield store, proxy
    database.close()
    proxy.close()


def within(seconds: float, began: float) -> bool:
    return time.monotonic() - began < seconds


def test_a_half_open_connection_is_given_up_and_a_new_one_serves(silent: tuple[Store, StallingProxy]) -> None:
    store, proxy = silent
    store.save([Change(PromptRecord("before", 1, "me"))])
    proxy.stall()
    began = time.monotonic()
    with pytest.raises(DBAPIError):
        store.save([Change(PromptRecord("lost", 1, "me"))])
    with pytest.raises(DBAPIError):
        store.count()
    assert within(10, began)
    proxy.flow()
    store.save([Change(PromptRecord("after", 1, "me"))])
    assert {record.prompt_id for record in store.prompts.page(Filter(), 9)} >= {"before", "after"}


Saves = Callable[..., None]


@pytest.fixture
def unanswered(silent: tuple[Store, StallingProxy], monkeypatch: pytest.MonkeyPatch) -> Saves:
    """Saves so that the server commits, and its answer to that never comes; after that it answers again."""
    store, proxy = silent
    dialect = store.database.engine.dialect

    def save(*changes: Change, news: Sequence[StreamEvent] = ()) -> None:
        real = dialect.do_commit

        def commit(connection: Any) -> None:
            real(connection)
            proxy.stall()
            connection.execute("SELECT 1")

        with monkeypatch.context() as patch:
            patch.setattr(dialect, "do_commit", commit)
            with pytest.raises(OperationalError, match="not answered"):
                store.save(list(changes), news=news)
        proxy.flow()

    return save


def test_a_commit_that_was_done_and_not_answered_is_done_once(
    silent: tuple[Store, StallingProxy], unanswered: Saves
) -> None:
    store, _ = silent
    record = PromptRecord("p", 1, "me", queued_ms=1000)
    event = StreamEvent("prompt.queued", "p", 1000, {}, 1)
    unanswered(Change(record, [NodeRecord(0, "1")]), news=[event])
    assert record.pk is None, "it is not known to be there"
    assert store.count() == 1, "and yet it is"
    record.run_number = store.history.last_run_number("p") + 1
    store.save([Change(record, [NodeRecord(0, "1")])], news=[StreamEvent("prompt.queued", "p", 1000, {}, 2)])
    assert store.count() == 1
    assert [event.number for event in store.events.newest()] == [2]
    record.status, record.samples = "success", b"curve"
    record.outputs = [ReportedFile("1", "a.png", "", "output")]
    end = [NodeRecord(1, "2")]
    unanswered(Change(record, end, outputs=True), news=[StreamEvent("prompt.finished", "p", 2000, {}, 3)])
    unanswered(Change(record, end, outputs=True), news=[StreamEvent("prompt.finished", "p", 2000, {}, 3)])
    store.save([Change(record, end, outputs=True)], news=[StreamEvent("prompt.finished", "p", 2000, {}, 3)])
    assert record.pk is not None
    assert [node.node_id for node in store.prompts.nodes(record.pk)] == ["1", "2"]
    assert store.prompts.samples(record.pk) == b"curve"
    found = store.prompts.record("p")
    assert found is not None and [file.filename for file in found.outputs] == ["a.png"]
    assert [event.number for event in store.events.newest()] == [2, 3]


def test_a_process_that_was_entered_and_not_told_so_is_entered_once(store: Store) -> None:
    store.servers.add_instance(Instance(id="me", hostname="elsewhere"))
    assert store.servers.instances(["me"])["me"].hostname == "here"


def test_one_who_has_little_patience_waits_less(silent: tuple[Store, StallingProxy]) -> None:
    store, proxy = silent
    with store.database.engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
        proxy.stall()
        began = time.monotonic()
        with patience(0.3), pytest.raises(OperationalError, match="not answered"):
            connection.exec_driver_sql("SELECT 1")
        assert within(1.2, began)
        assert connection.invalidated


@ON_POSTGRESQL
def test_a_statement_that_takes_too_long_is_ended_by_the_server(database_url: str) -> None:
    database = Database(f"{database_url}?statement_timeout=200&lock_timeout=200")
    with database.engine.connect() as connection, pytest.raises(OperationalError, match="statement timeout"):
        connection.exec_driver_sql("SELECT pg_sleep(30)")
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    database.close()


@ON_POSTGRESQL
def test_a_connection_that_the_server_ended_is_replaced_before_it_is_used(store: Store) -> None:
    store.save([Change(PromptRecord("one", 1, "me"))])
    with store.database.engine.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        connection.detach()
    store.save([Change(PromptRecord("two", 1, "me"))])
    assert store.count() == 2


# ---------------------------------------------------------------- the same on both databases

LONGEST = "".join(chr(0x4E00 + number * 37 % 20000) for number in range(1000))
"""1,000 characters that compress badly: 3,000 bytes, more than a row of a B-tree may have."""
WORDS = "".join(chr(33 + number * 7919 % 90) for number in range(3000))


@pytest.mark.parametrize("name", [LONGEST, WORDS, "a\0b", "\ud800", "", "\x1b]0;x\x07"])
def test_a_record_with_any_names_is_kept_and_found_by_them(store: Store, name: str) -> None:
    record = PromptRecord("p", 1, "me", "success", queued_ms=1000, workflow_name=name, client_id=name)
    record.outputs = [ReportedFile(name, f"x{name}", name, name)]
    nodes = [NodeRecord(0, name, f"C{name}", name, name, name)]
    store.save([Change(record, nodes, outputs=True), Change(PromptRecord("other", 1, "me", queued_ms=1))])
    for wanted in (Filter(class_type=f"C{name}"), Filter(output=f"x{name}")):
        assert [one.prompt_id for one in store.prompts.page(wanted, 9)] == ["p"]
    assert record.pk is not None
    (found,) = store.prompts.nodes(record.pk)
    kept = name.replace("\0", "").replace("\ud800", "\\ud800")
    assert (found.node_id, found.class_type, found.title, found.parent_node_id) == (kept, f"C{kept}", kept, kept)
    assert store.count() == 2


@pytest.mark.parametrize("number", [2**31, 2**63, 2**64, -(2**63) - 1, 10**30])
def test_numbers_of_any_size_are_asked_for_without_a_fault(store: Store, number: int) -> None:
    store.save([Change(PromptRecord("p", 1, "me", "success", queued_ms=1000))])
    assert store.prompts.record("p", number) is None
    assert store.erasing.erase_prompt("p", number) == 0
    assert len(store.prompts.page(Filter(since_ms=-abs(number), until_ms=abs(number)), 9)) == 1
    assert store.erasing.delete_oldest(9, before_ms=-abs(number)) == 0


@pytest.mark.parametrize("prompt_id", ["", "\0", "a\0b", "x" * 5000, "\ud800", LONGEST])
def test_an_id_of_any_kind_is_kept_and_found(store: Store, prompt_id: str) -> None:
    store.save([Change(PromptRecord(prompt_id, 1, "me", "success", queued_ms=1000))])
    found = store.prompts.record(prompt_id)
    assert found is not None
    assert 0 < len(found.prompt_id) <= 200
    assert store.prompts.record(found.prompt_id) == found
    assert store.history.known([prompt_id]) == {found.prompt_id}
    assert store.history.last_run_number(prompt_id) == 1
    assert store.erasing.erase_prompt(prompt_id) == 1


def test_what_is_no_number_is_null_in_what_is_kept(store: Store) -> None:
    current = CurrentNode.model_construct(node_id="1", class_type=None, title=None, value=float("nan"), max=None)
    store.save([Change(PromptRecord("p", 1, "me", "running", queued_ms=1000, current_node=current))])
    found = store.prompts.record("p")
    assert found is not None and found.current_node is not None
    assert found.current_node.value is None
