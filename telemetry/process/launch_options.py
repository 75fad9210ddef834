"""The launch options that may be told, by the kind of each: taken from the parser that reads them, so none is missing.

A switch, a choice and a number are told as they were given; of a path is told that there is one. Text may be
anything, a secret too, and is told only of a few options that are known to hold none.
"""

from __future__ import annotations

import argparse
import enum
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

HARMLESS = {
    "--cuda-device": re.compile(r"all|[0-9]{1,3}(,[0-9]{1,3}){0,63}"),
    "--front-end-version": re.compile(r"[\w.-]{1,64}/[\w.-]{1,64}@[\w.-]{1,32}"),
    "--listen": re.compile(r"[A-Za-z0-9_.,:-]{1,200}"),
    "--oneapi-device-selector": re.compile(r"[A-Za-z0-9_.,:;*!-]{1,64}"),
}
"""Options of text that matter, and what is told of them: what is listened on, computed with and served."""
PATH = "<path>"
_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?([eE][+-]?[0-9]{1,3})?")
_PATH_WORDS = frozenset(("cert", "certfile", "config", "dir", "directory", "file", "folder", "keyfile", "path", "root"))


def launch_options(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> list[str]:
    """What may be told of `sys.argv[1:]`, an entry an option, in their order, each by its full name."""
    known = {name: action for action in _actions(parser) for name in action.option_strings}
    return [told for name, values in _given(known, arguments) if (told := _told(name, known[name], values)) is not None]


def _actions(parser: argparse.ArgumentParser) -> Iterable[argparse.Action]:
    # argparse tells nobody in public which options a parser has.
    return parser._actions


def _given(known: Mapping[str, argparse.Action], arguments: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each option that was given, by its full name, and what was given with it."""
    current: tuple[str, list[str]] | None = None
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if argument.startswith("--") or argument in known:
            if current is not None:
                yield current
            full = _full_name(known, name)
            current = None if full is None else (full, [value] if equals else [])
        elif current is not None:
            current[1].append(argument)
    if current is not None:
        yield current


def _full_name(known: Mapping[str, argparse.Action], name: str) -> str | None:
    """Argparse takes any beginning that only one option has."""
    if name in known:
        return name
    found = {action.dest: one for one, action in known.items() if len(name) > 2 and one.startswith(name)}
    return next(iter(found.values())) if len(found) == 1 else None


def _told(name: str, action: argparse.Action, values: list[str]) -> str | None:
    if not values or action.nargs == 0:  # what follows a switch is not its own
        return name if _is_telling(name, action) else None
    shown = [_value(name, action, value) for value in values]
    kept = [one for one in shown if one is not None]
    return " ".join([name, *kept]) if kept else None


def _is_telling(name: str, action: argparse.Action) -> bool:
    """Whether an option may be told by its name alone."""
    is_text = action.nargs != 0 and not (action.choices or _enum_of(action) or _is_number(action))
    return not is_text or _is_path(name) or name in HARMLESS


def _value(name: str, action: argparse.Action, value: str) -> str | None:
    """A value as it may be told; null where it may not."""
    choices = _choices_of(action)
    if choices is not None:
        return value if value in choices else None
    if _is_number(action):
        return value if _NUMBER.fullmatch(value) else None
    if _is_path(name) or getattr(action.type, "__name__", "") == "is_valid_directory":
        return PATH
    return value if name in HARMLESS and HARMLESS[name].fullmatch(value) else None


def _choices_of(action: argparse.Action) -> frozenset[str] | None:
    """What an option may be; null where that is not a choice."""
    if action.choices is not None:
        return frozenset(str(getattr(one, "value", one)) for one in action.choices)
    kind = _enum_of(action)
    return None if kind is None else frozenset(str(one.value) for one in kind)


def _enum_of(action: argparse.Action) -> type[enum.Enum] | None:
    return action.type if isinstance(action.type, type) and issubclass(action.type, enum.Enum) else None


def _is_number(action: argparse.Action) -> bool:
    return action.type in (int, float)


def _is_path(name: str) -> bool:
    return not _PATH_WORDS.isdisjoint(name.removeprefix("--").split("-"))
