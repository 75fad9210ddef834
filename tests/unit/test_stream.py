"""Events are numbered for good, told in order, and a reader who is away misses nothing or is told the gap."""

import asyncio
import json
from typing import Any

import pytest
from run_recorder.telemetry.live import stream as stream_module
from run_recorder.telemetry.live.stream import Stream, StreamEvent, gap
from run_recorder.telemetry.record.events import NodeFinished, NodeProgress, NodeStarted
from run_recorder.telemetry.record.news import PROGRESS_SECONDS, news_of
from run_recorder.telemetry.record.prompt import OpenPrompt, ToldEvents
from run_recorder.telemetry.record.recorder import Recorder

from .support import T0, at, done, ms, node, outcome, queued, started


def event(kind: str = "prompt.queued", prompt_id: str = "p", number: int = 0, **data: Any) -> StreamEvent:
    return StreamEvent(kind, prompt_id, 1000, data, number)


def told(encoded: bytes) -> dict[str, Any]:
    """One event as a client reads it."""
    lines = dict(line.split(": ", 1) for line in encoded.decode().strip().split("\r\n"))
    return {"id": int(lines["id"]), "event": lines["event"], **json.loads(lines["data"])}


def numbers(reader: Any) -> list[int]:
    return [told(one)["id"] for one in reader.waiting]


def publishing(stream: Stream, *events: StreamEvent) -> None:
    stream.number(events)
    stream.publish(list(events))


def a_stream(first: int = 1, count: int = 1000) -> Stream:
    stream = Stream()
    stream.begin([])
    stream.may_use(first, count)
    return stream


# ---------------------------------------------------------------- the wire


def test_an_event_is_one_block_whatever_its_data_holds() -> None:
    nasty = "a\r\n\r\nevent: forged\r\ndata: x\u2028"
    encoded = event("node.started", nasty, 7, node_id=nasty, status="running").encode()
    assert encoded.count(b"\r\n\r\n") == 1
    assert encoded.endswith(b"\r\n\r\n")
    assert told(encoded) == {
        "id": 7,
        "event": "node.started",
        "prompt_id": nasty,
        "at": "1970-01-01T00:00:01.000Z",
        "node_id": nasty,
        "status": "running",
    }
    assert told(gap(3, 9)) == {"id": 9, "event": "gap", "from": 3, "to": 9}


# ---------------------------------------------------------------- readers


async def test_a_reader_gets_what_comes_from_now_on_in_order() -> None:
    stream = a_stream()
    publishing(stream, event())
    reader = stream.subscribe(None, None)
    publishing(stream, event("prompt.started"), event("prompt.finished"))
    await asyncio.wait_for(reader.bell.wait(), 5)
    assert numbers(reader) == [2, 3]


async def test_a_reader_of_one_prompt_gets_only_that() -> None:
    stream = a_stream()
    reader = stream.subscribe("p", None)
    publishing(stream, event(), event(prompt_id="q"), event())
    await asyncio.wait_for(reader.bell.wait(), 5)
    assert numbers(reader) == [1, 3]


@pytest.mark.parametrize(("after", "wanted"), [(0, [1, 2, 3, 4]), (2, [3, 4]), (4, []), (99, [])])
async def test_a_reader_resumes_after_a_number_and_then_goes_on(after: int, wanted: list[int]) -> None:
    stream = a_stream()
    publishing(stream, *(event() for _ in range(4)))
    reader = stream.subscribe(None, after)
    assert numbers(reader) == wanted
    assert reader.bell.is_set() is bool(wanted)
    publishing(stream, event())
    await asyncio.sleep(0)
    assert numbers(reader) == [*wanted, 5]


async def test_a_reader_of_one_prompt_resumes_with_only_that() -> None:
    stream = a_stream()
    publishing(stream, event(), event(prompt_id="q"), event(), event(prompt_id="q"))
    assert numbers(stream.subscribe("q", 1)) == [2, 4]
    assert numbers(stream.subscribe("q", 0)) == [2, 4]


async def test_a_reader_who_resumes_behind_what_is_kept_is_told_the_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "KEPT_IN_MEMORY", 3)
    stream = a_stream()
    stream._kept = type(stream._kept)(maxlen=3)
    for _ in range(10):
        publishing(stream, event())
    reader = stream.subscribe(None, 2)
    first, *rest = [told(one) for one in reader.waiting]
    assert (first["event"], first["from"], first["to"]) == ("gap", 3, 7)
    assert [one["id"] for one in rest] == [8, 9, 10]
    assert numbers(stream.subscribe(None, 7)) == [8, 9, 10]


