"""A Scheduled Task that starts at a user's logon on Windows, by the XML of [MS-TSCH] 2.5."""

from __future__ import annotations

import ntpath
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from .job import NAME, Job
from .ours import DESCRIPTION, InstallError, earlier, is_ours
from .plan import Ask, Plan, Remove, RunCommand, Status, Write
from .windows import command_line

NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"
CHECK_MINUTES = 5
"""How often it is started again where it has ended; while it runs nothing happens. Restarting on failure alone is not
enough: a task that was killed has not failed."""
RESTARTS = 255
"""The schema's most."""
_STATE_QUERY = f"(Get-ScheduledTask -TaskName {NAME} -ErrorAction Stop).State.value__"
_STATES = {"0": "unknown", "1": "disabled", "2": "queued", "3": "ready", "4": "running"}


@dataclass(frozen=True, slots=True)
class ScheduledTask:
    """The sentinel as a task of the user's."""

    user: str
    """`DOMAIN\\name`."""
    temporary: Path
    """Where the XML is put for `schtasks` to read."""

    def xml(self, job: Job) -> str:
        """The task's definition. Raises InstallError for a path that Windows would change."""
        ElementTree.register_namespace("", NAMESPACE)
        task = ElementTree.Element(_tag("Task"), {"version": "1.2"})
        _add(task, "RegistrationInfo", {"Description": DESCRIPTION, "URI": f"\\{NAME}"})
        trigger = _add(_add(task, "Triggers"), "LogonTrigger", {"Enabled": "true"})
        _add(trigger, "Repetition", {"Interval": f"PT{CHECK_MINUTES}M", "StopAtDurationEnd": "false"})
        _add_text(trigger, "UserId", self.user)
        rights = {"UserId": self.user, "LogonType": "InteractiveToken", "RunLevel": "LeastPrivilege"}
        _add(_add(task, "Principals"), "Principal", rights).set("id", "Author")
        settings = _add(
            task,
            "Settings",
            {
                "MultipleInstancesPolicy": "IgnoreNew",
                "DisallowStartIfOnBatteries": "false",
                "StopIfGoingOnBatteries": "false",
                "StartWhenAvailable": "true",
                "ExecutionTimeLimit": "PT0S",
                "Enabled": "true",
            },
        )
        _add(settings, "RestartOnFailure", {"Interval": "PT1M", "Count": str(RESTARTS)})
        actions = _add(task, "Actions")
        actions.set("Context", "Author")
        # Command is not quoted: it is a path and nothing else.
        where = ntpath.dirname(job.python)
        _add(actions, "Exec", {"Command": job.python, "Arguments": command_line(job), "WorkingDirectory": where})
        ElementTree.indent(task)
        return '<?xml version="1.0" encoding="UTF-16"?>\n' + ElementTree.tostring(task, "unicode") + "\n"

    def install(self, job: Job, ask: Ask) -> Plan:
        """Register the task in the place of an earlier one, and start it. Raises InstallError for another's task."""
        earlier(self.temporary)
        self._is_registered(ask)
        return Plan(
            (
                Write(self.temporary, self.xml(job), "utf-16", 0o600),
                RunCommand(("schtasks", "/End", "/TN", NAME), may_fail=True),
                RunCommand(("schtasks", "/Create", "/TN", NAME, "/XML", str(self.temporary), "/F")),
                Remove(self.temporary),
                RunCommand(("schtasks", "/Run", "/TN", NAME)),
            ),
            notes=("it runs while you are logged on; for a service that doesn't need a logon: --method nssm",),
        )

    def uninstall(self, ask: Ask) -> Plan:
        """End it and delete the task. Raises InstallError where a task of this name is another's."""
        registered = self._is_registered(ask)
        if registered is None:
            raise InstallError("schtasks doesn't answer, so whose the task is isn't known; nothing was done")
        if not registered:
            return Plan(())
        end = RunCommand(("schtasks", "/End", "/TN", NAME), may_fail=True)
        return Plan((end, RunCommand(("schtasks", "/Delete", "/TN", NAME, "/F")), Remove(self.temporary)))

    def _is_registered(self, ask: Ask) -> bool | None:
        """Whether a task of ours is there; null where nothing answers."""
        answer = ask(("schtasks", "/Query", "/TN", NAME, "/XML"))
        if answer is None:
            return None
        if answer.code:
            return False
        if not is_ours(answer.text):
            raise InstallError(
                f"the task {NAME} was not made by `run-recorder sentinel install`: it is left as it is; "
                "delete or rename it yourself"
            )
        return True

    def status(self, ask: Ask) -> Status:
        """What Task Scheduler says of it, in numbers: its words are in the user's language."""
        answer = ask(("powershell", "-NoProfile", "-NonInteractive", "-Command", _STATE_QUERY))
        state = _STATES.get(answer.text) if answer is not None and not answer.code else None
        return Status("scheduled-task", state is not None, state == "running", Detail=state or "no such task")


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def _add(parent: ElementTree.Element, name: str, texts: dict[str, str] | None = None) -> ElementTree.Element:
    child = ElementTree.SubElement(parent, _tag(name))
    for key, text in (texts or {}).items():
        _add_text(child, key, text)
    return child


def _add_text(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, _tag(name)).text = text
