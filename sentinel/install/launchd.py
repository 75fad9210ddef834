"""launchd: an agent of the user's on macOS."""

from __future__ import annotations

import plistlib
import re
from dataclasses import dataclass
from pathlib import Path

from .job import NAME, Job
from .ours import MARK, check_owner
from .plan import Ask, Plan, Remove, RunCommand, Status, Step, Write, earlier, standing

THROTTLE_SECONDS = 5
AS_ROOT = "you are root, so it runs as root: install it as the user whose folders it watches, without sudo"
_STATE = re.compile(r"^\s*(state|pid|runs) = (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Launchd:
    """The sentinel as a launchd agent. It runs while its user is logged on."""

    home: Path
    user_id: int

    @property
    def path(self) -> Path:
        """Where the agent is."""
        return self.home / "Library" / "LaunchAgents" / f"{NAME}.plist"

    @property
    def log(self) -> Path:
        """What it says."""
        return self.home / "Library" / "Logs" / f"{NAME}.log"

    def plist(self, job: Job) -> str:
        """The agent's text: launchd reads no quotes, variables or specifiers in it."""
        agent = {
            "Label": NAME,
            "ProgramArguments": list(job.command),
            "WorkingDirectory": "/",
            "RunAtLoad": True,
            "KeepAlive": True,
            "ThrottleInterval": THROTTLE_SECONDS,
            "StandardOutPath": str(self.log),
            "StandardErrorPath": str(self.log),
        }
        head, root, rest = plistlib.dumps(agent, sort_keys=False).decode("utf-8").partition("<plist ")
        return f"{head}<!-- {MARK} -->\n{root}{rest}"

    def install(self, job: Job, ask: Ask) -> Plan:
        """Write the agent and load it, anew where it has changed."""
        plist = self.plist(job)
        steps: list[Step] = []
        check_owner(self.path.parent)
        if earlier(self.path) != plist:
            steps = [RunCommand(("launchctl", "bootout", self._service), may_fail=True), Write(self.path, plist)]
        elif self.status(ask).Running:
            return Plan(())
        steps += [
            RunCommand(("launchctl", "enable", self._service)),
            RunCommand(("launchctl", "bootstrap", self._domain, str(self.path))),
        ]
        note = (
            "macOS may ask whether python may read the folder, where it is on the Desktop, in Documents or on a share"
        )
        return Plan(tuple(steps), notes=(note, *((AS_ROOT,) if self.user_id == 0 else ())))

    def uninstall(self, ask: Ask) -> Plan:
        """Unload it and take everything away again; nothing to do where it isn't installed."""
        if not earlier(self.path):
            return Plan(())
        check_owner(self.path.parent)
        unload = RunCommand(("launchctl", "bootout", self._service), may_fail=True)
        return Plan((unload, Remove(self.path), Remove(self.log, is_log=True)))

    def status(self, ask: Ask) -> Status:
        """What launchd says of it."""
        answer = ask(("launchctl", "print", self._service))
        told = dict(_STATE.findall(answer.text)[::-1]) if answer is not None and not answer.code else {}
        is_there = bool(standing(self.path))
        return Status(
            "launchd",
            Installed=is_there,
            Running=told.get("state") == "running",
            Pid=int(told["pid"]) if told.get("pid", "").isdigit() else None,
            Restarts=int(told["runs"]) - 1 if told.get("runs", "").isdigit() else None,
            Path=str(self.path) if is_there else None,
            Detail=told.get("state") or "not loaded",
        )

    @property
    def _domain(self) -> str:
        return f"gui/{self.user_id}"

    @property
    def _service(self) -> str:
        return f"{self._domain}/{NAME}"
