"""How a field of a record is kept: its column in the database, said where the field is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, get_args, get_origin, get_type_hints


@dataclass(frozen=True, slots=True)
class Kept:
    """The column of a field, of its own name. A field without one is kept elsewhere, or not at all."""

    kind: Literal["text", "integer", "big integer", "number", "json"]
    size: int | None = None
    """Characters of a text at most; null for any number."""
    required: bool = False
    """True where it can't be null."""


def kept_fields(record: type) -> Mapping[str, Kept]:
    """The fields of a record class that have a column, in their order."""
    hints = get_type_hints(record, include_extras=True).items()
    annotated = [(name, one) for name, hint in hints if get_origin(hint) is Annotated for one in get_args(hint)[1:]]
    return {name: one for name, one in annotated if isinstance(one, Kept)}
