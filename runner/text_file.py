"""Reads a text that a person wrote: a story, a mapping, a template."""

from __future__ import annotations

from pathlib import Path


class TextFileError(Exception):
    """A file that can't be read as such a text. `kind` is a stable word: `not_found` or `invalid_<what>`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def read_text(path: Path, most_bytes: int, what: str) -> str:
    """The text of a file in UTF-8, with or without a byte order mark; no more than `most_bytes` are read, and one.

    Raises TextFileError where it can't be opened, is larger, or is no UTF-8; `what` says what it was to be.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise TextFileError("not_found", f"{path} can't be read: {error.strerror or error}") from None
    if len(content) > most_bytes:
        raise TextFileError(f"invalid_{what}", f"{path} is larger than any {what} ({most_bytes} bytes)")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise TextFileError(f"invalid_{what}", f"{path} is no text in UTF-8") from None
