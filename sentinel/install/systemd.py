"""systemd: a user's own service, or a system service that may write to nothing but the watched folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .account import Account
from .job import NAME, Job
from .ours import DESCRIPTION, MARK, InstallError, check_owner, earlier, standing
from .plan import Ask, Plan, Remove, RunCommand, Status, Step, Write

UNIT = f"{NAME}.service"
SYSTEM_FOLDER = Path("/etc/systemd/system")
RESTART_SECONDS = 5
LINGER_LINE = "# Lingering was switched on by the installation, and is switched off by the removal."
_PLAIN = re.compile(r"[A-Za-z0-9_@+=:,./-]+")
_HARDENING = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
CapabilityBoundingSet=
AmbientCapabilities=
"""


def word(text: str, *, dollars: bool = False) -> str:
    """A word as a unit has it: quoted where it needs to be, `%` never a specifier, with `dollars` `$` no variable."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    if dollars:
        escaped = escaped.replace("$", "$$")
    return escaped if _PLAIN.fullmatch(escaped) else f'"{escaped}"'


def exec_start(job: Job) -> str:
    """The command line. Variables are put into every word but the program's path, so a `$` there takes two words."""
    words = [word(argument, dollars=True) for argument in job.arguments]
    if "$" in job.python:
        return " ".join(["@" + word(job.python), word(job.python, dollars=True), *words])
    return " ".join([word(job.python), *words])


