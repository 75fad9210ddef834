"""The stream of events: what has been committed, numbered for good, told to every reader.

An event's number comes from the store and only grows, over restarts too. The newest are kept in memory for readers
who resume; those about whole prompts and markers are kept in the store as well, so that a reader who resumes after a
restart misses no end.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..models.times import iso

KEPT_IN_MEMORY = 10_000
KEPT_IN_STORE = 10_000
NUMBERS_AT_ONCE = 10_000
"""Numbers are reserved in the store in blocks, so that no other process, and no later one, gives them again."""
READER_BOUND = 2_000
"""Events that may wait for one reader; one that is slower is cut off, and resumes where it was."""
KINDS = (
    "prompt.queued",
    "prompt.started",
    "prompt.named",
    "node.started",
    "node.progress",
    "node.finished",
    "prompt.finished",
    "marker.written",
)
DURABLE = frozenset({"prompt.queued", "prompt.started", "prompt.finished", "marker.written"})


@dataclass(slots=True)
class StreamEvent:
    """One event. `number` is 0 until it is committed."""

    kind: str
    prompt_id: str
    at_ms: int
    data: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0

    def encode(self) -> bytes:
        """As it goes over the wire."""
        told = {"prompt_id": self.prompt_id, "at": iso(self.at_ms), **self.data}
        return f"id: {self.number}\r\nevent: {self.kind}\r\ndata: {json.dumps(told)}\r\n\r\n".encode()


def gap(first: int, last: int, number: int | None = None) -> bytes:
    """What a reader is told, first of all, for whom some events from `first` to `last` are no longer kept.

    Those among them that are kept come after it; `number` is that of the one before, `last` where none is.
    """
    told = json.dumps({"from": first, "to": last})
    return f"id: {last if number is None else number}\r\nevent: gap\r\ndata: {told}\r\n\r\n".encode()


class Reader:
    """One reader's queue. Lives on its event loop; `events` is cut at `READER_BOUND`."""

    def __init__(self, prompt_id: str | None, after: int) -> None:
        self.prompt_id = prompt_id
        self.after = after
        self.waiting: deque[bytes] = deque()
        self.cut = False
        self.bell = asyncio.Event()
        self.on_cut: Callable[[], object] | None = None
        """Called, on the reader's event loop, when it is cut off."""

    def offer(self, events: Iterable[tuple[StreamEvent, bytes]]) -> None:
        """Queue what this reader has asked for and has not had."""
        for event, wire in events:
            if event.number <= self.after or (self.prompt_id is not None and event.prompt_id != self.prompt_id):
                continue
            self.after = event.number
            self.waiting.append(wire)
        if len(self.waiting) > READER_BOUND:
            self.cut = True
            self.waiting.clear()
            if self.on_cut is not None:
                self.on_cut()
        if self.waiting or self.cut:
            self.bell.set()


