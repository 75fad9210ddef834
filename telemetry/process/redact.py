"""Makes foreign text fit to be stored and served: no absolute paths, nothing that looks like a key, not too long."""

from __future__ import annotations

import re
from collections.abc import Sequence

MAX_TEXT = 2000
"""Characters that are kept. Twice as many are looked at: patterns run with the interpreter held, over foreign text."""
PATH, KEY = "<path>", "<key>"

_NAMES = (
    r"(?:api[_-]?key|access[_-]?key|private[_-]?key|token|passw(?:or)?d|passwd|pwd|passphrase|secret|authorization"
    r"|credential|signature|cookie|session[_-]?id)s?"
)
_NAMED_KEY = re.compile(
    rf"(?i)((?<![\w-])[\w-]{{0,40}}?{_NAMES}[\"']?\s*[:=]\s*[\"']?)"
    r"(?:(?:bearer|basic)\s+)?[^\s\"',;&)}\]]+"
)
_OPTION = re.compile(rf"(?i)((?<![\w-])--?[\w-]{{0,40}}?{_NAMES}[\"']?(?:\s+|\s*,\s*)[\"']?)(?!-)[^\s\"',;&)}}\]]+")
"""As a command line has it: `--password x`, also as a list of its parts."""
_COOKIE = re.compile(r"(?i)((?<![\w-])(?:set-)?cookie[\"']?\s*[:=]\s*[\"']?)[^\r\n\"']+")
"""A cookie's line, which holds several."""
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_IN_URL = re.compile(r"(://)[^/\s:@]+(?::[^/\s@]*)?@")
_WELL_KNOWN = re.compile(
    r"\b(?:sk|pk|rk|hf|gh[pousr]|xox[abprs]|glpat|AKIA|AIza|comfyui)[-_]?[A-Za-z0-9_-]{16,}\b"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]*)?"
)
_LONG = re.compile(
    r"(?<![\w/+=\\.-])(?=[A-Za-z0-9_+=-]{0,200}\d)(?=[A-Za-z0-9_+=-]{0,200}[A-Za-z])"
    r"[A-Za-z0-9_+=-]{40,}(?![\w/\\])"
)

_START = r"(?:(?!(?<=<)/[A-Za-z][\w:-]{0,40}>)/(?!/)|[A-Za-z]:[\\/]|\\\\|~[\\/]|file://)"
_QUOTED_PATH = re.compile("|".join(rf"(?<={quote}){_START}[^{quote}\n]*(?={quote})" for quote in "\"'`"))
_BARE_PATH = re.compile(rf"(?<![\w/.\\~]){_START}[^\s\"'`<>|*?,;()\[\]{{}}]+")


def redact(text: object, roots: Sequence[str] = ()) -> str:
    """At most 2,000 characters of `text`, safe to store.

    A path below one of `roots` becomes relative to it; any other absolute path becomes `<path>`; what looks like
    a key or a password becomes `<key>`.
    """
    said = str(text)[: MAX_TEXT * 2].replace("\0", "").strip()
    said = _COOKIE.sub(rf"\g<1>{KEY}", said)
    said = _OPTION.sub(rf"\g<1>{KEY}", said)
    said = _NAMED_KEY.sub(rf"\g<1>{KEY}", said)
    said = _BEARER.sub(rf"\g<1> {KEY}", said)
    said = _IN_URL.sub(rf"\g<1>{KEY}@", said)
    said = _WELL_KNOWN.sub(KEY, said)
    said = _LONG.sub(KEY, said)
    for root in sorted(filter(None, roots), key=len, reverse=True):
        if len(root) > 1:
            said = re.sub(re.escape(root) + r"(?:[\\/]+|(?![\w.-]))", "", said)
    said = _QUOTED_PATH.sub(PATH, said)
    said = _BARE_PATH.sub(PATH, said)
    return said if len(said) <= MAX_TEXT else said[: MAX_TEXT - 3] + "..."
