"""How much of each kind of answer is taken from a server: one place for bytes, speed and time.

Bytes count after decompression. Seconds are from the request to the answer's last byte. Whoever has a queue policy
narrows the times to its own by `Limits`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "status",
    "health",
    "object_info",
    "queue",
    "history",
    "posted",
    "record",
    "wait",
    "contract",
    "file",
    "piece",
    "stat",
    "figures",
    "events",
    "models",
    "story",
]
"""`status` is `/system_stats`, `posted` every answer to a POST, `record` our records, `contract` one of them as a run
has it, `piece` a part of a file, `stat` a file's size and time, `figures` what is seen of a GPU, `models` and `story` a
language model's."""
KIB, MIB, GIB = 1024, 1024**2, 1024**3


@dataclass(frozen=True, slots=True)
class Bound:
    """What is taken of one kind of answer."""

    most_bytes: int
    seconds: float
    least_speed: int = 64
    """Bytes a second, over each SLOW_SECONDS."""


BOUNDS: Mapping[Kind, Bound] = {
    "status": Bound(1 * MIB, 30.0),
    "health": Bound(1 * MIB, 30.0),
    "object_info": Bound(24 * MIB, 60.0),
    "queue": Bound(24 * MIB, 30.0),
    "history": Bound(16 * MIB, 30.0),
    "posted": Bound(4 * MIB, 60.0),
    "record": Bound(16 * MIB, 60.0),
    "wait": Bound(16 * MIB, 30.0, 0),
    "contract": Bound(1 * MIB, 30.0),
    "file": Bound(64 * GIB, 86_400.0, 4 * KIB),
    "piece": Bound(64 * KIB, 30.0),
    "stat": Bound(0, 30.0),
    "figures": Bound(1 * MIB, 5.0),
    "events": Bound(1 * MIB, 60.0, 0),
    "models": Bound(4 * MIB, 5.0),
    "story": Bound(8 * MIB, 86_400.0, 0),
}
"""Of `events` the bytes are those of one event, and the seconds the longest silence: the stream itself has no end."""
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 30.0
"""A server that sends nothing at all for so long has stopped to answer."""
SLOW_SECONDS = 30.0
"""Over so long an answer has to keep its least speed."""

MOST_MEMORY = 72 * MIB
"""What a JSON answer may need once it is read, by estimate: a megabyte of brackets becomes thirty."""
MOST_DEPTH = 100
"""Of a JSON answer: a graph has five levels, and what reads and writes it calls itself once a level."""
MOST_DIGITS = 40
"""Of a whole number: the largest that anything here counts has 20."""
MOST_TEXT = 4000
"""Characters of a text that is kept of an answer: an error, a name."""
MOST_FILES = 100_000
"""That one prompt may name."""

SOCKET_MESSAGE = 16 * MIB
"""One message of ComfyUI's web socket: pictures come this way, too."""
SOCKET_TEXT = 2 * MIB
"""One message that is read, and not passed over."""
SOCKET_KEPT = 4 * MIB
"""Characters of the messages of one connection whose files are kept."""
SOCKET_FLOOD = 5000
"""Messages a second, over SOCKET_SECONDS: a server that tells more is not listened to any more."""
SOCKET_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds under a queue policy: no answer takes longer than the policy waits at all."""

    answer_seconds: float | None = None
    """The longest time without progress; null: the kind's own."""
    file_seconds: float | None = None
    """The longest wait for frames; null: the kind's own."""

    def of(self, kind: Kind, more_seconds: float = 0.0) -> Bound:
        """The bound of a kind; `more_seconds` is how long the server was asked to wait before it answers."""
        bound = BOUNDS[kind]
        most = self.file_seconds if kind == "file" else self.answer_seconds
        seconds = bound.seconds if most is None else min(bound.seconds, most)
        return Bound(bound.most_bytes, seconds + more_seconds, bound.least_speed)
