"""The ways to have the sentinel started, by their names."""

from __future__ import annotations

import getpass
import os
import sys
import tempfile
from pathlib import Path
from typing import Protocol

from .account import Account
from .job import NAME, Job
from .launchd import Launchd
from .nssm import Nssm
from .plan import Ask, Plan, Status
from .scheduled_task import ScheduledTask
from .systemd import Systemd, of_this_machine

PLATFORMS = {"systemd": "linux", "launchd": "darwin", "scheduled-task": "win32", "nssm": "win32"}
"""By method the platform that has it, as `sys.platform` begins."""
PLATFORM_NAMES = {"linux": "Linux", "darwin": "macOS", "win32": "Windows"}


class Method(Protocol):
    """One way. Nothing is done but by performing the plans."""

    def install(self, job: Job, ask: Ask) -> Plan:
        """What installs the job, in the place of an earlier one. Raises InstallError."""

    def uninstall(self, ask: Ask) -> Plan:
        """What takes everything away again; no steps where nothing is installed."""

    def status(self, ask: Ask) -> Status:
        """How it is."""


def default_method() -> str:
    """The platform's own way for one user."""
    return {"darwin": "launchd", "win32": "scheduled-task"}.get(sys.platform, "systemd")


def is_here(method: str) -> bool:
    """Whether this platform has a method."""
    return sys.platform.startswith(PLATFORMS[method])


def make_method(name: str, *, system: bool = False, linger: bool = False, account: Account | None = None) -> Method:
    """A method for this user on this machine; `account` is whom a system service of systemd runs as."""
    if name == "systemd":
        if os.name == "nt":
            return Systemd(system, getpass.getuser(), Path("/home/user/.config"), linger, account)
        return of_this_machine(system=system, linger=linger, account=account)
    if name == "launchd":
        return Launchd(Path.home(), os.getuid() if os.name != "nt" else 501)
    if name == "nssm":
        return Nssm()
    return ScheduledTask(_windows_user(), Path(tempfile.gettempdir(), f"{NAME}.xml"))


def is_administrator() -> bool:
    """Whether we are root, or run with an administrator's rights on Windows."""
    if sys.platform == "win32":
        import ctypes

        return bool(ctypes.windll.shell32.IsUserAnAdmin())
    return os.geteuid() == 0


def _windows_user() -> str:
    domain, user = os.environ.get("USERDOMAIN"), os.environ.get("USERNAME") or getpass.getuser()
    return f"{domain}\\{user}" if domain else user
