"""Fuzzes what reads foreign bytes: the marker reader and the parser of server-sent events.

    python -m tests.fuzz --seconds 3600

A reader of markers may answer with a marker or with MarkerError, a parser of events with events; whatever else comes
out of them is a fault, and is printed with the smallest input that Hypothesis finds for it.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from run_recorder.client.events import parse_events
from run_recorder.telemetry.live.stream import StreamEvent
from run_recorder.telemetry.markers.file import MarkerError, encode, read_marker
from run_recorder.telemetry.models.marker import DoneMarker, MarkerFile

EXAMPLES = 1000
"""Inputs between two looks at the clock."""
counted: Counter[str] = Counter()

texts = st.text(st.characters(), max_size=40)
times = st.sampled_from(["2026-08-01T10:20:30.456Z", "", "yesterday", "2026-08-01"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
FIELDS = sorted(DoneMarker.model_fields)
near_markers = st.dictionaries(st.sampled_from(FIELDS), values | times, max_size=len(FIELDS))
files = st.builds(
    MarkerFile,
    Name=texts,
    Bytes=st.integers(0, 2**62),
    Modified=times,
    NodeId=st.none() | texts,
    Sha256=st.none() | st.just("a" * 64),
)
markers = st.builds(
    DoneMarker,
    Timestamp=st.just("2026-08-01T10:20:30.456Z"),
    FrameCount=st.integers(0, 10**6),
    Latest=st.none() | st.just("2026-08-01T10:20:30.456Z"),
    SchemaVersion=st.just(1),
    Status=st.sampled_from(["success", "running", "error", "interrupted", "abandoned"]),
    PromptId=st.none() | texts,
    Producer=st.sampled_from(["node", "sentinel", "runner", "cli"]),
    Cached=st.booleans(),
    Files=st.lists(files, max_size=3),
    Notes=st.lists(texts, max_size=3),
)


@st.composite
def broken(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Bytes that were good once: cut, spliced, with some of them changed."""
    data = bytearray(draw(whole))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(["cut", "put", "change"])):
            case "cut":
                del data[at : at + draw(st.integers(1, 20))]
            case "put":
                data[at:at] = draw(
                    st.binary(max_size=8) | st.sampled_from([b"{", b"[" * 2000, b'"', b"\\ud800", b"1" * 400])
                )
            case _ if data:
                data[at] = draw(st.integers(0, 255))
    return bytes(data)


good_markers = markers.map(encode)
marker_bytes = st.one_of(
    st.binary(max_size=200),
    near_markers.map(lambda marker: json.dumps(marker).encode("utf-8", "backslashreplace")),
    broken(good_markers),
)
events = st.builds(
    StreamEvent,
    kind=st.sampled_from(["prompt.queued", "node.progress", "marker.written"]),
    prompt_id=texts,
    at_ms=st.integers(0, 2**45),
    data=st.dictionaries(st.sampled_from(["node_id", "path", "status"]), texts, max_size=3),
    number=st.integers(1, 2**60),
)
streams = st.lists(events.map(StreamEvent.encode), max_size=4).map(b"".join)


def a_marker_is_read_or_refused(path: Path, data: bytes) -> None:
    """Any bytes: a marker, or MarkerError with the file's name."""
    path.write_bytes(data)
    try:
        found = read_marker(path)
    except MarkerError as error:
        counted["markers refused"] += 1
        assert path.name in str(error)
        return
    counted["markers read"] += 1
    read_marker_again = DoneMarker.model_validate(found.model_dump())
    assert read_marker_again == found


def what_was_written_is_read_again(path: Path, marker: DoneMarker) -> None:
    """A marker says the same after it was on the disk; what is no Unicode was escaped."""
    path.write_bytes(encode(marker))
    found = read_marker(path)
    counted["markers written and read"] += 1
    assert (found.FrameCount, found.Status, len(found.Files)) == (marker.FrameCount, marker.Status, len(marker.Files))
    assert [file.Bytes for file in found.Files] == [file.Bytes for file in marker.Files]


def lines_of(data: bytes) -> list[bytes]:
    """As they come from a connection."""
    return [line + b"\n" for line in data.split(b"\n")]


def any_stream_is_parsed(data: bytes) -> None:
    """Any bytes: some events, never an exception."""
    counted["events from broken streams"] += len(list(parse_events(lines_of(data))))


def what_was_told_is_heard(told: list[StreamEvent]) -> None:
    """Events come out as they went in, in their order, whatever their texts hold."""
    heard = list(parse_events(lines_of(b"".join(event.encode() for event in told))))
    counted["events told and heard"] += len(heard)
    assert [(identity, kind) for identity, kind, _ in heard] == [(str(event.number), event.kind) for event in told]
    for event, (_, _, data) in zip(told, heard, strict=True):
        assert json.loads(data)["prompt_id"] == event.prompt_id


def rounds(folder: Path) -> list[Callable[[], None]]:
    """Each property with what it is given, a batch of inputs a call."""
    path = folder / "a.done"
    checks: list[tuple[Callable[[Any], None], st.SearchStrategy[Any]]] = [
        (lambda data: a_marker_is_read_or_refused(path, data), marker_bytes),
        (lambda marker: what_was_written_is_read_again(path, marker), markers),
        (any_stream_is_parsed, st.one_of(st.binary(max_size=200), broken(streams))),
        (what_was_told_is_heard, st.lists(events, max_size=4)),
    ]
    how = settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    return [how(given(what)(check)) for check, what in checks]


def fuzz(seconds: float) -> Counter[str]:
    """Fuzz for so long; how many inputs there were. Raises on the first fault."""
    counted.clear()
    deadline = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        batches = rounds(Path(folder))
        while time.monotonic() < deadline:
            for batch in batches:
                batch()
    return counted


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    for name, count in sorted(fuzz(parser.parse_args().seconds).items()):
        sys.stdout.write(f"{name}: {count}\n")
