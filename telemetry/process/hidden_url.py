"""Takes a database URL's password out of whatever is to be said: the one function between such a URL and a reader."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote, unquote_plus

from .redact import KEY

_IN_TEXT = re.compile(r"(://)[^\s'\"]*@")
_USERINFO = re.compile(r"^(?:[^:/?#@]+:/+)?(.*)@", re.DOTALL)
"""Also of what was meant for a URL, and lacks a slash or its scheme."""
_SECRET_PARAMETERS = re.compile(r"(?i)[?&](?:password|sslpassword|passfile|service|options)=([^&#]*)")
_LEAST = 3
"""Characters: a shorter piece may be any word's."""


def without_password(said: object, url: str | None) -> str:
    """What is to be said, with no spelling and no piece of the URL's password in it.

    The password may hold `@`, `:` and `/` that are not escaped, as they must be: then others than we take its end for
    the beginning of the host, so every piece of it goes.
    """
    text = str(said)
    for secret in sorted(_secrets(url or ""), key=len, reverse=True):
        text = text.replace(secret, KEY)
    return _IN_TEXT.sub(rf"\g<1>{KEY}@", text)


def _secrets(url: str) -> Iterator[str]:
    found = [match[1] for match in _SECRET_PARAMETERS.finditer(url)]
    userinfo = _USERINFO.match(url)
    if userinfo is not None:
        password = userinfo[1].partition(":")[2]
        found += [userinfo[1] if password else "", password, *re.split("[@:/?#]", password)]
    for secret in found:
        for spelled in {secret, unquote(secret), unquote_plus(secret)}:
            if len(spelled) >= _LEAST:
                yield spelled
