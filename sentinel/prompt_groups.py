"""Which groups of a watched folder an ended prompt saved into."""

from __future__ import annotations

from collections.abc import Callable

from ..telemetry.markers.grouping import prefixes_of
from .evidence import EndedPrompt, Key, NamedFile, places_below


def groups_of(
    ended: EndedPrompt, root: tuple[str, ...], is_there: Callable[[str, str], bool]
) -> dict[Key, dict[str, NamedFile]]:
    """The groups of an ended prompt's files below a watched folder, each file by its name.

    `is_there` tells whether a name is in a folder; of several places where a file can be, the first where it is wins.
    A file that is in none of them is missing from the first place where others of its prompt are.
    """
    found: dict[Key, dict[str, NamedFile]] = {}
    absent: list[NamedFile] = []
    literals = {file.node_id: [file.literal.replace("\\", "/")] for file in ended.files if file.literal}
    named = prefixes_of(
        ((file.node_id, file.folder, file.name) for file in ended.files), lambda node_id, _: literals.get(node_id, ())
    )
    prefixes = {file: named[file.node_id, file.folder, file.name] for file in ended.files}
    for file in ended.files:
        place = next((place for place in places_below(file.folder, root) if is_there(place, file.name)), None)
        if place is not None:
            found.setdefault(Key(place, prefixes[file]), {})[file.name] = file
        elif file.sure:
            absent.append(file)
    for file in absent:
        keys = (Key(place, prefixes[file]) for place in places_below(file.folder, root))
        key = next((key for key in keys if key in found), None)
        if key is not None:
            found[key][file.name] = file
    return found
