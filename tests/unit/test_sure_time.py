"""Deleting by age while the clock may be wrong: never more than is sure."""

import json
import time
from collections.abc import Callable

import pytest
from run_recorder.cli import main
from run_recorder.telemetry.models.record import PromptRecord
from run_recorder.telemetry.store.changes import Change
from run_recorder.telemetry.store.retention import Retention, prune
from run_recorder.telemetry.store.store import Store
from run_recorder.telemetry.store.sure_time import SureTime

from .conftest import ON_SQLITE

DAY = 86_400.0
NOON = 1_790_000_000.0


class Clocks:
    """A wall clock that can be set, and one that only ticks."""

    def __init__(self, wall: float = NOON) -> None:
        self.wall, self.ticks = wall, 1000.0

    def go_on(self, seconds: float) -> None:
        self.wall += seconds
        self.ticks += seconds

    def sure(self) -> SureTime:
        return SureTime(lambda: self.wall, lambda: self.ticks)


def newest(*ats: float) -> Callable[[int], int | None]:
    return lambda until: max((int(at * 1000) for at in ats if at * 1000 <= until), default=None)


def kept(store: Store, *queued: float, of: str = "other") -> None:
    store.save(
        [Change(PromptRecord(f"{of}-{at}", 1, of, "success", queued_ms=int(at * 1000))) for at in queued],
    )


def ids(store: Store) -> set[str]:
    return {record.prompt_id for record, _nodes in store.prompts.export()}


def test_a_clock_that_agrees_with_the_newest_record_is_believed_but_for_the_gap() -> None:
    clocks = Clocks()
    sure = clocks.sure()
    assert sure.now_ms(newest(NOON - 3600)) == (NOON - 3600) * 1000
    clocks.go_on(600)
    assert sure.now_ms(newest(NOON - 3600)) == (NOON - 3000) * 1000
    assert sure.doubt_ms() == 3600 * 1000


@pytest.mark.parametrize("ahead", [2 * 3600, 40 * DAY, 30 * 365 * DAY])
def test_a_clock_that_is_ahead_at_the_start_is_not_believed_until_it_is_right(ahead: float) -> None:
    clocks = Clocks(NOON + ahead)
    sure = clocks.sure()
    assert sure.now_ms(newest(NOON)) == NOON * 1000
    clocks.go_on(300)
    assert sure.now_ms(newest(NOON)) == (NOON + 300) * 1000
    clocks.wall -= ahead
    assert sure.now_ms(newest(NOON)) == (NOON + 300) * 1000


def test_a_clock_that_jumps_ahead_while_it_runs_is_not_believed() -> None:
    clocks = Clocks()
    sure = clocks.sure()
    sure.now_ms(newest())
    clocks.go_on(2 * DAY)
    assert sure.now_ms(newest()) == (NOON + 2 * DAY) * 1000
    clocks.wall += 400 * DAY
    assert sure.now_ms(newest()) == (NOON + 2 * DAY) * 1000
    assert sure.doubt_ms() == 400 * DAY * 1000
    clocks.go_on(3600)
    clocks.wall -= 400 * DAY
    assert sure.now_ms(newest()) == (NOON + 2 * DAY + 3600) * 1000
    assert sure.doubt_ms() == 0


def test_a_clock_that_goes_on_for_a_day_is_believed_after_a_long_rest() -> None:
    clocks = Clocks(NOON + 60 * DAY)
    sure = clocks.sure()
    assert sure.now_ms(newest(NOON)) == NOON * 1000
    clocks.go_on(DAY)
    assert sure.now_ms(newest(NOON)) == (NOON + 61 * DAY) * 1000


def test_what_other_servers_record_meanwhile_is_believed() -> None:
    clocks = Clocks(NOON + 60 * DAY)
    sure = clocks.sure()
    sure.now_ms(newest(NOON))
    clocks.go_on(60)
    assert sure.now_ms(newest(NOON, NOON + 59 * DAY)) == (NOON + 59 * DAY) * 1000


def test_a_clock_that_is_behind_deletes_nothing_that_it_should_not() -> None:
    clocks = Clocks(10.0)
    sure = clocks.sure()
    assert sure.now_ms(newest(NOON)) == 10_000
    clocks.wall = NOON + DAY
    assert sure.now_ms(newest(NOON)) == NOON * 1000


def test_a_first_process_believes_the_clock_that_it_began_with() -> None:
    clocks = Clocks()
    assert clocks.sure().now_ms(newest()) == NOON * 1000


def test_pruning_by_age_stops_at_what_is_sure(store: Store) -> None:
    kept(store, *(NOON - day * DAY for day in range(10)))
    clocks = Clocks(NOON + 365 * DAY)
    assert prune(store, Retention(prompts=None, days=4.5), now_ms=clocks.sure().now_ms(store.history.newest_ms)) == 5
    assert len(ids(store)) == 5


def test_records_of_this_process_explain_nothing(store: Store) -> None:
    kept(store, *(NOON - day * DAY for day in range(3)))
    clocks = Clocks(NOON + 365 * DAY)
    kept(store, clocks.wall, of="me")
    now_ms = clocks.sure().now_ms(lambda until_ms: store.history.newest_ms(until_ms, but_of="me"))
    assert now_ms == NOON * 1000
    assert prune(store, Retention(prompts=None, days=30), now_ms=now_ms) == 0


def test_a_record_from_the_future_explains_nothing(store: Store) -> None:
    kept(store, NOON, NOON - DAY, NOON + 9999 * DAY)
    clocks = Clocks(NOON + 365 * DAY)
    assert clocks.sure().now_ms(store.history.newest_ms) == NOON * 1000


@ON_SQLITE
def test_the_command_refuses_a_doubtful_clock_and_deletes_where_it_is_trusted(
    store: Store, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(store, *(time.time() - day * DAY for day in (100, 200, 300)))
    command = ["db", "prune", "--database", database_url, "--days", "30", "--json"]
    assert main(command) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["type"], "--trust-clock" in error["message"]) == ("invalid_parameter", True)
    assert len(ids(store)) == 3
    assert main([*command, "--trust-clock"]) == 0
    assert json.loads(capsys.readouterr().out) == {"removed": 3, "kept": 0}


@ON_SQLITE
def test_the_command_believes_a_clock_that_the_newest_record_explains(
    store: Store, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(store, *(time.time() - day * DAY for day in (1, 20, 31, 40)))
    assert main(["db", "prune", "--database", database_url, "--days", "30", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"removed": 2, "kept": 2}
