"""JSON from outside, read with bounds: on its memory, its depth and its numbers, and with no text that can't be kept.

NaN, infinities and numbers of more digits than anything counts are read as null: ComfyUI itself writes NaN. Half
surrogates and NUL are escaped or left out, once and here, so that whatever is made of an answer can be written.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from ..telemetry.models.text import clean
from . import limits

_ODD = re.compile(r"\\u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2})")
_WIDE, _WIDER = re.compile(rb"[\xc4-\xff]"), re.compile(rb"[\xf0-\xff]")
_COSTS = ((b"[", 64), (b"{", 72), (b":", 200), (b",", 40))
"""Bytes that CPython needs at most for what begins with, or stands behind, each of these."""

EMPTY = "is empty"
"""Why nothing can be read of an answer without a body."""


class UnreadableError(ValueError):
    """What came is no JSON that is taken; the message says why, in words that follow "the answer".

    `is_no_json` is false where it may be JSON, and is beyond a bound.
    """

    def __init__(self, why: str, *, is_no_json: bool = False) -> None:
        super().__init__(why)
        self.is_no_json = is_no_json


def parse(data: bytes) -> Any:
    """The value. Raises UnreadableError."""
    if not data.strip():
        raise UnreadableError(EMPTY, is_no_json=True)
    if _memory(data) > limits.MOST_MEMORY:
        raise UnreadableError(f"needs more memory than is given to one ({limits.MOST_MEMORY // limits.MIB} MiB)")
    text = data.decode("utf-8-sig", "replace")
    del data
    try:
        value = json.loads(text, parse_constant=_null, parse_int=_whole, parse_float=_real)
    except RecursionError:
        raise UnreadableError(f"is nested more than {limits.MOST_DEPTH} deep") from None
    except ValueError as error:
        kind = "HTML" if text.lstrip()[:1] == "<" else f"no JSON ({str(error).splitlines()[0]})"
        raise UnreadableError(f"is {kind}", is_no_json=True) from None
    if depth_of(value) > limits.MOST_DEPTH:
        raise UnreadableError(f"is nested more than {limits.MOST_DEPTH} deep")
    return _cleaned(value) if _ODD.search(text) else value


def depth_of(value: Any) -> int:
    """How deep lists and objects stand in each other, counted as far as one beyond what is taken; 0 for neither."""
    depth, level = 0, [value] if isinstance(value, (dict, list)) else []
    while level and depth <= limits.MOST_DEPTH:
        depth += 1
        level = [
            child
            for one in level
            for child in (one.values() if isinstance(one, dict) else one)
            if isinstance(child, (dict, list))
        ]
    return depth


def _memory(data: bytes) -> int:
    """At most so many bytes: of the text in the width that its widest character asks for, and of what it holds."""
    width = 1 if data.isascii() else 4 if _WIDER.search(data) else 2 if _WIDE.search(data) else 1
    return len(data) * (1 + width) + sum(data.count(sign) * cost for sign, cost in _COSTS)


def _null(_name: str) -> None:
    return None


def _whole(digits: str) -> int | None:
    return int(digits) if len(digits) <= limits.MOST_DIGITS else None


def _real(digits: str) -> float | None:
    value = float(digits)
    return value if math.isfinite(value) else None


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(one) for one in value]
    if isinstance(value, dict):
        return {clean(name): _cleaned(one) for name, one in value.items()}
    return value
