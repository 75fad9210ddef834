"""Folders that people name: as they are used, and as a run's record can hold them."""

from __future__ import annotations

from pathlib import Path

from .output import fail


def place(option: str, path: Path) -> Path:
    """An absolute path; `~` is the user's own folder.

    Raises CommandError for one that no run's record can hold, as it has a control character or a byte that is no UTF-8.
    """
    try:
        whole = path.expanduser().absolute()
        str(whole).encode("utf-8")
    except (RuntimeError, UnicodeEncodeError):
        fail("invalid_parameter", f"{option}: {path} is no path that a run's record can hold; give another one")
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in str(whole)):
        fail("invalid_parameter", f"{option}: {whole} has a control character, which no run's record holds")
    return whole
