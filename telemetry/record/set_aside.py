"""Records that the database does not take: each whole, as JSON, in a file of its own beside the database's.

Nothing of a record is lost by what the database thinks of it, and nobody else's record waits for it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ..files.guarded_files import write_whole
from ..models.prompt import Instance
from ..models.record import NodeRecord, PromptRecord
from ..models.view import node_of, prompt_of
from ..process.problems import Problems
from ..store.database_file import make_private_folder

FOLDER = "set-aside"
MAX_FILES = 1000
"""Of one folder; what comes after is counted as lost."""
PROBLEM = "record set aside"


class SetAside:
    """A folder of such files. Files are synced before `put` returns."""

    def __init__(self, folder: Path, problems: Problems) -> None:
        self.folder = folder
        self._problems = problems

    def put(self, record: PromptRecord, nodes: Sequence[NodeRecord], instance: Instance, why: BaseException) -> str:
        """Keep a record; the name of its file. Raises OSError where it can't be kept either."""
        make_private_folder(self.folder)
        if sum(1 for _ in self.folder.glob("*.json")) >= MAX_FILES:
            raise OSError(f"{self.folder.name} holds {MAX_FILES} records already")
        name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{_digest(record)}.json"
        write_whole(self.folder / name, _whole(record, nodes, instance), mode=0o600)
        hint = (
            f"the database does not take the record of prompt {record.prompt_id}; it is kept whole in {FOLDER}/{name}"
        )
        self._problems.report(PROBLEM, hint, why)
        return name


def _digest(record: PromptRecord) -> str:
    told = f"{record.instance_id}\0{record.prompt_id}\0{record.run_number}\0{record.queued_ms}"
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _whole(record: PromptRecord, nodes: Sequence[NodeRecord], instance: Instance) -> bytes:
    """As the routes serve it where it is good enough for that, else what there is of it."""
    try:
        prompt = prompt_of(record, {instance.id: instance}).model_dump(mode="json")
        served = [node_of(node).model_dump(mode="json") for node in nodes]
    except Exception:  # noqa: BLE001  whatever is odd about it is why it is here
        prompt = {name: getattr(record, name, None) for name in PromptRecord.__dataclass_fields__}
        served = [asdict(node) for node in nodes]
    told = {"prompt": prompt, "nodes": served}
    return json.dumps(told, indent=1, default=repr, skipkeys=True).encode("ascii", "backslashreplace")
