"""What was acknowledged and is not in the store yet: in a small file of this process, synced before anybody is told.

A prompt that a client was told of, and an end that a marker or `wait` tells, must outlive a kill. Where the store can't
take them in time (it is not open yet, locked, away), they are kept here and handed in when it can. The next process
hands in what a dead one left.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import threading
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..files.guarded_files import open_regular
from ..models.prompt import Instance, PromptError
from ..models.record import NodeRecord, PromptRecord
from ..process.identity import UNKNOWN, Identity
from ..store.database_file import make_private_folder
from ..store.rows import output_file, output_row, prompt_record, prompt_row
from ..store.tables import prompts

FOLDER = "spool"
SUFFIX = ".jsonl"
MAX_BYTES = 256 * 1024 * 1024
"""Of one process' file; what comes after stays in memory alone, and isn't told as certain."""
MAX_LINE = 64 * 1024 * 1024


class SpoolFullError(OSError):
    """The spool has reached its bound."""


@dataclass(slots=True)
class Kept:
    """One run as it was when it was kept; a later one of the same run takes its place."""

    record: PromptRecord
    nodes: list[NodeRecord] = field(default_factory=list)
    ended: bool = False
    """True where the record is final, its outputs and nodes with it."""

    @property
    def key(self) -> tuple[str, str, int | None, float | None]:
        """What tells one run of a process from another before the store has numbered it."""
        record = self.record
        return record.instance_id, record.prompt_id, record.queued_ms, record.queue_number


class Spool:
    """This process' file. Any thread may keep; the file is made when it is first needed, private to its user."""

    def __init__(self, folder: Path, owner: str, instance: Instance, identity: Identity = UNKNOWN) -> None:
        """In a folder of spools, under the name by which its owner is known to live.

        `instance` and `identity` are those of the process whose records it keeps.
        """
        self.file = folder / f"{uuid.UUID(owner)}{SUFFIX}"
        self._instance = instance
        self._identity = identity
        self._lock = threading.Lock()
        """The server's thread keeps what was posted, the writer's what has ended."""
        self._descriptor: int | None = None
        self._bytes = 0

    def keep(self, entries: Sequence[Kept]) -> None:
        """Append some runs, and return once they are on the disk. Raises OSError, and then none is certain."""
        data = b"".join(map(_encode, entries))
        with self._lock:
            self._append(data)

    def _append(self, data: bytes) -> None:
        if self._bytes + len(data) > MAX_BYTES:
            raise SpoolFullError(f"the spool holds {MAX_BYTES} bytes already")
        descriptor = self._open()
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, self._bytes)
            raise
        self._bytes += len(data)

    def clear(self) -> None:
        """Everything in it has been handed in."""
        with self._lock:
            if self._descriptor is not None and self._bytes:
                os.ftruncate(self._descriptor, 0)
                self._bytes = 0

    def read(self) -> list[Kept]:
        """What is in it, the newest state of each run."""
        return read_spool(self.file) if self._bytes else []

    def close(self) -> None:
        """Give the file back, and remove it where nothing is left in it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            if not self._bytes:
                with contextlib.suppress(OSError):
                    self.file.unlink()

    def _open(self) -> int:
        if self._descriptor is None:
            make_private_folder(self.file.parent)
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)
            self._descriptor = os.open(self.file, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)
        if not self._bytes:
            head = _line({"instance": self._instance.model_dump(), "identity": asdict(self._identity)})
            os.write(self._descriptor, head)
            self._bytes = len(head)
        return self._descriptor


def left_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """The spools of all processes in a folder of spools: their owners' identities, and the files."""
    with contextlib.suppress(OSError):
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            with contextlib.suppress(ValueError):
                yield str(uuid.UUID(path.stem)), path


def read_spool(file: Path) -> list[Kept]:
    """The runs in a spool, the newest state of each; a line that a kill cut off is passed over. Raises OSError."""
    found: dict[object, Kept] = {}
    with open_regular(file) as opened:
        while line := opened.readline(MAX_LINE):
            kept = _decode(line)
            if kept is not None:
                found[kept.key] = kept
    return list(found.values())


def owner_of(file: Path) -> tuple[Instance, Identity] | None:
    """The process whose records a spool keeps; null where that can't be read."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError), open_regular(file) as opened:
        told = _checked(opened.readline(MAX_LINE))
        return Instance.model_validate(told["instance"]), Identity(**told.get("identity", {}))
    return None


def _encode(kept: Kept) -> bytes:
    record = kept.record
    row = prompt_row(record, 0)
    told: dict[str, Any] = {
        "pk": record.pk,
        "row": row,
        "nodes": [_node(node) for node in kept.nodes],
        "outputs": [output_row(0, seq, file) for seq, file in enumerate(record.outputs)],
        "samples": base64.b64encode(record.samples).decode() if record.samples is not None else None,
        "settings": record.settings,
        "ended": kept.ended,
    }
    return _line(told)


def _line(told: Mapping[str, Any]) -> bytes:
    text = json.dumps(told, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _checked(line: bytes) -> Any:
    """What a line says. Raises ValueError where a kill cut it off."""
    check, _, text = line.rstrip(b"\n").partition(b" ")
    if int(check, 16) != zlib.crc32(text):
        raise ValueError("this line is not whole")
    return json.loads(text)


def _node(node: NodeRecord) -> dict[str, Any]:
    return {**asdict(node), "error": node.error.model_dump() if node.error is not None else None}


def _decode(line: bytes) -> Kept | None:
    try:
        told = _checked(line)
        record = prompt_record({**_UNKNOWN, **told["row"], "pk": told["pk"]})
        record.outputs = [output_file(row) for row in told["outputs"]]
        record.samples = base64.b64decode(told["samples"]) if told["samples"] is not None else None
        record.settings = told.get("settings")
        nodes = [NodeRecord(**{**node, "error": _error(node["error"])}) for node in told["nodes"]]
        return Kept(record, nodes, bool(told["ended"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


_UNKNOWN = dict.fromkeys(prompts.c.keys())
"""What a line of an older version doesn't say."""


def _error(data: Any) -> PromptError | None:
    return PromptError.model_validate(data) if data is not None else None
