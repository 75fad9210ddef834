"""Which files belong together: the prefix that a file name is of. One rule for node, sentinel, runner and commands.

A name alone goes by the plain rule (`group_of`). More is known of the files that one node saved into one folder: the
prefix that its saver was given, those that markers were asked for, and which names differ in a number only
(`groups_of`). A reported name can also stand for many files, as `frame_%03d.png` does (`pattern_of`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

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
Saved = tuple[str | None, str, str]
"""A saved file: the node, the folder, the name."""
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
    stem = stem_of(filename)
    named = _named(stem, _patterns_of([literal])) if literal else None
    if named is not None:
        return named
    match = PLAIN.match(stem)
    return match["prefix"] if match else stem


def groups_of(filenames: Iterable[str], literals: Sequence[str] = ()) -> dict[str, str]:
    """The prefixes of files that one node saved into one folder in one prompt, by file name.

    `literals` are prefixes that are known, the likeliest first: the first that fits a name wins. Of the others those
    that differ in one number only are one group, called by what stands before that number; else the plain rule holds.
    """
    found, rest = {}, []
    patterns = _patterns_of(literals)
    for filename in dict.fromkeys(filenames):
        named = _named(stem_of(filename), patterns)
        if named is None:
            rest.append(filename)
        else:
            found[filename] = named
    found.update((filename, group_of(filename)) for filename in rest)
    for prefix, members in _series(rest):
        found.update(dict.fromkeys(members, prefix))
    return found


def prefixes_of(saved: Iterable[Saved], literals: Callable[[str | None, str], Sequence[str]]) -> dict[Saved, str]:
    """The prefixes of a prompt's files: what one node saved into one folder is looked at together.

    `literals` gives the prefixes that are known of a node and a folder, as for `groups_of`.
    """
    together: dict[tuple[str | None, str], list[str]] = {}
    for node_id, folder, name in saved:
        together.setdefault((node_id, folder), []).append(name)
    return {
        (node_id, folder, name): prefix
        for (node_id, folder), names in together.items()
        for name, prefix in groups_of(names, literals(node_id, folder)).items()
    }


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


def name_at(filename: str, number: int) -> str | None:
    """The file of this number that a name with one printf number in it stands for; null for any other name."""
    found = [match for match in _PRINTF.finditer(filename) if match[1] != "%"]
    if len(found) != 1:
        return None
    fill = "0" if found[0][2] else " "
    told = str(number).rjust(int(found[0][3] or 1), fill)
    return _PRINTF.sub(lambda match: "%" if match[1] == "%" else told, filename)


def _patterns_of(literals: Iterable[str]) -> list[re.Pattern[str]]:
    """What the stems of literal prefixes look like with a counter behind, else before, else without one."""
    prefixes = [f"(?P<prefix>{_resolved_pattern(one)})" for one in islice(filter(None, literals), MAX_LITERALS)]
    forms = (("", _COUNTERS), (_COUNTER_BEFORE, ""), ("", ""))
    return [re.compile(f"{before}{one}{behind}{_END}", re.DOTALL) for before, behind in forms for one in prefixes]


def _named(stem: str, patterns: Iterable[re.Pattern[str]]) -> str | None:
    """The prefix by the first pattern that fits; null where none does."""
    matches = (pattern.fullmatch(stem) for pattern in patterns)
    return next((match["prefix"] for match in matches if match and match["prefix"]), None)


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
