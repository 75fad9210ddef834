"""From what ComfyUI says of a prompt's nodes to the files that they saved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..telemetry.models.prompt import Prompt
from . import limits


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file that a prompt's outputs name."""

    filename: str
    subfolder: str
    node_id: str | None = None

    @property
    def relative(self) -> str:
        """Below the output folder, forward slashes."""
        return f"{self.subfolder}/{self.filename}".replace("\\", "/").lstrip("/")


def files_of(outputs: dict[Any, Any]) -> list[OutputFile]:
    """Every file of type output that a node reported, whatever the key, each once and as many as are taken."""
    found: dict[OutputFile, None] = {}
    for one in _reported(outputs):
        found.setdefault(one)
        if len(found) >= limits.MOST_FILES:
            break
    return list(found)


def files_of_record(record: Prompt) -> list[OutputFile]:
    """The files of type output that a record names, each once and as many as are taken."""
    named = (OutputFile(one.filename, one.subfolder, one.node_id) for one in record.outputs if one.type == "output")
    return list(dict.fromkeys(named))[: limits.MOST_FILES]


def _reported(outputs: dict[Any, Any]) -> Iterator[OutputFile]:
    for node_id, reported in outputs.items():
        for values in reported.values() if isinstance(reported, dict) else ():
            for one in values if isinstance(values, list) else ():
                if isinstance(one, dict) and one.get("type") == "output" and isinstance(one.get("filename"), str):
                    folder = one.get("subfolder")
                    yield OutputFile(one["filename"], folder if isinstance(folder, str) else "", str(node_id))
