"""Which files belong together: the prefix that a file name is of. One rule for node, sentinel, runner and commands.

A name alone goes by the plain rule (`group_of`). More is known of the files that one node saved into one folder: the
prefix that its saver was given, those that markers were asked for, and which names differ in a number only
(`groups_of`). A reported name can also stand for many files, as `frame_%03d.png` does (`pattern_of`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence

from .prefix import MAX_TOKENS, OPEN_TOKENS, TOKEN_PATTERNS

PLAIN = re.compile(
    r"^(?P<prefix>.+?)(?:(?:[_-]|(?<!\d))(?P<n>\d{5,})(?:\.\d{3,})?|\.(?P<frame>\d{4,}))_?(?:-audio)?$", re.DOTALL
)
"""The contract's rule for a stem whose saver is not known."""
_COUNTERS = r"[_\-. ]?\d+(?:[_\-. ]\d+)*"
"""What a saver puts behind a prefix that is known: a separator or none, digits, and further counters."""
_COUNTER_BEFORE = r"\d+[_\-. ]?"
_END = r"[_\-. ]?(?:-audio)?"
_SEPARATORS = "_-. "
_PRINTF = re.compile(r"%(%|(0?)(\d{0,2})d)")
MAX_LITERALS = 64
"""So many prefixes, at most, a name is held against."""


def _resolved_pattern(literal: str) -> str:
    """The last part of a literal prefix, with what its tokens can come to."""
    name = re.split(r"[/\\]" if sys.platform == "win32" else "/", literal.rstrip("/"))[-1]
    pieces = re.split("(%[a-z_]+%)", name)
    if sum(piece in OPEN_TOKENS for piece in pieces) > MAX_TOKENS:
        return "(?!)"
    return "".join(TOKEN_PATTERNS.get(piece, re.escape(piece)) for piece in pieces)


def is_resolved_from(name: str, literal: str) -> bool:
    """Whether the last part of a prefix is what a saver can have made of its literal one."""
    return re.fullmatch(_resolved_pattern(literal), name) is not None


def stem_of(filename: str) -> str:
    """A file's name without its extension."""
    return filename.rpartition(".")[0] or filename


def group_of(filename: str, literal: str | None = None) -> str:
    """The prefix that a file name (without folder) is of.

    Where the literal prefix of its saver is known and fits, that prefix wins; else the contract's rule; else
    the whole stem.
    """
    named = _named(filename, [literal]) if literal else None
    if named is not None:
        return named
    stem = stem_of(filename)
    match = PLAIN.match(stem)
    return match["prefix"] if match else stem


def groups_of(filenames: Iterable[str], literals: Sequence[str] = ()) -> dict[str, str]:
    """The prefixes of files that one node saved into one folder in one prompt, by file name.

    `literals` are prefixes that are known, the likeliest first: the first that fits a name wins. Of the others those
    that differ in one number only are one group, called by what stands before that number; else the plain rule holds.
    """
    found, rest = {}, []
    known = [literal for literal in literals if literal][:MAX_LITERALS]
    for filename in dict.fromkeys(filenames):
        named = _named(filename, known)
        if named is None:
            rest.append(filename)
        else:
            found[filename] = named
    found.update((filename, group_of(filename)) for filename in rest)
    for prefix, members in _series(rest):
        found.update(dict.fromkeys(members, prefix))
    return found


def pattern_of(filename: str) -> re.Pattern[str] | None:
    """What a name with a printf number in it (`frame_%03d.png`) stands for; null for any other name."""
    pieces, at, numbers = [], 0, 0
    for match in _PRINTF.finditer(filename):
        pieces.append(re.escape(filename[at : match.start()]))
        at = match.end()
        if match[1] == "%":
            pieces.append("%")
        else:
            numbers += 1
            pieces.append(rf"\d{{{int(match[3] or 1)},}}" if match[2] or not match[3] else r" *\d+")
    if not 0 < numbers <= MAX_TOKENS:
        return None
    return re.compile("".join([*pieces, re.escape(filename[at:])]))


def _named(filename: str, literals: Iterable[str | None]) -> str | None:
    """The first literal prefix that fits with a counter behind it, else before it, else without one; or null."""
    stem = stem_of(filename)
    patterns = [_resolved_pattern(literal) for literal in literals if literal]
    for before, behind in (("", _COUNTERS), (_COUNTER_BEFORE, ""), ("", "")):
        for pattern in patterns:
            match = re.fullmatch(f"{before}(?P<prefix>{pattern}){behind}{_END}", stem, re.DOTALL)
            if match and match["prefix"]:
                return match["prefix"]
    return None


def _series(filenames: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """The files that differ in one number only, together, each series with its prefix."""
    alike: dict[tuple[str, ...], list[tuple[list[str], str]]] = {}
    for filename in filenames:
        pieces = re.split(r"(\d+)", stem_of(filename))
        alike.setdefault(tuple(pieces[::2]), []).append((pieces[1::2], filename))
    for texts, members in alike.items():
        varying = [place for place in range(len(texts) - 1) if len({numbers[place] for numbers, _ in members}) > 1]
        if not varying:
            continue
        series: dict[tuple[str, ...], list[tuple[list[str], str]]] = {}
        for numbers, filename in members:
            series.setdefault((*numbers[: varying[-1]], *numbers[varying[-1] + 1 :]), []).append((numbers, filename))
        for some in series.values():
            if len({numbers[varying[-1]] for numbers, _ in some}) > 1:
                yield _prefix_of_series(texts, some, varying[-1]), [filename for _, filename in some]


def _prefix_of_series(texts: tuple[str, ...], members: list[tuple[list[str], str]], place: int) -> str:
    """What stands before the number in which they differ; else what stands behind it; else the first one's stem."""
    numbers = members[0][0]
    pieces = [piece for pair in zip(texts, [*numbers, ""], strict=True) for piece in pair]
    before, behind = "".join(pieces[: 2 * place + 1]), "".join(pieces[2 * place + 2 :])
    shorter = before[:-1] if before[-1:] and before[-1] in _SEPARATORS else before
    return shorter or before or behind.strip(_SEPARATORS) or behind or min(stem_of(filename) for _, filename in members)
