"""What is taken of an answer: its JSON, its packing, and what a queue policy makes of the times."""

import json
import zlib
from typing import Any

import pytest
from run_recorder.client import limits
from run_recorder.client.answers import History, Queue, SystemStats
from run_recorder.client.decoding import PIECE, Decoder, EncodingError
from run_recorder.client.errors import ServerError
from run_recorder.client.limits import BOUNDS, Limits
from run_recorder.client.outputs import files_of
from run_recorder.client.parsing import UnreadableError, depth_of, parse
from run_recorder.runner.policy import resolve


def test_numbers_that_nothing_counts_are_null() -> None:
    told = parse(b"[NaN, -Infinity, 1e999, 7, -7, 1.5, %s]" % (b"9" * 5000))
    assert told == [None, None, None, 7, -7, 1.5, None]


def test_text_is_cleaned_once_and_can_be_written() -> None:
    told = parse(b'{"a\\ud800": ["\\udcff", "nul\\u0000", "\\ud83d\\ude00", "\\u00e9"]}')
    assert told == {"a\\ud800": ["\\udcff", "nul", "\N{GRINNING FACE}", "\u00e9"]}
    json.dumps(told, ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize(
    "data, why, is_no_json",
    [
        (b"", "empty", True),
        (b" \n", "empty", True),
        (b"<html>", "HTML", True),
        (b"{", "no JSON", True),
        (b"[" * 101 + b"]" * 101, "nested", False),
        (b"[" * 100_000 + b"]" * 100_000, "nested", False),
        (b"[" + b"[]," * 2_000_000 + b"[]]", "memory", False),
        ('["\N{GRINNING FACE}'.encode() + b"x" * 16 * limits.MIB + b'"]', "memory", False),
    ],
    ids=["nothing", "spaces", "a page", "half", "101 deep", "100,000 deep", "brackets", "wide"],
)
def test_what_is_not_taken_is_said_why(data: bytes, why: str, is_no_json: bool) -> None:
    with pytest.raises(UnreadableError, match=why) as raised:
        parse(data)
    assert raised.value.is_no_json is is_no_json


def test_a_hundred_levels_are_taken() -> None:
    assert depth_of(parse(b"[" * 100 + b"]" * 100)) == 100
    assert depth_of("text") == 0


def unpacked(encoding: str | None, *parts: bytes) -> bytes:
    decoder = Decoder(encoding)
    pieces = [piece for part in parts for piece in decoder.feed(part)]
    decoder.finish()
    assert encoding is None or all(len(piece) <= PIECE for piece in pieces)
    return b"".join(pieces)


def test_what_was_packed_comes_out_in_small_pieces() -> None:
    text = b"frame" * 100_000
    gzip = zlib.compressobj(wbits=31)
    raw = zlib.compressobj(wbits=-15)
    packed = gzip.compress(text) + gzip.flush()
    assert unpacked("gzip", packed[:10], packed[10:], b"what follows") == text
    assert unpacked("deflate", zlib.compress(text)) == text
    assert unpacked("deflate", raw.compress(text) + raw.flush()) == text, "without its header, as some servers send it"
    assert unpacked(None, text) == text


@pytest.mark.parametrize(
    "encoding, data",
    [("br", b"x"), ("gzip", b"no gzip at all"), ("deflate", zlib.compress(b"frame")[:-3])],
    ids=["another packing", "not packed", "half"],
)
def test_a_packing_that_is_none_is_told(encoding: str, data: bytes) -> None:
    with pytest.raises(EncodingError):
        unpacked(encoding, data)


def test_no_answer_takes_longer_than_the_policy_waits() -> None:
    policy = resolve({"max_wait_seconds": (3, "option"), "frame_wait_timeout_seconds": (7, "option")})
    assert policy.limits().of("history").seconds == 3
    assert policy.limits().of("file").seconds == 7
    assert policy.limits().of("wait", 2).seconds == 5, "beside the time that it was asked to wait"
    assert all(Limits(10**9, 10**9).of(kind) == bound for kind, bound in BOUNDS.items())


@pytest.mark.parametrize("entry", [{}, {"status": None}, {"status": "x"}, {"status": {"messages": None}}])
def test_a_history_that_says_little_is_a_success_as_comfyui_keeps_no_other(entry: dict[str, Any]) -> None:
    assert History.model_validate(entry).status.end[0] == "success"


def test_an_error_that_is_no_object_is_an_error() -> None:
    entry = {"status": {"status_str": "error", "messages": [["execution_error", "boom"]]}}
    assert History.model_validate(entry).status.end == ("error", None)


def test_items_of_a_queue_that_are_none_are_passed_over() -> None:
    queue = Queue.model_validate({"queue_running": [7, [1, "a"]], "queue_pending": [[3, "c"], ["x", "b"], [None]]})
    assert queue.places() == {"a": 0, "b": 1, "c": 2}
    graphs = [[0, "a", {"1": {}}], [1, "b", None], [2, "c"], [3, 4, {}], 7]
    assert list(Queue.model_validate({"queue_running": graphs}).running_graphs()) == [("a", {"1": {}})]
    with pytest.raises(ValueError, match="devices"):
        SystemStats.model_validate({"system": {}})


def test_no_more_files_are_named_than_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_FILES", 3)
    images = [{"filename": f"{number}.png", "type": "output"} for number in range(9)]
    assert len(files_of({"1": {"images": images}})) == 3


def test_a_servers_error_is_one_short_line_that_can_be_written() -> None:
    said = str(ServerError("x", "a\nb \udcff" + "x" * 5000))
    assert said.startswith("a b \\udcff") and len(said) < 1100