async def test_events_of_earlier_processes_are_resumed_from() -> None:
    stream = Stream()
    stream.begin([event(number=4), event("prompt.finished", number=9)])
    stream.may_use(1001, 10)
    publishing(stream, event())
    assert numbers(stream.subscribe(None, 9)) == [1001]
    assert numbers(stream.subscribe(None, 500)) == [1001], "what was never told is not missing"


async def test_what_an_earlier_process_told_and_nobody_kept_is_a_gap_and_what_is_kept_follows_it() -> None:
    stream = Stream()
    stream.begin([event(number=4), event(number=5), event("prompt.finished", number=9)])
    stream.may_use(1001, 10)
    publishing(stream, event())
    first, *rest = [told(one) for one in stream.subscribe(None, 3).waiting]
    assert (first["event"], first["from"], first["to"], first["id"]) == ("gap", 6, 8, 3)
    assert [one["id"] for one in rest] == [4, 5, 9, 1001]
    first, *rest = [told(one) for one in stream.subscribe(None, 1).waiting]
    assert (first["from"], first["to"], [one["id"] for one in rest]) == (2, 8, [4, 5, 9, 1001])
    assert numbers(stream.subscribe(None, 8)) == [9, 1001]
    (only,) = [told(one) for one in stream.subscribe("other", 5).waiting]
    assert (only["from"], only["to"], only["id"]) == (6, 8, 8)


async def test_a_reader_that_has_left_is_told_nothing() -> None:
    stream = a_stream()
    reader, other = stream.subscribe(None, None), stream.subscribe(None, None)
    stream.unsubscribe(reader)
    stream.unsubscribe(reader)
    publishing(stream, event())
    await asyncio.wait_for(other.bell.wait(), 5)
    assert (numbers(reader), numbers(other)) == ([], [1])


async def test_a_slow_reader_is_cut_off_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "READER_BOUND", 3)
    stream = a_stream()
    slow, quick = stream.subscribe(None, None), stream.subscribe(None, None)
    cut: list[bool] = []
    slow.on_cut = lambda: cut.append(True)
    for _ in range(4):
        publishing(stream, event())
        await asyncio.sleep(0)
        quick.waiting.clear()
    assert (slow.cut, quick.cut, cut, numbers(slow)) == (True, False, [True], [])
    assert slow.bell.is_set()


def test_readers_whose_loop_is_closed_are_forgotten() -> None:
    stream = a_stream()

    async def come() -> None:
        stream.subscribe(None, None)

    asyncio.run(come())
    publishing(stream, event())
    publishing(stream, event())
    assert stream._readers == {}


def test_numbers_are_used_only_as_far_as_they_are_reserved() -> None:
    stream = Stream()
    assert stream.has_numbers_for(0)
    assert not stream.has_numbers_for(1)
    stream.may_use(11, 3)
    events = [event(), event()]
    assert stream.has_numbers_for(3)
    stream.number(events)
    assert [one.number for one in events] == [11, 12]
    assert stream.has_numbers_for(1)
    assert not stream.has_numbers_for(2)


# ---------------------------------------------------------------- what is news


def followed(*events: Any) -> tuple[OpenPrompt, Recorder]:
    recorder = Recorder("me", lambda _prompt_id: 0)
    for one in events:
        recorder.apply(one)
    return recorder.runs[0], recorder


def shown(found: list[StreamEvent]) -> list[tuple[str, Any]]:
    return [(one.kind, one.data.get("node_id")) for one in found]


def test_a_run_is_told_once_in_the_order_in_which_it_happened() -> None:
    graph = {"1": node("A"), "2": node("B")}
    run, recorder = followed(queued("p", graph), started(), NodeStarted("p", "1", at(2).mono))
    run.told = ToldEvents()
    assert shown(news_of(run, 500.0)) == [
        ("prompt.queued", None),
        ("prompt.started", None),
        ("node.started", "1"),
    ]
    assert news_of(run, 501.0) == []
    for one in (
        NodeFinished("p", "1", at(3).mono),
        NodeStarted("p", "2", at(4).mono),
        NodeFinished("p", "2", at(5).mono),
        outcome(when=at(6)),
    ):
        recorder.apply(one)
    found = news_of(run, 502.0)
    assert shown(found) == [("node.finished", "1"), ("node.started", "2"), ("node.finished", "2")]
    assert [one.at_ms for one in found] == [ms(3), ms(4), ms(5)]
    assert [one.data.get("status") for one in found] == ["success", None, "success"]
    assert [one.data.get("executed") for one in found] == [1, None, 2], "by then, though told together"
    assert news_of(run, 503.0) == []


