"""Progress on standard error: where a prompt stands, and a bar with the time left while a node tells its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..runner.step import Step
from .terminal import bar


@contextmanager
def showing() -> Iterator[Callable[[str], None]]:
    """A function that takes each sentence; nothing is shown where standard error is no terminal."""
    with bar("queued") as show:
        node: str | None = None

        def say(text: str) -> None:
            nonlocal node
            if not isinstance(text, Step) or not text.most:
                show(text)
                return
            is_another = text.node != node  # then what is left is told from its own pace
            node = text.node
            show(text, f"{text.value or 0:g}/{text.most:g}", text.value or 0, text.most, anew=is_another)

        yield say
