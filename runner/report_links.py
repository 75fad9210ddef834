"""Links of a page to files beside it: never a scheme, whatever a file is called."""

from __future__ import annotations

from urllib.parse import quote


def link_to(path: str) -> str:
    """A file below the page's folder as the target of a link."""
    return "./" + quote(path, safe="/-_.~", errors="surrogateescape" if _is_of_a_disk(path) else "replace")


def anchor_of(scene_id: str) -> str:
    """A scene of the page as the target of a link."""
    return "#" + link_to(scene_id)[2:]


def _is_of_a_disk(path: str) -> bool:
    """Whether a name has only such half surrogates as Python makes of a file system's own bytes."""
    try:
        path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True
