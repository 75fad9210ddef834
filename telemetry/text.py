"""Foreign text, made fit for UTF-8: JSON can carry half a surrogate pair, a database and an answer can't."""

from __future__ import annotations


def clean(text: str, most: int | None = None) -> str:
    """The text with what UTF-8 can't hold escaped, without NUL, and cut to `most` characters."""
    if most is not None:
        text = text[:most]
    if text.isascii():
        return text.replace("\0", "")
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "")


def clean_or_none(text: object, most: int | None = None) -> str | None:
    """As `clean`; null for what is no text."""
    return clean(text, most) if isinstance(text, str) else None
