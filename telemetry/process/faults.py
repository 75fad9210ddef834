"""What tells one fault of the code from another: its kind, and where it was raised. Never what it says.

The same fault has the same id in every process of a version, so that two people can find out that they have the same.
"""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2]
DEEPEST = 8
"""Places that are told of one error, the innermost ones."""
CAUSES = 3
"""Errors behind the error that are told."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of error that is raised in one place."""

    id: str
    """8 hexadecimal digits."""
    error: str
    """The class of the error."""
    trace: str
    """Where it was raised and by what way, innermost first, then the errors behind it; in one line, without a path of
    this machine and without values.
    """


def fault_of(what: str, error: BaseException) -> Fault:
    """The fault that an error shows which came while `what` was done."""
    places = list(_places(error))
    own = next((place for place in places if place.ours), None)
    where = "|".join(str(place) for place in (*places[:1], own))
    kind = type(error).__qualname__
    told = hashlib.sha256(f"{what}|{kind}|{where}".encode("utf-8", "backslashreplace")).hexdigest()[:8]
    return Fault(told, kind, " from ".join(_trace(one) for one in _with_causes(error)))


@dataclass(frozen=True, slots=True)
class _Place:
    file: str
    line: int | None
    function: str
    ours: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.function}"


def _places(error: BaseException) -> Iterator[_Place]:
    """From the innermost outwards."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        ours = path.is_relative_to(PACKAGE) and "site-packages" not in path.relative_to(PACKAGE).parts
        shown = path.relative_to(PACKAGE) if ours else Path(*path.parts[-2:])
        yield _Place(shown.as_posix(), frame.lineno, frame.name, ours)


def _trace(error: BaseException) -> str:
    places = [str(place) for place in _places(error)]
    more = [f"... {len(places) - DEEPEST} more"] if len(places) > DEEPEST else []
    return (
        f"{type(error).__qualname__} at {' < '.join([*places[:DEEPEST], *more])}"
        if places
        else type(error).__qualname__
    )


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    for _ in range(1 + CAUSES):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
