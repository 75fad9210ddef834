"""An error of the database is the record's own fault, or the database's: that decides whether it is tried again."""

import sqlite3
from typing import Any

import pytest
from run_recorder.telemetry.store.faults import is_fault_of_data
from sqlalchemy.exc import DatabaseError as AnyDatabaseError
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, OperationalError, ProgrammingError, StatementError

psycopg = pytest.importorskip("psycopg")


@pytest.mark.parametrize(
    ("error", "of_data"),
    [
        (OverflowError("too large"), True),
        (TypeError("odd"), True),
        (StatementError("x", "s", {}, Exception("x")), True),
        (DataError("s", {}, sqlite3.DataError("string or blob too big")), True),
        (InterfaceError("s", {}, sqlite3.InterfaceError("Error binding parameter 0")), True),
        (ProgrammingError("s", {}, sqlite3.ProgrammingError("Error binding parameter 1: type 'x'")), True),
        (IntegrityError("s", {}, sqlite3.IntegrityError("UNIQUE constraint failed")), True),
        (ProgrammingError("s", {}, sqlite3.ProgrammingError("Cannot operate on a closed database.")), False),
        (OperationalError("s", {}, sqlite3.OperationalError("database is locked")), False),
        (AnyDatabaseError("s", {}, sqlite3.DatabaseError("malformed")), False),
        (OSError("full"), False),
    ],
)
def test_a_fault_of_what_was_to_be_written_is_told_from_one_of_the_place(error: Exception, of_data: bool) -> None:
    assert is_fault_of_data(error) is of_data


OF_RECORD = """cardinality_violation data_exception string_data_right_truncation numeric_value_out_of_range
 untranslatable_character character_not_in_repertoire invalid_text_representation unique_violation
 foreign_key_violation not_null_violation exclusion_violation check_violation program_limit_exceeded
 statement_too_complex datatype_mismatch raise_exception""".split()
OF_SERVER = """connection_exception connection_failure sqlclient_unable_to_establish_sqlconnection
 read_only_sql_transaction serialization_failure deadlock_detected insufficient_resources disk_full out_of_memory
 too_many_connections query_canceled admin_shutdown crash_shutdown cannot_connect_now lock_not_available
 idle_in_transaction_session_timeout system_error io_error undefined_file insufficient_privilege undefined_table
 undefined_column invalid_password invalid_catalog_name feature_not_supported transaction_timeout internal_error
 data_corrupted index_corrupted""".split()


def said_by_server(condition: str) -> AnyDatabaseError:
    made: Any = getattr(psycopg.errors, "".join(part.title() for part in condition.split("_")))(condition)
    return AnyDatabaseError.instance("s", {}, made, psycopg.Error)  # type: ignore[return-value]


@pytest.mark.parametrize("condition", OF_RECORD)
def test_what_postgresql_will_never_take_is_the_records_own_fault(condition: str) -> None:
    assert is_fault_of_data(said_by_server(condition))


@pytest.mark.parametrize("condition", OF_SERVER)
def test_what_may_be_over_soon_is_the_servers(condition: str) -> None:
    assert not is_fault_of_data(said_by_server(condition))


@pytest.mark.parametrize(
    ("cause", "of_data"),
    [
        ("DataError", True),
        ("ProgrammingError", True),
        ("OperationalError", False),
        ("InterfaceError", False),
        ("InternalError", False),
    ],
)
def test_an_error_of_the_driver_itself_has_no_state_and_is_told_by_its_class(cause: str, of_data: bool) -> None:
    error = AnyDatabaseError.instance("s", {}, getattr(psycopg, cause)("said"), psycopg.Error)
    assert is_fault_of_data(error) is of_data


def test_a_connection_that_broke_says_nothing_of_the_record() -> None:
    broken = said_by_server("unique_violation")
    broken.connection_invalidated = True
    assert not is_fault_of_data(broken)
