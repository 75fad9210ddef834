"""What a language model says to itself before it answers: cut away, in every marking that servers let through.

A draft in thoughts is no answer. So all up to the last closing mark is cut, also where the opening one is missing
(chat templates put that into the prompt), and all from an opening mark that nothing closes.
"""

from __future__ import annotations

import re

_NAMES = (
    "think|thinking|thought|thoughts|reason|reasoning|reflection|reflect|analysis|scratchpad|antthinking|seed:think|"
    "inner_thoughts|internal_monologue|monologue|plan|draft"
)
_CLOSING = re.compile(
    rf"</\s*(?:{_NAMES})\s*>"
    r"|</details\s*>"
    r"|\[/\s*(?:think|thinking|reasoning)\s*\]"
    rf"|<\|\s*end_?(?:of_?)?(?:{_NAMES})\s*\|>"
    rf"|<\|\s*/\s*(?:{_NAMES})\s*\|>"
    r"|\N{WHITE LEFT-POINTING TRIANGLE}\s*/\s*think\s*\N{WHITE RIGHT-POINTING TRIANGLE}"
    r"|<\|channel\|>\s*final\b[^<]*<\|message\|>"
    r"|<unused95>"
    r"|\A.*here is my thought process:?.*here is my response:?",
    re.IGNORECASE | re.DOTALL,
)
_OPENING = re.compile(
    rf"<\s*(?:{_NAMES})(?:\s[^<>]*)?>"
    r"|<details\b[^<>]*\breasoning\b[^<>]*>"
    r"|\[\s*(?:think|thinking|reasoning)\s*\]"
    rf"|<\|\s*(?:(?:begin|start)_?(?:of_?)?)?(?:{_NAMES})\s*\|>"
    r"|\N{WHITE LEFT-POINTING TRIANGLE}\s*think\s*\N{WHITE RIGHT-POINTING TRIANGLE}"
    r"|<\|channel\|>\s*(?:analysis|commentary)\b[^<]*<\|message\|>"
    r"|<unused94>"
    r"|here is my thought process:",
    re.IGNORECASE,
)


def without_thoughts(said: str) -> str:
    """What is left of a model's words; empty where it only thought."""
    rest = said[max((found.end() for found in _CLOSING.finditer(said)), default=0) :]
    opening = _OPENING.search(rest)
    return rest[: opening.start()] if opening is not None else rest