def test_a_queued_run_is_told_when_it_was_queued_and_started() -> None:
    run, _ = followed(queued(), started(when=at(1)))
    assert [(one.at_ms, dict(one.data)) for one in news_of(run, 0.0)] == [
        (ms(0), {}),
        (ms(1), {"status": "running"}),
    ]


@pytest.mark.parametrize(
    ("status", "of_cause", "of_other"),
    [("error", "error", "interrupted"), ("interrupted", "interrupted", "interrupted")],
)
def test_nodes_that_a_prompt_s_end_takes_along_finish_with_it(status: str, of_cause: str, of_other: str) -> None:
    events = (NodeStarted("p", "1", at(2).mono), NodeStarted("p", "2", at(3).mono))
    run, recorder = followed(queued("p", {"1": node("A"), "2": node("B")}), started(), *events)
    run.told = ToldEvents()
    news_of(run, 500.0)
    recorder.apply(outcome(status=status, when=at(6), node_id="1" if status == "error" else None))
    assert news_of(run, 501.0) == []
    recorder.apply(done(succeeded=False))
    found = news_of(run, 502.0)
    assert [(one.kind, one.data["node_id"], one.data["status"], one.at_ms) for one in found] == [
        ("node.finished", "1", of_cause, ms(6)),
        ("node.finished", "2", of_other, ms(6)),
    ]
    assert news_of(run, 503.0) == []


def test_a_cached_node_is_no_news() -> None:
    run, _ = followed(queued("p", {"1": node("A")}), started(), NodeFinished("p", "1", at(2).mono))
    assert shown(news_of(run, 0.0)) == [("prompt.queued", None), ("prompt.started", None)]


def test_progress_is_told_at_most_five_times_a_second_and_the_last_step_always() -> None:
    run, recorder = followed(queued("p", {"1": node("A")}), started(), NodeStarted("p", "1", at(2).mono))
    run.told = ToldEvents()
    news_of(run, 0.0)
    seen = []
    for step in range(1, 101):
        recorder.apply(NodeProgress("p", "1", step, 100))
        seen += news_of(run, 1000.0 + step * 0.02)
    assert 9 <= len(seen) <= 11
    assert 2 / PROGRESS_SECONDS == 10
    recorder.apply(NodeProgress("p", "1", 100, 100))
    recorder.apply(NodeFinished("p", "1", at(4).mono))
    last = news_of(run, 1002.001)
    assert shown(last)[-1] == ("node.finished", "1")
    values = [one.data["value"] for one in [*seen, *last] if one.kind == "node.progress"]
    assert values == sorted(values)
    assert values[-1] == 100
    assert all(one.at_ms >= T0 * 1000 for one in [*seen, *last])


async def test_what_is_numbered_and_not_told_yet_is_not_lost_to_a_new_reader() -> None:
    stream = Stream()
    stream.may_use(1, 100)
    event = StreamEvent("prompt.finished", "p", 0)
    stream.number([event])
    reader = stream.subscribe("p", None)
    stream.publish([event])
    await asyncio.wait_for(reader.bell.wait(), 5)
    assert len(reader.waiting) == 1


async def test_a_resume_where_nothing_new_was_told_sends_nothing_again() -> None:
    stream = Stream()
    stream.begin([StreamEvent("prompt.finished", "p", 0, number=number) for number in range(1, 50)])
    assert not stream.subscribe(None, 49).waiting
    assert len(stream.subscribe(None, 40).waiting) == 9


@pytest.mark.parametrize("odd", ["n\ud800", "n\0"])
def test_a_node_with_an_odd_id_is_told_as_any_other(odd: str) -> None:
    run, recorder = followed(queued("p", {odd: node("A")}), started(), NodeStarted("p", odd, at(2).mono))
    recorder.apply(NodeProgress("p", odd, 3, 9))
    run.told = ToldEvents()
    kinds = [one.kind for one in news_of(run, 1000.0)]
    assert kinds == ["prompt.queued", "prompt.started", "node.started", "node.progress"]
    recorder.apply(NodeFinished("p", odd, at(3).mono))
    found = news_of(run, 1001.0)
    assert [one.kind for one in found] == ["node.finished"]
    found[0].encode()
