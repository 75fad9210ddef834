"""How commands speak: people get tables and sentences, `--json` gets one document, errors have exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

DONE, FAILED, BAD_USE, INTERRUPTED = 0, 1, 2, 130

out = Console(file=None, highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class CommandError(Exception):
    """Ends a command with a message and an exit code."""

    def __init__(self, kind: str, message: str, exit_code: int = BAD_USE) -> None:
        super().__init__(message)
        self.kind = kind
        self.exit_code = exit_code


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
    sys.stdout.flush()


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
    shown = Table(title=title, title_justify="left")
    for heading in columns.values():
        shown.add_column(heading)
    for row in rows:
        shown.add_row(*(Text(told(row.get(name))) for name in columns))
    out.print(shown)


def facts(title: str, pairs: Mapping[str, object]) -> None:
    """A record as a table of names and values."""
    table(title, [{"name": name, "value": value} for name, value in pairs.items()], {"name": "", "value": ""})


def status_exit_code(status: str) -> int:
    """0 for a prompt that succeeded, else 1."""
    return DONE if status == "success" else FAILED