@dataclass(frozen=True, slots=True)
class Systemd:
    """The sentinel as a systemd service."""

    system: bool = False
    user: str = ""
    """Whose service it is, where it is a user's own."""
    config: Path = Path("/etc")
    """The user's folder of configuration."""
    linger: bool = False
    """Whether lingering is to be switched on, so that it runs without a logon."""
    account: Account | None = None
    """With `system` whom it runs as; null where nothing is to be installed."""

    @property
    def path(self) -> Path:
        """Where the unit is."""
        return (SYSTEM_FOLDER if self.system else self.config / "systemd" / "user") / UNIT

    @property
    def administrator(self) -> str | None:
        """Why an administrator is needed; null where none is."""
        return f"a system service is written to {SYSTEM_FOLDER}" if self.system else None

    def unit(self, job: Job, *, lingers: bool = False) -> str:
        """The unit's text. Raises InstallError for a system service of nobody's."""
        return "\n".join(self._lines(job, lingers=lingers)) + "\n"

    def _lines(self, job: Job, *, lingers: bool) -> Iterator[str]:
        yield f"# {MARK}"
        if lingers:
            yield LINGER_LINE
        folders = " ".join(word(folder) for folder in job.folders)
        yield f"[Unit]\nDescription={DESCRIPTION}\nStartLimitIntervalSec=0"
        if self.system:
            yield f"RequiresMountsFor={folders}"
        yield f"\n[Service]\nType=exec\nExecStart={exec_start(job)}\nWorkingDirectory=/"
        yield "EnvironmentFile=-%E/run-recorder/sentinel.env"
        yield f"Restart=always\nRestartSec={RESTART_SECONDS}\nTimeoutStopSec=20"
        if self.system:
            if self.account is None or self.account.user_id == 0:
                raise InstallError("a system service never runs as root; give --user NAME")
            user, group = self.account.in_unit
            yield f"User={user}\nGroup={group}\n{_HARDENING.rstrip()}"
            if not any(is_below_tmp(path) for path in (job.python, *job.folders)):
                yield "PrivateTmp=yes"
            yield f"ReadWritePaths={folders}"
        yield f"\n[Install]\nWantedBy={'multi-user.target' if self.system else 'default.target'}"

    def install(self, job: Job, ask: Ask) -> Plan:
        """Write the unit where it isn't so already; enable it; start it, anew where it has changed.

        Raises InstallError where what lies at the unit's name is not ours.
        """
        stands = self._earlier()
        switches = self.linger and not self.system and not self.lingers(ask)
        unit = self.unit(job, lingers=switches or (not self.system and LINGER_LINE in stands))
        steps: list[Step] = []
        if stands != unit:
            steps = [Write(self.path, unit), self._systemctl("daemon-reload")]
        steps.append(self._systemctl("enable", UNIT))
        steps.append(self._systemctl("restart" if stands != unit else "start", UNIT))
        if switches:
            steps.append(RunCommand(("loginctl", "enable-linger", self.user)))
        return Plan(tuple(steps), self.administrator, tuple(self._notes(job, ask)))

    def uninstall(self, ask: Ask) -> Plan:
        """Stop it and take everything away again; nothing to do where it isn't installed.

        Raises InstallError where what lies at the unit's name is not ours.
        """
        stands = self._earlier()
        if not stands:
            return Plan(())
        steps: list[Step] = [
            self._systemctl("disable", "--now", UNIT, may_fail=True),
            Remove(self.path, None if self.system else self.config),
            self._systemctl("daemon-reload"),
            self._systemctl("reset-failed", UNIT, may_fail=True),
        ]
        if LINGER_LINE in stands:
            steps.append(RunCommand(("loginctl", "disable-linger", self.user), may_fail=True))
        return Plan(tuple(steps), self.administrator)

    def status(self, ask: Ask) -> Status:
        """What systemd says of it."""
        wanted = "LoadState,ActiveState,SubState,MainPID,NRestarts,UnitFileState"
        answer = ask(self._systemctl("show", UNIT, "-p", wanted).command)
        told = dict(line.partition("=")[::2] for line in answer.text.splitlines()) if answer and not answer.code else {}
        pid = int(told.get("MainPID") or 0)
        why = (answer.text if answer else "systemctl doesn't answer") if not told else None
        state = f"{told.get('ActiveState')} ({told.get('SubState')}), {told.get('UnitFileState') or 'not enabled'}"
        return Status(
            "systemd",
            Installed=bool(standing(self.path)),
            Running=told.get("ActiveState") == "active",
            Pid=pid or None,
            Restarts=int(told["NRestarts"]) if told.get("NRestarts", "").isdigit() else None,
            Linger=None if self.system else self.lingers(ask),
            Path=str(self.path) if standing(self.path) else None,
            Detail=why or state,
        )

    def lingers(self, ask: Ask) -> bool:
        """Whether the user's services run without a logon."""
        answer = ask(("loginctl", "show-user", self.user, "-p", "Linger", "--value"))
        if answer is not None and not answer.code:
            return answer.text == "yes"
        return Path("/var/lib/systemd/linger", self.user).exists()  # loginctl knows no user who is not logged on

    def _earlier(self) -> str:
        if not self.system:
            check_owner(self.path.parent)
        return earlier(self.path)

    def _notes(self, job: Job, ask: Ask) -> Iterator[str]:
        if not self.system and not self.linger and not self.lingers(ask):
            yield (
                f"it runs from your logon on; to have it run after a reboot without one: --linger "
                f"(loginctl enable-linger {self.user})"
            )
        if not self.system and self.user == "root":
            yield "you are root, so it runs as root: --system has a user of its own, or install it as another user"
        if self.system and self.account is not None:
            yield f"it runs as {self.account.name}, and can write to nothing but the watched folders"
            for folder in job.folders:
                if not os.path.isdir(folder):  # noqa: PTH112
                    yield f"{folder} is not there: systemd starts the service again and again until it is"

    def _systemctl(self, *words: str, may_fail: bool = False) -> RunCommand:
        return RunCommand(("systemctl", *(() if self.system else ("--user",)), *words), may_fail)


def is_below_tmp(path: str) -> bool:
    """Whether a private /tmp would hide it."""
    real = os.path.realpath(path)
    # Nothing is made there: such folders are private to each service, so it could not see them.
    return any(f"{place}/".startswith(("/tmp/", "/var/tmp/")) for place in (path, real))  # noqa: S108  # nosec B108


def of_this_machine(*, system: bool, linger: bool, account: Account | None = None) -> Systemd:
    """For whoever asks; `account` is whom a system service runs as."""
    import pwd

    user_id = os.getuid()
    try:
        name = pwd.getpwuid(user_id).pw_name
    except KeyError:
        name = str(user_id)
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Systemd(system, name, Path(config), linger, account)
