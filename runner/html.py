"""HTML that is escaped by its making: a text is never taken for a tag."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from urllib.parse import quote

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_EMPTY = frozenset(("meta", "img", "br"))


class Html(str):
    """Finished HTML. Whatever isn't one is text."""

    __slots__ = ()


Child = object
"""Html, a text, a number, null (nothing), or an iterable of them."""


def text(value: object) -> Html:
    """A value as text, escaped, also for an attribute; characters that no page may hold become U+FFFD."""
    return Html(html.escape(_CONTROLS.sub("\ufffd", str(value)), quote=True))


def tag(name: str, /, *children: Child, **attributes: object) -> Html:
    """An element. `class_` and such lose the underscore, others become hyphens; a null attribute is left out."""
    pairs = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    told = "".join(f' {key}="{text(value)}"' for key, value in pairs if value is not None)
    if name in _EMPTY:
        return Html(f"<{name}{told}>")
    return Html(f"<{name}{told}>{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Html:
    """Several after each other."""
    return Html("".join(_one(child) for child in children))


def _one(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, Iterable) and not isinstance(child, (str, bytes)):
        return join(child)
    return text(child)


def said(value: object) -> Html:
    """Somebody's text, kept to itself: what it says of its direction ends with it."""
    return tag("bdi", value)


def link_to(path: str) -> str:
    """A file below the page's folder as the target of a link; never a scheme, whatever the name is."""
    return "./" + quote(path, safe="/-_.~", errors="surrogateescape" if _is_of_a_disk(path) else "replace")


def _is_of_a_disk(path: str) -> bool:
    """Whether a name has only such half surrogates as Python makes of a file system's own bytes."""
    try:
        path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True
