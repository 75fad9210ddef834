"""The files of a service: what is ours of what lies there, and that nothing else is ever written over or removed."""

from __future__ import annotations

import os
from pathlib import Path

from ...telemetry.files.guarded_files import OddEntryError, read_regular, write_whole

MARK = "Written by `run-recorder sentinel install`; `run-recorder sentinel uninstall` removes it."
"""Stands in every file that an installation writes."""
DESCRIPTION = "Run Recorder sentinel: done markers for ComfyUI's output"
"""What a service manager shows; a task's definition is known by it."""
_MARKS = ("Written by `run-recorder sentinel install`", "<string>run_recorder.cli</string>", DESCRIPTION)
"""The second is how an agent was known that has no line of ours yet."""
MOST_BYTES = 1024 * 1024


class InstallError(RuntimeError):
    """It can't be installed so. The message says what is wrong, and what would help."""


def is_ours(text: str) -> bool:
    """Whether a definition was written by an installation of ours, by what it says itself."""
    return any(mark in text for mark in _MARKS)


def earlier(path: Path) -> str:
    """The text of what an earlier installation has written; empty where nothing lies there.

    Raises InstallError for all else at that name: a link, a pipe, a file that does not say that it is ours.
    """
    try:
        data = read_regular(path, MOST_BYTES)
    except FileNotFoundError:
        return ""
    except OddEntryError as error:
        raise InstallError(_foreign(path, error.what)) from error
    except OSError as error:
        raise InstallError(f"{path} can't be read, so whose it is isn't known: {error.strerror}") from error
    text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace")
    if not is_ours(text):
        raise InstallError(_foreign(path, "was not written by `run-recorder sentinel install`"))
    return text


def standing(path: Path) -> str:
    """As `earlier`, for looking only: empty, too, where what lies there is not ours."""
    try:
        return earlier(path)
    except InstallError:
        return ""


def write_ours(path: Path, text: str, encoding: str, mode: int) -> None:
    """Write a file of ours, whole or not at all, never over another's and never through a link at its name.

    The folders above it are made. Raises InstallError for what is not ours, and OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    earlier(path)
    write_whole(path, text.encode(encoding), mode=mode)


def remove_ours(path: Path) -> None:
    """Remove a file of ours where it is there. Raises InstallError for what is not ours, and OSError."""
    earlier(path)
    path.unlink(missing_ok=True)


def check_owner(folder: Path) -> None:
    """Raises InstallError where root would write into another user's folder, in which that user may put links."""
    if os.name == "nt" or os.geteuid() != 0:
        return
    nearest = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    if nearest.stat().st_uid != 0:
        raise InstallError(
            f"{nearest} belongs to another user, and root writes nothing there: run this as that user, without sudo, "
            "or install with --system"
        )


def _foreign(path: Path, what: str) -> str:
    return f"{path} {what}: it is left as it is; move it away if it is to make room"
