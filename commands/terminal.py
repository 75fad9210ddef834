"""The one way to the terminal: nothing else in the commands prints, and nothing here prints foreign text as it is.

Text from records, servers and file names goes through `printable`, and never through rich's markup. `--json` gives
the same document to the last character, with JSON's own escapes for what would steer a terminal.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple, Protocol

from rich.console import Console
from rich.control import Control
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import ControlType
from rich.table import Table
from rich.text import Text

from ..telemetry.process.printable import escaped_json, printable, printable_lines

for _size in ("COLUMNS", "LINES"):  # rich takes a width of 0 at its word, and ends at digits that int() does not take
    if not re.fullmatch("[1-9][0-9]{0,4}", os.environ.get(_size, "")):
        os.environ.pop(_size, None)
_out = Console(file=None, highlight=False, soft_wrap=True, markup=False, emoji=False)
_err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
_CLEAR_LINE = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))


class Styled(NamedTuple):
    """A part of a line in a colour or weight of rich's."""

    text: object
    style: str


def say(*parts: object) -> None:
    """One line on standard output; parts are put together as they are."""
    _out.print(_line(parts))


def tell(*parts: object) -> None:
    """One line on standard error."""
    _err.print(_line(parts))


def tell_lines(value: object) -> None:
    """Text that may have lines on standard error; those after the first are indented."""
    _err.print(Text(printable_lines(value)))


def _line(parts: Sequence[object]) -> Text:
    line = Text()
    for part in parts:
        text, style = part if isinstance(part, Styled) else (part, "")
        line.append(printable(text), style)
    return line


def width() -> int:
    """Columns of standard output; 80 where it is no terminal, or what `COLUMNS` says."""
    return _out.width


def show_table(
    title: str, headings: Sequence[str], rows: Sequence[Sequence[object]], *, in_lines: bool = False
) -> None:
    """A table on standard output. `in_lines` keeps line breaks inside its cells.

    Nothing is cut, for what can't be read can't be typed either: the first column, ids and names, stays in one line
    as long as there is room, and what is too long for the others goes on below.
    """
    cleaned = printable_lines if in_lines else printable
    shown = Table(title=Text(printable(title)), title_justify="left")
    for number, heading in enumerate(headings):
        shown.add_column(Text(heading), overflow="fold", no_wrap=number == 0)
    for row in rows:
        shown.add_row(*(Text(cleaned(cell)) for cell in row))
    _out.print(shown)


def print_document(document: Any, *, in_one_line: bool = False) -> None:
    """A JSON document on standard output."""
    print_json_text(json.dumps(document, ensure_ascii=False, indent=None if in_one_line else 2))


def print_json_text(text: str) -> None:
    """JSON that is text already, and a line break."""
    sys.stdout.write(escaped_json(text) + "\n")
    sys.stdout.flush()


def stdout_is_gone() -> None:
    """Whoever read our output has seen enough: nothing more is written to it, and nothing fails for it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def be_ready(*, as_json: bool) -> None:
    """JSON is UTF-8 whatever the console is; in a table, what the console lacks is escaped. Logs come by `tell`."""
    logging.lastResort = LogHandler(logging.WARNING)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8" if as_json else None, errors="backslashreplace")


def show_faults() -> None:
    """Let the traceback of a fault of ours, which may quote anything, be fit to be printed, too."""
    sys.excepthook = _show_fault


def _show_fault(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    tell_lines("".join(traceback.format_exception(kind, error, trace)).rstrip())


# ---------------------------------------------------------------- what is written over


@contextmanager
def status(first: str) -> Iterator[Callable[[str], None]]:
    """A line on standard error that is written over, where that is a terminal; takes its next text."""
    with _err.status(Text(printable(first))) as shown:
        yield lambda text: shown.update(Text(printable(text)))


class Bar(Protocol):
    """Shows where a task is: its description, its steps in words, and how many of how many where that is known."""

    def __call__(
        self, description: str, steps: str = "", completed: float = 0, total: float | None = None, *, anew: bool = False
    ) -> None:
        """`anew` begins to tell the pace from here on."""


@contextmanager
def bar(first: str) -> Iterator[Bar]:
    """A bar on standard error with the time left; nothing is shown where that is no terminal."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[steps]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_err, transient=True, disable=not _err.is_terminal) as progress:
        task = progress.add_task(printable(first), total=None, steps="")

        def show(
            description: str, steps: str = "", completed: float = 0, total: float | None = None, *, anew: bool = False
        ) -> None:
            text = printable(description)
            if total is None:
                progress.update(task, description=text, steps="")
                return
            if anew:
                progress.reset(task, total=total, description=text, steps="")
            progress.update(task, description=text, completed=completed, total=total, steps=printable(steps))

        yield show


class LiveText:
    """One line on standard error that is written over, where that is a terminal."""

    def __init__(self) -> None:
        self._live = (
            Live(console=_err, auto_refresh=False, transient=True, redirect_stdout=False) if _err.is_terminal else None
        )

    @property
    def is_shown(self) -> bool:
        """Whether anybody sees it."""
        return self._live is not None

    def start(self) -> None:
        """Show it."""
        if self._live is not None:
            self._live.start()

    def stop(self) -> None:
        """Take it away."""
        if self._live is not None:
            self._live.stop()

    def update(self, text: str) -> None:
        """Say something else."""
        if self._live is not None:
            self._live.update(Text(printable(text), overflow="ellipsis", no_wrap=True), refresh=True)


def clear_line() -> None:
    """Take the live line away before something else is printed where it stood."""
    if _out.is_terminal and _err.is_terminal:
        _out.control(_CLEAR_LINE)


class LogHandler(logging.Handler):
    """Log records on standard error, between the lines that are written over."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        try:
            tell_lines(self.format(record))
        except Exception:  # noqa: BLE001  as every handler of logging does
            self.handleError(record)


def log_to_terminal() -> None:
    """Let warnings of every logger reach standard error."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING, handlers=[LogHandler()])