class Stream:
    """The newest events, and those who read them. Any thread may publish; readers live on event loops."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: deque[StreamEvent] = deque(maxlen=KEPT_IN_MEMORY)
        self._readers: dict[asyncio.AbstractEventLoop, set[Reader]] = {}
        self._next = 1
        self._end = 1
        self._published = 0
        """The highest number that has been told; what is numbered above it is not committed yet."""
        self._oldest = 1
        """Where what is kept begins; what lies before may have been forgotten."""
        self._whole_from = 1
        """From here on every event is kept; of earlier processes only those that the store keeps are."""

    def begin(self, kept: Iterable[StreamEvent]) -> None:
        """Take over what the store has from earlier processes."""
        with self._lock:
            later = list(self._kept)
            self._kept.clear()
            self._kept.extend(kept)
            self._kept.extend(later)
            self._oldest = self._kept[0].number if self._kept else self._next
            self._published = max(self._published, self._kept[-1].number if self._kept else 0)
            self._whole_from = self._published + 1

    def has_numbers_for(self, count: int) -> bool:
        """Whether so many events can be numbered without reserving more numbers."""
        with self._lock:
            return self._next + count <= self._end

    @property
    def next_number(self) -> int:
        """The number that the next event would have, or a later one."""
        with self._lock:
            return self._next

    def give_back(self) -> None:
        """Forget what was reserved, because the store that it was reserved in is gone."""
        with self._lock:
            self._end = self._next

    def may_use(self, first: int, count: int) -> None:
        """Take over a block of numbers that was reserved in the store."""
        with self._lock:
            if not self._kept:
                self._oldest = first
            self._next, self._end = first, first + count

    def number(self, events: Iterable[StreamEvent]) -> None:
        """Give numbers to events that are about to be committed."""
        with self._lock:
            for event in events:
                event.number = self._next
                self._next += 1

    def publish(self, events: list[StreamEvent]) -> None:
        """Tell events that are committed, in the order of their numbers."""
        with self._lock:
            if len(self._kept) + len(events) > KEPT_IN_MEMORY and self._kept:
                index = min(len(self._kept) - 1, len(self._kept) + len(events) - KEPT_IN_MEMORY)
                self._oldest = self._kept[index].number
            self._kept.extend(events)
            self._published = max(self._published, *(event.number for event in events), 0)
            loops = list(self._readers)
        encoded = [(event, event.encode()) for event in events] if loops else []
        for loop in loops:
            try:
                loop.call_soon_threadsafe(self._distribute, loop, encoded)
            except RuntimeError:  # the loop is closed: its readers are gone
                with self._lock:
                    self._readers.pop(loop, None)

    def _distribute(self, loop: asyncio.AbstractEventLoop, encoded: list[tuple[StreamEvent, bytes]]) -> None:
        for reader in list(self._readers.get(loop, ())):
            reader.offer(encoded)

    def subscribe(self, prompt_id: str | None, after: int | None) -> Reader:
        """A new reader on this event loop: of what comes from now on, or of all that came after a number.

        Where what came after it is no longer kept, the reader is told the gap first.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            reader = Reader(prompt_id, self._published if after is None else min(after, self._published))
            kept: list[StreamEvent] = []
            if after is not None:
                kept = [event for event in self._kept if event.number > reader.after]
                missing = self._missing(after, [event.number for event in kept])
                if missing is not None:
                    reader.waiting.append(missing)
                    reader.after = max(reader.after, self._oldest - 1)
                reader.after = max(reader.after, kept[-1].number if kept else 0)
            self._readers.setdefault(loop, set()).add(reader)
        # What is published from now on is offered on this event loop, so only after this.
        reader.waiting.extend(event.encode() for event in kept if prompt_id in (None, event.prompt_id))
        if reader.waiting:
            reader.bell.set()
        return reader

    def _missing(self, after: int, kept: list[int]) -> bytes | None:
        """The gap for a reader who resumes after a number, `kept` being what can be sent; null for none."""
        earlier = [number for number in kept if number < self._whole_from]
        last = self._oldest - 1
        if earlier and earlier[-1] - after > len(earlier):
            last = max(last, earlier[-1] - 1)
        if after >= last:
            return None
        lasting = set(earlier)
        first = next(number for number in range(after + 1, last + 2) if number not in lasting)
        return gap(first, last, kept[0] - 1 if kept else None)

    def kept(self) -> list[StreamEvent]:
        """The events that a reader could resume after, oldest first."""
        with self._lock:
            return list(self._kept)

    def prompt_ids(self) -> set[str]:
        """The prompts of which an event is kept."""
        with self._lock:
            return {event.prompt_id for event in self._kept}

    def forget(self, prompt_ids: set[str]) -> None:
        """Let go of all events of some prompts, because they were erased."""
        with self._lock:
            kept = [event for event in self._kept if event.prompt_id not in prompt_ids]
            self._kept.clear()
            self._kept.extend(kept)

    def unsubscribe(self, reader: Reader) -> None:
        """Forget a reader."""
        with self._lock:
            for loop, readers in list(self._readers.items()):
                readers.discard(reader)
                if not readers:
                    del self._readers[loop]
