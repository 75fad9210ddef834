"""How commands speak: people get tables and sentences, `--json` gets one document, errors have exit codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from . import terminal

DONE, FAILED, BAD_USE, INTERRUPTED = 0, 1, 2, 130


class CommandError(Exception):
    """Ends a command with a message and an exit code."""

    def __init__(self, kind: str, message: str, exit_code: int = BAD_USE) -> None:
        super().__init__(message)
        self.kind = kind
        self.exit_code = exit_code


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    terminal.print_document(document)


def fail(kind: str, message: str, exit_code: int = BAD_USE) -> NoReturn:
    """End the command."""
    raise CommandError(kind, message, exit_code)


def told(value: object) -> str:
    """A value in a table; a dash for null."""
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def table(title: str, rows: Sequence[Mapping[str, object]], columns: Mapping[str, str]) -> None:
    """Some records as a table. `columns` gives the heading of each field."""
    terminal.show_table(title, list(columns.values()), [[told(row.get(name)) for name in columns] for row in rows])


def facts(title: str, pairs: Mapping[str, object]) -> None:
    """A record as a table of names and values."""
    terminal.show_table(title, ["", ""], [(name, told(value)) for name, value in pairs.items()], in_lines=True)


def status_exit_code(status: str) -> int:
    """0 for a prompt that succeeded, else 1."""
    return DONE if status == "success" else FAILED
