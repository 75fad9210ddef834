"""Queued prompts that ComfyUI's queue does not have any more, and of whose leaving nothing told."""

import itertools
from collections.abc import Callable

import pytest
from run_recorder.telemetry.record.events import PromptDone, PromptStarted
from run_recorder.telemetry.record.recorder import VANISHED
from run_recorder.telemetry.record.watching import GONE_SECONDS, LOOK_SECONDS

from .desk import Desk, now
from .support import image, tree, write


@pytest.fixture
def look(desk: Desk) -> Callable[[int], None]:
    """Let the writer look at the queue so often."""

    def looks(count: int) -> None:
        for _ in range(count):
            desk.later(LOOK_SECONDS)
            desk.step()

    return looks


SIGHTS = ("there", "missing", "not told")
LOOKS = 4


@pytest.mark.parametrize("sights", list(itertools.product(SIGHTS, repeat=LOOKS)), ids=" ".join)
def test_a_prompt_is_gone_once_it_was_missed_for_long_enough(desk: Desk, sights: tuple[str, ...]) -> None:
    desk.queue()
    missed, gone = 0.0, False
    for sight in sights:
        desk.held = {"there": frozenset({"p", "q"}), "missing": frozenset({"q"}), "not told": None}[sight]
        desk.later(LOOK_SECONDS)
        desk.step()
        missed = missed + LOOK_SECONDS if sight == "missing" else 0.0
        gone = gone or missed - LOOK_SECONDS >= GONE_SECONDS
    record = desk.record()
    assert (record.status, VANISHED in record.notes) == (("cancelled", True) if gone else ("queued", False))
    assert tree(desk.output) == []


def test_of_many_only_those_that_are_gone_are_ended(desk: Desk, look: Callable[[int], None]) -> None:
    for number in range(40):
        desk.queue(f"p{number}", number=number)
    desk.held = frozenset(f"p{number}" for number in range(0, 40, 2))
    look(4)
    found = [desk.record(f"p{number}").status for number in range(40)]
    assert found == ["queued", "cancelled"] * 20


def test_a_running_prompt_is_never_missed(desk: Desk, look: Callable[[int], None]) -> None:
    desk.begin()
    desk.held = frozenset()
    look(5)
    assert desk.record().status == "running"


def test_one_that_starts_in_the_moment_in_which_it_is_missed_is_run(desk: Desk, look: Callable[[int], None]) -> None:
    desk.queue()
    desk.held = frozenset()
    look(2)
    desk.inbox.append(PromptStarted("p", now()))
    look(1)
    assert desk.record().status == "running"


def test_one_that_starts_after_all_is_a_run_of_its_own(desk: Desk, look: Callable[[int], None]) -> None:
    desk.queue()
    desk.held = frozenset()
    look(4)
    desk.step(PromptStarted("p", now()))
    assert [desk.record(number=number).status for number in (1, 2)] == ["cancelled", "running"]


def test_one_that_ran_and_nothing_told_of_it_ends_as_history_has_it(desk: Desk, look: Callable[[int], None]) -> None:
    desk.queue()
    write(desk.output / "shot/a_00001_.png")
    desk.held = frozenset()
    desk.history["p"] = PromptDone("p", now(), {"3": image("a_00001_.png", "shot")}, True)
    look(4)
    record = desk.record()
    assert (record.status, [one.filename for one in record.outputs]) == ("success", ["a_00001_.png"])
    assert desk.names() == ["a_00001_.png"]
