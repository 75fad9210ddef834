"""What is still to be waited for before a prompt's markers can be decided."""

from __future__ import annotations

from .evidence import Evidence
from .folder import folder_clock
from .outputs import ReportedFile, inside, look_at, spelled_out

QUIET_SECONDS = 1.0
"""A file that was written after the prompt's end is taken once it has not changed for so long."""
CLOCK_GRAIN_SECONDS = 0.02
"""How far a file's time and the process' may be apart on one machine."""


def unready(evidence: Evidence, now: float) -> list[str]:
    """What is still to be waited for: reported files that are missing, empty, or still being written.

    `now` is on the clock that the prompt's end is stamped with.
    """
    waiting = []
    evidence.reported = spelled_out(evidence.reported, evidence.roots)
    for file in evidence.reported:
        if file.cached or file.guessed or file.type not in ("output", None):
            continue
        if inside(evidence.output_folder, file) is None:
            continue
        if file.stamp is None or file.stamp.bytes == 0:
            look_at(file, evidence.roots)
        if file.stamp is None:
            if file.type == "output":
                waiting.append(f"node {file.node_id} reported {file.filename}, which isn't there")
        elif file.stamp.bytes == 0:
            waiting.append(f"node {file.node_id} reported {file.filename}, which is empty")
        elif _still_written(evidence, file, now):
            waiting.append(f"{file.filename} was still being written after the prompt had ended")
    return waiting


def _still_written(evidence: Evidence, file: ReportedFile, now: float) -> bool:
    ended = evidence.ended
    path = inside(evidence.output_folder, file)
    if ended is None or path is None or file.stamp is None:
        return False
    if file.stamp.modified_ns / 1e9 <= ended.wall + CLOCK_GRAIN_SECONDS:
        return False
    clock = folder_clock(path.parent)
    if clock is None:
        return False
    since_end = now - ended.mono
    look_at(file, evidence.roots)
    age = clock - file.stamp.modified_ns / 1e9
    return age < min(QUIET_SECONDS, since_end - CLOCK_GRAIN_SECONDS)
