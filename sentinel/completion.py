"""What an open group comes to: whether its files have settled, and what its marker says of them."""

from __future__ import annotations

from collections.abc import Mapping

from ..telemetry.markers.folder import FileStamp
from .group import Complete, Group

MOST_NOTES = 1000
"""So many notes of one marker, at most."""


def completed_by_window(group: Group, files: Mapping[str, FileStamp]) -> Complete:
    """All that lies there: nobody knows whose it is."""
    empty = [f"{name} is empty" for name, stamp in files.items() if stamp.bytes == 0]
    return Complete(dict(files), "error" if empty else "success", notes=(*group.notes, *empty[:MOST_NOTES]))


def completed_by_record(group: Group, files: Mapping[str, FileStamp]) -> Complete:
    """The prompt's own files: those that it reported, and those that came while it ran."""
    saved = group.saved
    assert saved is not None
    names = {**saved.names, **group.joined}
    listed = {name: files[name] for name in names if name in files}
    notes = [*group.notes, *missing_of(group, files)]
    cached = saved.cached and all(name in saved.names for name in listed)
    notes += [f"{name} is empty" for name, now in listed.items() if now.bytes == 0 and name not in saved.names]
    empty = any(stamp.bytes == 0 for stamp in listed.values())
    status = "error" if empty and saved.status == "success" else saved.status
    return Complete(listed, status, saved.prompt_id, saved.names, cached, tuple(notes[:MOST_NOTES]))


def missing_of(group: Group, files: Mapping[str, FileStamp]) -> list[str]:
    """What a prompt reported of a group that is missing or empty, a note each."""
    told = []
    for name, node_id in group.saved.names.items() if group.saved is not None else ():
        if name not in files:
            told.append(f"node {node_id} reported {name}, which isn't there")
        elif files[name].bytes == 0:
            told.append(f"node {node_id} reported {name}, which is empty")
    return told


def settle(
    group: Group, files: Mapping[str, FileStamp], at: float, *, window: float, tells_closes: bool
) -> float | None:
    """Take note of what has settled; when to look again, null where everything has. Seconds.

    `tells_closes` says whether news of closed files come.
    """
    reported = group.saved
    if not tells_closes:  # nobody tells of what has come or changed since the last scan
        for name, now_there in files.items():
            if name not in group.joined or group.joined[name] not in (None, now_there):
                group.joined[name] = now_there
                group.unsettled[name] = (now_there, at)
                group.active = at
    for name, (stamp, since) in list(group.unsettled.items()):
        now = files.get(name)
        if now is None:
            del group.unsettled[name]
        elif now != stamp:
            group.unsettled[name] = (now, at)
            group.joined[name] = now
            group.active = at
        elif at >= since + window or (
            reported is not None and name in reported.names and (not tells_closes or name in group.unheard)
        ):
            del group.unsettled[name]
    return max(since for _, since in group.unsettled.values()) + window if group.unsettled else None
