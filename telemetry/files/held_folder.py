"""A folder that is held while something is done in it: nobody can put another in its place meanwhile.

A folder below one that others may write can be exchanged for a link between the look at it and the write. So the way
to it is walked from its root part by part, following no link, and what is done there is done by the folder's own
descriptor. Where the platform has none (Windows), it is done by the path.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from .guarded_files import CAN_HOLD_FOLDERS, NEW_FILE_FLAGS, OddEntryError

_TOP_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
"""`O_PATH`, where there is one: who may pass through a folder and write in it need not be allowed to list it."""
_WAY_FLAGS = _TOP_FLAGS | getattr(os, "O_NOFOLLOW", 0)


class HeldFolder:
    """What can be done in a folder, by the names of its entries. Raises OSError as the system calls do."""

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self.path = path
        self._descriptor = descriptor

    def _at(self, name: str) -> str:
        return name if self._descriptor is not None else str(self.path / name)

    def create(self, name: str, mode: int = 0o666) -> int:
        """A new file's descriptor, to write it; what lies at the name already is never opened."""
        return os.open(self._at(name), NEW_FILE_FLAGS, mode, dir_fd=self._descriptor)

    def replace(self, name: str, target: str) -> None:
        """Give a file another name, in place of what has that."""
        os.replace(self._at(name), self._at(target), src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def rename(self, name: str, target: str) -> None:
        """Give a file another name; on Windows only where nothing has that."""
        os.rename(self._at(name), self._at(target), src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def link(self, name: str, target: str) -> None:
        """Give a file a second name, which nothing has yet."""
        os.link(self._at(name), self._at(target), src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def unlink(self, name: str) -> None:
        """Remove a name."""
        os.unlink(self._at(name), dir_fd=self._descriptor)

    def has(self, name: str) -> bool:
        """Whether anything has a name, a link to nothing too."""
        try:
            os.stat(self._at(name), dir_fd=self._descriptor, follow_symlinks=False)
        except (OSError, ValueError):
            return False
        return True


@contextlib.contextmanager
def held(folder: Path, root: Path | None = None, *, make: bool = False) -> Iterator[HeldFolder]:
    """Hold a folder below a root, both as `os.path.realpath` gives them; without a root the folder is one itself.

    With `make`, what is missing of it is made. Raises OddEntryError where a link stands on the way now, or the folder
    is none of the root's, and OSError where it can't be opened.
    """
    top = folder if root is None else root
    try:
        parts = folder.relative_to(top).parts
    except ValueError:
        raise OddEntryError(folder, "it lies outside of its folder") from None
    if make:
        (top if CAN_HOLD_FOLDERS else folder).mkdir(parents=True, exist_ok=True)
    if not CAN_HOLD_FOLDERS:
        yield HeldFolder(folder, None)
        return
    descriptor = os.open(top, _TOP_FLAGS)
    try:
        for part in parts:
            deeper = _step(descriptor, part, folder, make)
            os.close(descriptor)
            descriptor = deeper
        yield HeldFolder(folder, descriptor)
    finally:
        os.close(descriptor)


def _step(descriptor: int, part: str, folder: Path, make: bool) -> int:
    """The descriptor of a folder in a folder."""
    if make:
        with contextlib.suppress(FileExistsError):
            os.mkdir(part, dir_fd=descriptor)
    try:
        return os.open(part, _WAY_FLAGS, dir_fd=descriptor)
    except OSError:
        if _is_link(descriptor, part):
            raise OddEntryError(folder, "its folder was exchanged for a link") from None
        raise


def _is_link(descriptor: int, part: str) -> bool:
    with contextlib.suppress(OSError):
        os.readlink(part, dir_fd=descriptor)
        return True
    return False
