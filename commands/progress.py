"""Progress on standard error: where a prompt stands, and a bar with the time left while a node tells its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..runner.step import Step
from .output import err


@contextmanager
def showing() -> Iterator[Callable[[str], None]]:
    """A function that takes each sentence; nothing is shown where standard error is no terminal."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[steps]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("queued", total=None, steps="")
        node: str | None = None

        def say(text: str) -> None:
            nonlocal node
            if not isinstance(text, Step) or not text.most:
                progress.update(task, description=escape(text), steps="")
                return
            if text.node != node:  # another node: what is left is told from its own pace
                node = text.node
                progress.reset(task, total=text.most, description=escape(text), steps="")
            left = f"{text.value or 0:g}/{text.most:g}"
            progress.update(task, description=escape(text), completed=text.value or 0, total=text.most, steps=left)

        yield say
