"""Foreign text and figures, made fit for UTF-8, JSON and a database: none of them takes all that Python does."""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import Any

MAX_ID = 200
"""Characters of a prompt's id, as the routes take it."""
BROKEN = object()
"""What no model takes: stands for JSON that can't be read."""
_DIGEST = 16
_WORDS_AND_DIGITS = re.compile(r"([^0-9]*)([0-9]*)")


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


def as_text(value: object, most: int) -> str | None:
    """As `clean`, numbers as text; null for what is neither."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    return clean_or_none(value, most)


def count_of(count: int, what: str) -> str:
    """`1 output`, `2 outputs`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def natural_key(text: str) -> list[tuple[str, int, str, str]]:
    """Sorts names with numbers counted as numbers: 2 before 10."""
    pairs = ((words, digits.lstrip("0"), digits) for words, digits in _WORDS_AND_DIGITS.findall(text))
    return [(words, len(number), number, digits) for words, number, digits in pairs]


def kept_id(given: object) -> str:
    """The id under which a prompt is recorded: its own, where that is text of 1 to 200 characters without NUL.

    Of any other the beginning is kept, and `~` with 16 hexadecimal digits of the whole id's SHA-256 is added, so that
    two ids stay two; `id_note` says so in the record.
    """
    text = str(given)
    kept = clean(text)
    if 0 < len(kept) <= MAX_ID and "\0" not in text:
        return kept
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return f"{kept[: MAX_ID - _DIGEST - 1]}~{digest}"


def id_note(given: object) -> str | None:
    """What the record says of an id that was not kept as it is; null where it was."""
    text = str(given)
    if kept_id(text) == clean(text):
        return None
    why = "is empty" if not text else "holds NUL" if "\0" in text else f"has {len(text)} characters"
    return f"the id that this prompt was posted with {why}; it is recorded under {kept_id(text)!r}"


def storable(number: int, bits: int = 64) -> int:
    """The number, or the nearest that a database's column of so many bits holds."""
    largest: int = 2 ** (bits - 1) - 1
    return max(-largest - 1, min(largest, number))


def json_value(text: str | bytes) -> Any:
    """What JSON says; `BROKEN` for what is none, so that one broken value of a database costs no other row."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return BROKEN


def json_text(value: Any) -> str:
    """A value as JSON that every reader takes: what is no finite number is null."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
