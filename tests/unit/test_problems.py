"""Problems are counted, told once, and taken back when they are over."""

import logging
import re
import threading

import pytest
from run_recorder.telemetry.models.times import parse
from run_recorder.telemetry.process import problems as problems_module
from run_recorder.telemetry.process.faults import DEEPEST, fault_of
from run_recorder.telemetry.process.problems import Problems
from run_recorder.telemetry.process.settings import WrongSetting


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
    (fault,) = problems.all()[0].faults
    assert (fault.error, fault.count) == ("OSError", 1)
    assert caplog.messages == [
        f"Run Recorder: store: it is full (OSError: no space on <path>) [fault {fault.id}: OSError]",
        "Run Recorder: marker: not written",
    ]


def broken(kind: type[Exception], said: str = "no") -> Exception:
    try:
        raise kind(said)
    except Exception as error:
        return error


def elsewhere_broken(secret: str) -> Exception:
    try:
        try:
            int(secret)
        except ValueError as why:
            raise RuntimeError(secret) from why
    except RuntimeError as error:
        return error


def test_every_distinct_fault_is_counted_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    problems = Problems()
    with caplog.at_level(logging.WARNING, "run_recorder"):
        ids = [
            problems.report("writer", "it stumbled", error).id  # type: ignore[union-attr]
            for error in (broken(KeyError), broken(TypeError), broken(KeyError, "other"), elsewhere_broken("x"))
        ]
        problems.report("route GET /telemetry/health", "it stumbled", broken(KeyError))
        problems.solved("writer")
        problems.report("writer", "it stumbled", broken(KeyError))
    assert ids[0] == ids[2] and len(set(ids)) == 3
    told = [re.search(r"\[fault ([0-9a-f]{8}): ", message) for message in caplog.messages]
    assert [match[1] if match else None for match in told] == [ids[0], ids[1], ids[3], told[3][1], None]  # type: ignore[index]
    assert len({*ids, told[3][1]}) == 4  # type: ignore[index]
    writer = next(one for one in problems.all() if one.what == "writer")
    assert [(one.id, one.count) for one in writer.faults] == [(ids[0], 1)], "what was before it was solved is over"
    assert problems.counts() == {"writer": 5, "route GET /telemetry/health": 1}


def test_the_log_says_where_a_fault_is_and_tells_no_path_and_no_value(caplog: pytest.LogCaptureFixture) -> None:
    problems = Problems()
    with caplog.at_level(logging.WARNING, "run_recorder"):
        problems.report("x", "y", elsewhere_broken("/home/me/token=hunter2"))
    (message,) = caplog.messages
    assert re.search(
        r"\[fault [0-9a-f]{8}: RuntimeError at tests/unit/test_problems\.py:\d+ elsewhere_broken"
        r" from ValueError at tests/unit/test_problems\.py:\d+ elsewhere_broken\]$",
        message,
    )
    assert "hunter2" not in message and "home" not in message and "\n" not in message


def test_faults_without_end_are_bounded(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(problems_module, "MOST_FAULTS", 30)
    problems = Problems()
    with caplog.at_level(logging.WARNING, "run_recorder"):
        for number in range(100):
            problems.report("x", "y", broken(type(f"Odd{number}", (Exception,), {})))
    (problem,) = problems.all()
    assert (problem.count, len(problem.faults), len(caplog.messages)) == (100, 20, 30)


def deep(left: int) -> None:
    if not left:
        raise OSError("deep")
    deep(left - 1)


def test_a_long_way_to_a_fault_is_cut() -> None:
    try:
        deep(500)
    except OSError as error:
        fault = fault_of("x", error)
    assert fault.trace.count(" < ") == DEEPEST and fault.trace.endswith("more")


def test_wrong_settings_are_problems_by_name() -> None:
    problems = Problems()
    problems.wrong_settings([WrongSetting("A", "'x': give a number"), WrongSetting("B", "'y': give a number")])
    assert [(one.what, one.hint) for one in problems.all()] == [
        ("setting A", "'x': give a number"),
        ("setting B", "'y': give a number"),
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
