"""Errors of routes: what says that the store is away, and what is a fault of ours, with an id that the log has."""

import asyncio
import json
import logging
import sqlite3
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from run_recorder.server_routes.answering import Answering, OneThread, on_thread
from run_recorder.server_routes.route import ApiError, Route, not_found
from run_recorder.telemetry.process.problems import Problems
from run_recorder.telemetry.process.settings import ServerSettings
from run_recorder.telemetry.record.errors import NotReadyError
from run_recorder.telemetry.store.errors import StoreClosedError
from sqlalchemy.exc import DataError, InvalidRequestError, OperationalError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError


class Asked:
    """A host whose one route raises what it is told to."""

    def __init__(self) -> None:
        self.problems = Problems()
        self.unread: list[BaseException] = []
        ready = threading.Event()
        ready.set()
        recording = SimpleNamespace(
            ready=ready,
            store_condition=SimpleNamespace(unread=self.unread.append, read=lambda: None),
            problems=self.problems,
        )
        host: Any = SimpleNamespace(
            problems=self.problems,
            recording=recording,
            listens_on_loopback_only=lambda: None,
            settings=ServerSettings(),
        )
        self.answering = Answering(host)

    def ask(self, error: BaseException, path: str = "/x/{prompt_id}") -> tuple[int, Any]:
        async def failing(_call: Any) -> Any:
            raise error

        handler = self.answering.handler(Route("GET", path, "", failing))
        response = asyncio.run(handler(make_mocked_request("GET", "/telemetry/x/1")))
        return response.status, json.loads(response.body)


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.mark.parametrize(
    "error",
    [
        NotReadyError("no"),
        StoreClosedError("no"),
        TimeoutError("no"),
        PoolTimeoutError("no"),
        OperationalError("SELECT", {}, sqlite3.OperationalError("database is locked")),
    ],
)
def test_a_store_that_gives_no_answer_is_503(asked: Asked, error: Exception) -> None:
    status, told = asked.ask(error)
    assert (status, told) == (
        503,
        {"error": {"type": "unavailable", "message": "the store can't be read now", "field": None}},
    )
    assert asked.unread == [error] and not asked.problems.all()


@pytest.mark.parametrize(
    "error",
    [
        KeyError("token=hunter2"),
        RecursionError("deep"),
        OverflowError("large"),
        AssertionError(),
        InvalidRequestError("misused"),
        StatementError("a bad value", "SELECT", {}, ValueError("x")),
        DataError("SELECT", {}, sqlite3.DataError("x")),
    ],
)
def test_a_fault_of_ours_is_500_with_the_id_that_the_log_has(
    asked: Asked, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "run_recorder"):
        answers = [asked.ask(error) for _ in range(3)]
    assert {status for status, _ in answers} == {500} and not asked.unread
    (fault,) = {told["error"]["id"] for _, told in answers}
    assert answers[0][1]["error"]["type"] == "internal" and fault in answers[0][1]["error"]["message"]
    (message,) = caplog.messages
    assert f"[fault {fault}: {type(error).__name__} at tests/unit/test_answering.py:" in message
    assert "hunter2" not in message + json.dumps(answers)
    (problem,) = asked.problems.all()
    assert (problem.what, problem.count) == ("route GET /telemetry/x/{prompt_id}", 3)
    assert [(one.id, one.count) for one in problem.faults] == [(fault, 3)]


def test_routes_have_a_problem_each(asked: Asked) -> None:
    asked.ask(KeyError(), "/a")
    asked.ask(KeyError(), "/b")
    assert [one.what for one in asked.problems.all()] == ["route GET /telemetry/a", "route GET /telemetry/b"]


def test_an_answer_that_is_an_error_is_no_fault(asked: Asked) -> None:
    assert asked.ask(not_found("nothing"))[0] == 404
    assert not asked.problems.all()


def test_what_takes_long_waits_for_its_turn_and_a_few_may_wait() -> None:
    one_thread = OneThread("test", most_waiting=2)
    free, threads = threading.Event(), []

    def work() -> str:
        threads.append(threading.current_thread().name)
        assert free.wait(10)
        return "done"

    async def ask() -> list[str]:
        asked = [asyncio.ensure_future(one_thread.run(work)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ApiError) as raised:
            await one_thread.run(work)
        assert (raised.value.status, raised.value.answer.error.type) == (503, "unavailable")
        assert await on_thread(lambda: "at once") == "at once", "other routes don't wait for it"
        free.set()
        told = await asyncio.gather(*asked)
        return [*told, await one_thread.run(work)]

    assert asyncio.run(ask()) == ["done"] * 3
    assert len(set(threads)) == 1
