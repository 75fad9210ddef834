"""Problems are counted, told once, and taken back when they are over."""

import logging
import threading

import pytest
from run_recorder.telemetry.problems import Problems
from run_recorder.telemetry.times import parse


def test_a_problem_is_logged_once_and_counted_after_that(caplog: pytest.LogCaptureFixture) -> None:
    problems = Problems()
    with caplog.at_level(logging.WARNING, "run_recorder"):
        problems.report("store", "it is full", OSError("no space on /home/me/x"))
        problems.report("store", "another hint")
        problems.report("marker", "not written")
    assert [(one.what, one.count, one.hint) for one in problems.all()] == [
        ("store", 2, "it is full (OSError: no space on <path>)"),
        ("marker", 1, "not written"),
    ]
    assert parse(problems.all()[0].since) > 0
    assert caplog.messages == [
        "Run Recorder: store: it is full (OSError: no space on <path>)",
        "Run Recorder: marker: not written",
    ]


def test_a_problem_that_is_over_is_gone_and_may_come_again() -> None:
    problems = Problems()
    problems.solved("store")
    problems.report("store", "one")
    problems.solved("store")
    assert problems.all() == []
    problems.report("store", "two")
    assert [one.count for one in problems.all()] == [1]


def test_what_is_handed_out_is_a_copy() -> None:
    problems = Problems()
    problems.report("store", "one")
    problems.all()[0].count = 99
    assert problems.all()[0].count == 1


def test_reports_from_many_threads_are_all_counted() -> None:
    problems = Problems()
    threads = [threading.Thread(target=lambda: [problems.report("x", "y") for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems.all()[0].count == 2000
