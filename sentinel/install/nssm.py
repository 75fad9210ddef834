"""NSSM, the Non-Sucking Service Manager: a Windows service that needs no logon."""

from __future__ import annotations

import ntpath
from dataclasses import dataclass

from .job import DESCRIPTION, NAME, Job
from .plan import Ask, Plan, Run, Status
from .windows import command_line

RESTART_MS = 5000
STOP_MS = 10000
"""How long it may take to stop after the Ctrl-C that it is sent."""
_STATES = {"SERVICE_RUNNING": True, "SERVICE_STOPPED": False, "SERVICE_PAUSED": False, "SERVICE_START_PENDING": False}


@dataclass(frozen=True, slots=True)
class Nssm:
    """The sentinel as a service under NSSM, which has to be on the PATH."""

    administrator = "NSSM registers a Windows service"

    def install(self, job: Job, ask: Ask) -> Plan:
        """Register and start the service, in the place of an earlier one. Raises InstallError for a bad path."""
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
            Run(("nssm", "install", NAME, job.python), may_fail=True),
            *(Run(("nssm", "set", NAME, name, value)) for name, value in settings.items()),
            Run(("nssm", "set", NAME, "AppExit", "Default", "Restart")),
            Run(("nssm", "stop", NAME), may_fail=True),
            Run(("nssm", "start", NAME)),
        ]
        notes = (
            "it runs as LocalSystem, which has no network drives: name a share as \\\\server\\share, and give the "
            f"service an account that may write there (nssm set {NAME} ObjectName USER PASSWORD)",
        )
        return Plan(tuple(steps), self.administrator, notes)

    def uninstall(self, ask: Ask) -> Plan:
        """Stop the service and remove it."""
        answer = ask(("nssm", "status", NAME))
        if answer is not None and answer.code:
            return Plan(())
        steps = (Run(("nssm", "stop", NAME), may_fail=True), Run(("nssm", "remove", NAME, "confirm")))
        return Plan(steps, self.administrator)

    def status(self, ask: Ask) -> Status:
        """What NSSM says of it."""
        answer = ask(("nssm", "status", NAME))
        is_there = answer is not None and not answer.code
        said = answer.text if answer is not None else "nssm is not on the PATH"
        return Status("nssm", is_there, is_there and _STATES.get(said, False), Detail=said)
