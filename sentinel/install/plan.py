"""What an installer does, as data: it can be printed, checked, and then done."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from ...telemetry.files.guarded_files import regular_status
from .ours import InstallError, earlier, remove_ours, standing, write_ours

__all__ = ["InstallError", "earlier", "standing"]

COMMAND_SECONDS = 90.0
"""No command of an operating system's service manager takes as long."""


class StepError(RuntimeError):
    """A step failed. The message says which, and what was answered."""


@dataclass(frozen=True, slots=True)
class Write:
    """A file is written, whole or not at all and over none but ours; the folders above it are made."""

    path: Path
    text: str
    encoding: str = "utf-8"
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Remove:
    """A file of ours is removed where it is there, and the folders above it that are empty then, up to `keep`."""

    path: Path
    keep: Path | None = None
    """The first folder that stays, whatever it holds; null: all stay."""
    is_log: bool = False
    """A service manager wrote it for us, so that it has no mark: any regular file of that name."""


@dataclass(frozen=True, slots=True)
class RunCommand:
    """A command is run. One that `may_fail` undoes what may not be there."""

    command: tuple[str, ...]
    may_fail: bool = False


Step = Write | Remove | RunCommand


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in their order, and what is to be said of them."""

    steps: tuple[Step, ...]
    administrator: str | None = None
    """Why only an administrator can do this; null where anyone can."""
    notes: tuple[str, ...] = ()


class Answer(NamedTuple):
    """What a command has answered."""

    code: int
    text: str


Ask = Callable[[Sequence[str]], "Answer | None"]
"""Runs a command; null where there is no such program, or it doesn't end."""


@dataclass(frozen=True, slots=True)
class Status:
    """How an installed sentinel is."""

    Method: Literal["systemd", "launchd", "scheduled-task", "nssm"]
    Installed: bool
    Running: bool
    Pid: int | None = None
    """Null where it doesn't run, or the service manager doesn't say."""
    Restarts: int | None = None
    """How often the service manager has started it again; null where it doesn't say."""
    Linger: bool | None = None
    """systemd, for a user: whether it runs without a logon, so after a reboot, too. Null for the others."""
    Path: str | None = None
    """What was written; null where nothing stays on the disk but the service manager's own records."""
    Detail: str | None = None
    """What the service manager calls its state."""


def ask(command: Sequence[str]) -> Answer | None:
    """Run a command and hear what it says."""
    environment = {**os.environ, "LC_ALL": "C", "SYSTEMD_PAGER": ""}
    try:
        done = subprocess.run(list(command), capture_output=True, timeout=COMMAND_SECONDS, check=False, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = done.stdout + done.stderr if done.returncode else done.stdout
    return Answer(done.returncode, said.replace(b"\0", b"").decode("utf-8", "replace").strip())  # NSSM says UTF-16


def perform(plan: Plan, run: Ask = ask, told: Callable[[str], None] = lambda _line: None) -> None:
    """Do it, telling each step. Raises StepError at the first that fails; those before it stay done."""
    for step in plan.steps:
        told(line_of(step))
        try:
            _perform(step, run)
        except OSError as error:
            raise StepError(f"{line_of(step)}: {error.strerror or error}") from error
        except InstallError as error:
            raise StepError(f"{line_of(step)}: {error}") from error


def _perform(step: Step, run: Ask) -> None:
    if isinstance(step, Write):
        write_ours(step.path, step.text, step.encoding, step.mode)
    elif isinstance(step, Remove):
        _remove(step)
    else:
        answer = run(step.command)
        if not step.may_fail and (answer is None or answer.code):
            said = "there is no such program, or it doesn't end" if answer is None else answer.text or answer.code
            raise StepError(f"{line_of(step)}: {said}")


def _remove(step: Remove) -> None:
    if step.is_log:
        with contextlib.suppress(FileNotFoundError):
            regular_status(step.path)
            step.path.unlink()
    else:
        remove_ours(step.path)
    folder = step.path.parent
    with contextlib.suppress(OSError):  # the first that isn't empty ends it
        while step.keep is not None and folder != step.keep and folder.is_relative_to(step.keep):
            folder.rmdir()
            folder = folder.parent


def line_of(step: Step) -> str:
    """A step in a line."""
    if isinstance(step, Write):
        return f"write {step.path}"
    if isinstance(step, Remove):
        return f"remove {step.path}"
    return f"run {shlex.join(step.command) if os.name != 'nt' else subprocess.list2cmdline(step.command)}"


def lines_of(plan: Plan) -> Iterator[str]:
    """A plan as people read it: each step, each file's text below it, and what is to be said."""
    if plan.administrator is not None:
        yield f"needs an administrator: {plan.administrator}"
    for step in plan.steps:
        yield line_of(step)
        if isinstance(step, Write):
            yield from (f"    {line}".rstrip() for line in step.text.splitlines())
    yield from (f"note: {note}" for note in plan.notes)


def document_of(plan: Plan) -> dict[str, object]:
    """A plan as JSON."""
    steps: list[dict[str, object]] = []
    for step in plan.steps:
        if isinstance(step, Write):
            steps.append({"Write": str(step.path), "Text": step.text})
        elif isinstance(step, Remove):
            steps.append({"Remove": str(step.path)})
        else:
            steps.append({"Run": list(step.command)})
    return {"Administrator": plan.administrator, "Steps": steps, "Notes": list(plan.notes)}
