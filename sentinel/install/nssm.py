"""NSSM, the Non-Sucking Service Manager: a Windows service that needs no logon."""

from __future__ import annotations

import ntpath
from dataclasses import dataclass

from .job import NAME, Job
from .ours import DESCRIPTION, InstallError
from .plan import Ask, Plan, RunCommand, Status
from .windows import command_line

RESTART_MS = 5000
STOP_MS = 10000
"""How long it may take to stop after the Ctrl-C that it is sent."""
ACCOUNT = "NT AUTHORITY\\LocalService"
"""Whom it runs as: the account of Windows with the fewest rights that a service can have, and no password."""
_STATES = {"SERVICE_RUNNING": True, "SERVICE_STOPPED": False, "SERVICE_PAUSED": False, "SERVICE_START_PENDING": False}


@dataclass(frozen=True, slots=True)
class Nssm:
    """The sentinel as a service under NSSM, which has to be on the PATH."""

    administrator = "NSSM registers a Windows service"

    def install(self, job: Job, ask: Ask) -> Plan:
        """Register and start the service, in the place of an earlier one.

        Raises InstallError for a bad path, and where a service of this name is another's. An account that somebody
        gave the service stays; LocalSystem, which may do everything, does not.
        """
        had = self._account(ask) if self._is_registered(ask) else None
        keeps = had is not None and had.casefold() not in ("", "localsystem")
        settings = {
            "Application": job.python,
            "AppParameters": command_line(job),
            "AppDirectory": ntpath.dirname(job.python),
            "DisplayName": "Run Recorder sentinel",
            "Description": DESCRIPTION,
            "Start": "SERVICE_AUTO_START",
            "AppRestartDelay": str(RESTART_MS),
            "AppStopMethodConsole": str(STOP_MS),
        }
        steps = [
            # It fails where the service is there already; the settings below are set either way.
            RunCommand(("nssm", "install", NAME, job.python), may_fail=True),
            *(RunCommand(("nssm", "set", NAME, name, value)) for name, value in settings.items()),
            RunCommand(("nssm", "set", NAME, "AppExit", "Default", "Restart")),
            *(() if keeps else (RunCommand(("nssm", "set", NAME, "ObjectName", ACCOUNT)),)),
            RunCommand(("nssm", "stop", NAME), may_fail=True),
            RunCommand(("nssm", "start", NAME)),
        ]
        grants = " & ".join(f'icacls "{folder}" /grant "*S-1-5-19:(OI)(CI)M"' for folder in job.folders)
        notes = (
            f"it runs as {had}, as before"
            if keeps
            else f"it runs as {ACCOUNT}, never as LocalSystem; let it write to the folders ({grants}), see that it may "
            "read the interpreter, and for a share (named as \\\\server\\share) give the service a user of its own "
            f"(nssm set {NAME} ObjectName USER PASSWORD)",
        )
        return Plan(tuple(steps), self.administrator, notes)

    def uninstall(self, ask: Ask) -> Plan:
        """Stop the service and remove it. Raises InstallError where a service of this name is another's."""
        registered = self._is_registered(ask)
        if registered is None:
            raise InstallError("nssm doesn't answer, so whose the service is isn't known; nothing was done")
        if not registered:
            return Plan(())
        steps = (RunCommand(("nssm", "stop", NAME), may_fail=True), RunCommand(("nssm", "remove", NAME, "confirm")))
        return Plan(steps, self.administrator)

    def _is_registered(self, ask: Ask) -> bool | None:
        """Whether a service of ours is there; null where nothing answers."""
        answer = ask(("nssm", "status", NAME))
        if answer is None:
            return None
        if answer.code:
            return False
        runs = ask(("nssm", "get", NAME, "AppParameters"))
        if runs is None or runs.code or "run_recorder.cli" not in runs.text:
            raise InstallError(
                f"the service {NAME} was not made by `run-recorder sentinel install`: it is left as it is; "
                "remove or rename it yourself"
            )
        return True

    def _account(self, ask: Ask) -> str | None:
        answer = ask(("nssm", "get", NAME, "ObjectName"))
        return answer.text if answer is not None and not answer.code else None

    def status(self, ask: Ask) -> Status:
        """What NSSM says of it."""
        answer = ask(("nssm", "status", NAME))
        is_there = answer is not None and not answer.code
        said = answer.text if answer is not None else "nssm is not on the PATH"
        return Status("nssm", is_there, is_there and _STATES.get(said, False), Detail=said)
