"""Whom a system service runs as: a user of its own choice or the watched folder's owner, and never root."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .ours import InstallError

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
"""A name that a unit can hold as it is; who is called otherwise is named by number."""
_NO_USERS = {0: "root", 65534: "nobody, whose files are those of no known user"}


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine who is not root."""

    name: str
    user_id: int
    group_id: int

    @property
    def in_unit(self) -> tuple[str, str]:
        """What `User=` and `Group=` say."""
        return (self.name if _PLAIN.fullmatch(self.name) else str(self.user_id)), str(self.group_id)


def account_for(user: str | None, folders: Sequence[str]) -> Account:
    """Whom a service for these folders runs as.

    `user` where it is given, else the first folder's owner who is not root, else who called sudo. Raises InstallError
    where that is nobody, or root.
    """
    if sys.platform == "win32":
        raise InstallError("a system service of systemd is for Linux")
    if user is not None:
        return _named(user)
    for user_id in _candidates(folders):
        found = _numbered(user_id)
        if found is not None:
            return found
    raise InstallError(
        f"a system service never runs as root, and whom else it should run as can't be told: {_why(folders)}, and no "
        "other user called sudo; give --user NAME, a user who may write there"
    )


def _named(user: str) -> Account:
    import pwd

    try:
        entry = pwd.getpwnam(user)
    except (KeyError, ValueError) as error:
        raise InstallError(f"--user {user!r}: this machine has no such user") from error
    if entry.pw_uid in _NO_USERS:
        raise InstallError(
            f"--user {user}: that is {_NO_USERS[entry.pw_uid]}, and a system service never runs so; give another user"
        )
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _numbered(user_id: int) -> Account | None:
    import pwd

    try:
        entry = pwd.getpwuid(user_id)
    except (KeyError, OverflowError):
        return None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid) if entry.pw_uid not in _NO_USERS else None


def _candidates(folders: Sequence[str]) -> Iterator[int]:
    for folder in folders:
        owner = _owner(folder)
        if owner is not None:
            yield owner
    sudo = os.environ.get("SUDO_UID", "")
    if sudo.isascii() and sudo.isdigit():
        yield int(sudo)


def _owner(folder: str) -> int | None:
    try:
        return os.stat(folder).st_uid  # noqa: PTH116  a text: plans are made for other systems, too
    except (OSError, ValueError):
        return None


def _why(folders: Sequence[str]) -> str:
    said = []
    for folder in folders:
        owner = _owner(folder)
        who = _NO_USERS.get(owner or 0, f"user number {owner}, who has no account here")
        said.append(f"{folder} is not there" if owner is None else f"{folder} belongs to {who}")
    return " and ".join(said) or "no folder is named"
