"""Events come out in the order in which they went in, and only urgent ones wake the writer."""

import threading
import time

from run_recorder.telemetry.record.events import NodeFinished, NodeProgress, NodeStarted
from run_recorder.telemetry.record.inbox import Inbox

from .support import done, queued, started


def test_events_come_out_in_order() -> None:
    inbox = Inbox()
    events = [queued(), started(), done()]
    for event in events:
        inbox.append(event)
    assert len(inbox) == 3
    assert list(inbox.take()) == events
    assert len(inbox) == 0
    assert list(inbox.take()) == []


def test_an_append_wakes_nobody_and_an_urgent_event_does() -> None:
    inbox = Inbox()
    inbox.append(started())
    begun = time.monotonic()
    inbox.wait(0.05)
    assert time.monotonic() - begun >= 0.045
    inbox.urge(done())
    inbox.wait(None)
    assert len(inbox) == 2


def test_a_ring_is_heard_once_even_before_the_wait() -> None:
    inbox = Inbox()
    inbox.ring()
    inbox.wait(None)
    begun = time.monotonic()
    inbox.wait(0.05)
    assert time.monotonic() - begun >= 0.045


def test_a_ring_wakes_a_sleeper() -> None:
    inbox = Inbox()
    threading.Timer(0.02, inbox.ring).start()
    begun = time.monotonic()
    inbox.wait(10)
    assert time.monotonic() - begun < 5


def test_only_the_newest_progress_of_a_node_comes_out_and_after_its_start() -> None:
    inbox = Inbox()
    inbox.append(NodeStarted("p", "1", 1.0))
    for step in range(100):
        inbox.progress("p", "1", step, 100)
    inbox.progress("p", "2", 7, 9)
    inbox.append(NodeFinished("p", "1", 2.0))
    taken = list(inbox.take())
    assert taken[:2] == [NodeStarted("p", "1", 1.0), NodeFinished("p", "1", 2.0)]
    assert sorted(taken[2:]) == [NodeProgress("p", "1", 99, 100), NodeProgress("p", "2", 7, 9)]
    assert list(inbox.take()) == []


def test_what_comes_in_while_events_are_taken_comes_out_too_in_its_turn() -> None:
    inbox = Inbox()
    inbox.append(queued())
    taken = []
    for event in inbox.take():
        taken.append(event)
        if len(taken) == 1:
            inbox.append(started())
            inbox.progress("p", "1", 1, 2)
    assert taken == [queued(), started(), NodeProgress("p", "1", 1, 2)]


def test_taking_ends_even_where_events_come_as_fast_as_they_are_taken() -> None:
    inbox = Inbox()
    inbox.append(started())
    count = 0
    for _ in inbox.take():
        count += 1
        inbox.append(started())
    assert 1 <= count < 1000
    assert len(inbox) >= 1


def test_appends_from_many_threads_are_all_there() -> None:
    inbox = Inbox()
    threads = [threading.Thread(target=lambda: [inbox.append(started()) for _ in range(1000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    taken = 0
    while any(thread.is_alive() for thread in threads):
        taken += len(list(inbox.take()))
    assert taken + len(list(inbox.take())) == 4000
