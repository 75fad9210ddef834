"""Whoever waits for a run is told its end once, on his own event loop, and can never hold the recorder up."""

import asyncio
import threading

import pytest
from run_recorder.telemetry.live.feed import Feed
from run_recorder.telemetry.models.prompt import Instance, NodeCounts, Prompt


def prompt(prompt_id: str = "p", run_number: int = 1) -> Prompt:
    counts = NodeCounts(total=1, executed=1, cached=0)
    return Prompt(
        prompt_id=prompt_id, run_number=run_number, status="success", node_counts=counts, instance=Instance(id="me")
    )


class Count:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1


async def test_every_waiter_of_a_run_is_told_its_end() -> None:
    feed, answered = Feed(), Count()
    waiters = [feed.wait_for(("p", 1), asyncio.get_running_loop()) for _ in range(3)]
    assert feed.publish(prompt(), answered) == 3
    answers = [await asyncio.wait_for(waiter.answer, 5) for waiter in waiters]
    assert answers == [prompt().model_dump_json().encode()] * 3
    for number, waiter in enumerate(waiters, 1):
        waiter.done()
        waiter.done()
        assert answered.calls == (number == 3)


async def test_a_waiter_of_another_run_or_prompt_goes_on_waiting() -> None:
    feed, answered = Feed(), Count()
    others = [feed.wait_for(key, asyncio.get_running_loop()) for key in (("p", 2), ("q", 1))]
    assert feed.publish(prompt(), answered) == 0
    assert answered.calls == 1
    await asyncio.sleep(0)
    assert not any(waiter.answer.done() for waiter in others)


async def test_a_run_is_told_once() -> None:
    feed = Feed()
    feed.wait_for(("p", 1), asyncio.get_running_loop())
    assert feed.publish(prompt(), Count()) == 1
    assert feed.publish(prompt(), Count()) == 0


async def test_a_waiter_that_was_taken_back_is_not_told() -> None:
    feed, answered = Feed(), Count()
    loop = asyncio.get_running_loop()
    one, two = feed.wait_for(("p", 1), loop), feed.wait_for(("p", 1), loop)
    feed.forget(one)
    feed.forget(one)
    assert feed.publish(prompt(), answered) == 1
    await asyncio.wait_for(two.answer, 5)
    assert not one.answer.done()
    feed.forget(two)
    assert feed.publish(prompt(), answered) == 0


async def test_a_waiter_that_has_given_up_counts_as_answered() -> None:
    feed, answered = Feed(), Count()
    waiter = feed.wait_for(("p", 1), asyncio.get_running_loop())
    waiter.answer.cancel()
    feed.publish(prompt(), answered)
    assert answered.calls == 0
    await asyncio.sleep(0)
    assert answered.calls == 1


async def test_an_answer_comes_from_another_thread() -> None:
    feed, answered = Feed(), Count()
    waiter = feed.wait_for(("p", 1), asyncio.get_running_loop())
    thread = threading.Thread(target=feed.publish, args=(prompt(), answered))
    thread.start()
    assert await asyncio.wait_for(waiter.answer, 5)
    thread.join()


async def test_a_waiter_whose_loop_is_closed_holds_nobody_up() -> None:
    feed, answered = Feed(), Count()
    closed = asyncio.new_event_loop()
    feed.wait_for(("p", 1), closed)
    closed.close()
    living = feed.wait_for(("p", 1), asyncio.get_running_loop())
    feed.publish(prompt(), answered)
    await asyncio.wait_for(living.answer, 5)
    assert answered.calls == 0
    living.done()
    assert answered.calls == 1


def test_a_waiter_that_was_never_answered_may_be_done() -> None:
    loop = asyncio.new_event_loop()
    try:
        Feed().wait_for(("p", 1), loop).done()
    finally:
        loop.close()


@pytest.mark.parametrize("rounds", [200])
async def test_no_waiter_is_lost_between_asking_and_telling(rounds: int) -> None:
    feed = Feed()
    for number in range(1, rounds):
        waiter = feed.wait_for(("p", number), asyncio.get_running_loop())
        threading.Thread(target=feed.publish, args=(prompt(run_number=number), Count())).start()
        assert b'"run_number":%d' % number in await asyncio.wait_for(waiter.answer, 5)


@pytest.mark.parametrize("how", ["done", "time is up"])
async def test_a_waiter_that_gave_up_before_its_answer_came_counts_as_answered(how: str) -> None:
    feed, answered = Feed(), Count()
    waiter = feed.wait_for(("p", 1), asyncio.get_running_loop())
    if how == "done":
        waiter.done()
    else:
        waiter.give_up()
        assert await waiter.answer is None
    assert feed.publish(prompt(), answered) == 1
    assert answered.calls == 1


async def test_a_time_that_is_up_after_the_answer_came_changes_nothing() -> None:
    feed, answered = Feed(), Count()
    waiter = feed.wait_for(("p", 1), asyncio.get_running_loop())
    feed.publish(prompt(), answered)
    assert b"success" in (await asyncio.wait_for(waiter.answer, 5) or b"")
    waiter.give_up()
    waiter.done()
    assert answered.calls == 1


async def test_all_readers_of_one_loop_are_woken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    feed, answered = Feed(), Count()
    loop = asyncio.get_running_loop()
    waiters = [feed.wait_for(("p", 1), loop) for _ in range(50)]
    calls: list[object] = []
    real = loop.call_soon_threadsafe
    monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *given: (calls.append(given), real(*given))[1])
    feed.publish(prompt(), answered)
    assert len(calls) == 1
    await asyncio.gather(*(waiter.answer for waiter in waiters))
    for waiter in waiters:
        waiter.done()
    assert answered.calls == 1
