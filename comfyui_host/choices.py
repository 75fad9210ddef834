"""Which inputs of which classes are choices from a list, and whether a value is one of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .process import roots

MOST_LOOKED_AT = 10
"""Entries of a list that are looked for as files."""
ASKED_AGAIN_SECONDS = 60.0
"""A list may have grown: a class is asked again for a value that its list lacked, and no oftener than this."""
_Lists = Mapping[str, frozenset[str]]


class Choices:
    """The lists of all classes that were asked for. What a class answers is a node pack's own code."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, _Lists]] = {}

    def is_choice(self, class_type: str, input_name: str, value: str) -> bool:
        """Whether a node's input is a choice from a list of its class, and the value is one of that list.

        What isn't among them is somebody's text: a node that nothing hangs on is not checked by ComfyUI. So is the name
        of a file of the input, output or temp folder.
        """
        asked_at, lists = self._known.get(class_type, (None, {}))
        now = self._clock()
        if value not in lists.get(input_name, ()) and (asked_at is None or now - asked_at >= ASKED_AGAIN_SECONDS):
            lists = _lists_of(class_type)
            self._known[class_type] = (now, lists)
        return value in lists.get(input_name, ()) and not _is_file_of_somebody(value)


def _lists_of(class_type: str) -> _Lists:
    """The lists of a class, by its inputs: none of somebody's own files, nor one that is fetched from elsewhere."""
    try:
        mapping: Mapping[str, Any] = sys.modules["nodes"].NODE_CLASS_MAPPINGS
        groups = mapping[class_type].INPUT_TYPES()
        found = {}
        for group in ("required", "optional"):
            for name, declared in (groups.get(group) or {}).items():
                values = _list_of(declared)
                if values:
                    found[str(name)] = frozenset(value for value in values if isinstance(value, str))
    except Exception:  # noqa: BLE001  a node pack's own code
        return {}
    return found


def _list_of(declared: Any) -> Sequence[Any]:
    """What an input may be, as it is declared; nothing for what is no list of choices."""
    kind, *more = declared if isinstance(declared, (list, tuple)) and declared else (declared,)
    options = more[0] if more and isinstance(more[0], Mapping) else {}
    if any(value and (name == "remote" or name.endswith("upload")) for name, value in options.items()):
        return ()
    values = kind if isinstance(kind, (list, tuple)) else options.get("options") if kind == "COMBO" else ()
    if not isinstance(values, (list, tuple)) or any(_is_file_of_somebody(str(one)) for one in values[:MOST_LOOKED_AT]):
        return ()
    return values


def _is_file_of_somebody(name: str) -> bool:
    """Whether a name is that of a file in the input, output or temp folder."""
    return any(_is_file(root / name) for root in roots().values())


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
