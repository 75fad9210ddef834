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


def test_a_stumble_over_one_prompt_is_taken_back_when_a_whole_prompt_has_gone_by_without_it() -> None:
    now = 0.0
    problems = Problems(lambda: now)
    problems.report("hook put", "it failed", passing=True)
    problems.report("worker died", "restart ComfyUI")
    problems.prompt_passed()
    now = 59.0
    problems.prompt_passed()
    assert [one.what for one in problems.all()] == ["hook put", "worker died"], "somebody may look"
    problems.report("hook put", "it failed", passing=True)
    now = 118.0
    problems.prompt_passed()
    assert [one.count for one in problems.all()] == [2, 1]
    now = 119.0
    assert len(problems.all()) == 2, "no prompt has shown that it is over"
    problems.prompt_passed()
    assert [one.what for one in problems.all()] == ["worker died"]
    assert problems.counts() == {"hook put": 2, "worker died": 1}


def test_a_problem_flaps_as_often_as_it_comes_and_goes() -> None:
    now = 0.0
    problems = Problems(lambda: now)
    for _ in range(5):
        problems.report("hook put", "it failed", passing=True)
        problems.report("store", "locked")
        assert len(problems.all()) == 2
        problems.solved("store")
        now += 60
        problems.prompt_passed()
        assert problems.all() == []
