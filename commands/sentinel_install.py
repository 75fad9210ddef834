"""`run-recorder sentinel install`, `uninstall` and `status`: has the operating system start it."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from enum import Enum
from typing import Annotated

import typer

from ..client.urls import has_logon
from ..sentinel.install.account import Account, account_for
from ..sentinel.install.job import check_import, make_job
from ..sentinel.install.methods import (
    PLATFORM_NAMES,
    PLATFORMS,
    Method,
    default_method,
    is_administrator,
    is_here,
    make_method,
)
from ..sentinel.install.plan import InstallError, Plan, StepError, ask, document_of, line_of, lines_of, perform
from ..sentinel.options import Options
from .output import DONE, FAILED, facts, fail, print_json
from .prompts import AsJson
from .sentinel_options import (
    Comfyui,
    Extensions,
    Folders,
    MetricsHost,
    MetricsPort,
    MinFrames,
    Polling,
    Recursive,
    ScanInterval,
    StableSeconds,
    checked,
    server,
)
from .terminal import say, tell

PROGRAMS = {"systemd": "systemctl", "launchd": "launchctl", "scheduled-task": "schtasks", "nssm": "nssm"}
"""By method the program that does it."""
NO_SESSION = (
    "your user has no systemd of its own here: log on as that user (not by su or sudo), or install with --system"
)


class Name(str, Enum):
    """The methods' names."""

    systemd = "systemd"
    launchd = "launchd"
    scheduled_task = "scheduled-task"
    nssm = "nssm"


MethodName = Annotated[
    Name | None, typer.Option("--method", help="How; default: this platform's own way for one user.")
]
System = Annotated[bool, typer.Option("--system", help="systemd: a system service, by an administrator.")]
User = Annotated[
    str | None,
    typer.Option(
        "--user", metavar="NAME", help="--system: whom it runs as; default: the folder's owner, else who called sudo."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print what would be written and run.")]


def install(
    folders: Folders,
    method: MethodName = None,
    system: System = False,
    user: User = None,
    linger: Annotated[
        bool, typer.Option("--linger", help="systemd, for a user: run it without a logon, so after a reboot, too.")
    ] = False,
    dry_run: DryRun = False,
    stable_seconds: StableSeconds = 3.0,
    scan_interval: ScanInterval = 2.0,
    min_frames: MinFrames = 1,
    extensions: Extensions = None,
    polling: Polling = False,
    recursive: Recursive = True,
    comfyui: Comfyui = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
    as_json: AsJson = False,
) -> int:
    """Have the operating system start `sentinel watch` with these folders and options, and start it now."""
    given = Options(stable_seconds, scan_interval, min_frames, recursive, polling)
    options = checked(folders, given, extensions)
    server(comfyui)
    if comfyui is not None and has_logon(comfyui):
        fail("invalid_parameter", "--comfyui: a password would stand in the service's file and among its arguments")
    if linger and (system or _name(method) != "systemd"):
        fail("invalid_parameter", "--linger is for a user's systemd service; the others need none")
    if user is not None and not system:
        fail("invalid_parameter", "--user is for --system; a user's own service runs as that user")
    try:
        job = make_job(folders, options, comfyui=comfyui, metrics_port=metrics_port, metrics_host=metrics_host)
        _check_method(method, system=system, dry_run=dry_run)
        account = account_for(user, job.folders) if system else None
        way = _method(method, system=system, linger=linger, dry_run=dry_run, account=account)
        plan = way.install(job, ask)
        if not dry_run:
            _check_rights(plan)
            check_import(job, account)
    except InstallError as error:
        fail("invalid_parameter", str(error))
    was_there = not dry_run and way.status(ask).Installed
    return _carry_out(plan, dry_run=dry_run, as_json=as_json, undo=None if was_there else way)


def uninstall(
    method: MethodName = None, system: System = False, dry_run: DryRun = False, as_json: AsJson = False
) -> int:
    """Stop it, and take away everything that `install` has put there."""
    way = _method(method, system=system, dry_run=dry_run)
    try:
        plan = way.uninstall(ask)
    except InstallError as error:
        fail("conflict", str(error))
    if not dry_run:
        _check_rights(plan)
    return _carry_out(plan, dry_run=dry_run, as_json=as_json)


def status(method: MethodName = None, system: System = False, as_json: AsJson = False) -> int:
    """Whether it is installed and runs: exit 0 where it runs, else 1."""
    told = asdict(_method(method, system=system).status(ask))
    if as_json:
        print_json(told)
    else:
        facts("Sentinel", {name.lower(): _said(value) for name, value in told.items() if value is not None})
    return DONE if told["Running"] else FAILED


def _said(value: object) -> object:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def _name(method: Name | None) -> str:
    return method.value if method is not None else default_method()


def _method(
    method: Name | None,
    *,
    system: bool,
    linger: bool = False,
    dry_run: bool = False,
    account: Account | None = None,
) -> Method:
    _check_method(method, system=system, dry_run=dry_run)
    return make_method(_name(method), system=system, linger=linger, account=account)


def _check_method(method: Name | None, *, system: bool, dry_run: bool) -> None:
    name = _name(method)
    if system and name != "systemd":
        fail("invalid_parameter", f"--system is for systemd, not for {name}")
    if not dry_run and not is_here(name):
        fail("invalid_parameter", f"{name} is for {PLATFORM_NAMES[PLATFORMS[name]]}; --dry-run shows what it would do")
    if not dry_run and shutil.which(PROGRAMS[name]) is None:
        fail("unavailable", f"{PROGRAMS[name]} is not on the PATH, and {name} needs it")


def _check_rights(plan: Plan) -> None:
    if plan.administrator is not None and not is_administrator():
        fail("forbidden", f"this needs an administrator: {plan.administrator}; nothing was done")


def _carry_out(plan: Plan, *, dry_run: bool, as_json: bool, undo: Method | None = None) -> int:
    if not dry_run:
        if plan.administrator is not None:
            tell(f"as an administrator: {plan.administrator}")
        _perform(plan, undo)
    if as_json:
        print_json(document_of(plan))
    else:
        lines = lines_of(plan) if dry_run else [*map(line_of, plan.steps), *(f"note: {note}" for note in plan.notes)]
        for line in lines:
            say(line)
        if not plan.steps:
            say("nothing to do")
    return DONE


def _perform(plan: Plan, undo: Method | None) -> None:
    """Do it. What fails the first time leaves nothing behind."""
    try:
        perform(plan)
    except StepError as error:
        if undo is not None:
            try:
                left = undo.uninstall(ask).steps
            except InstallError as left_behind:
                left = ()
                tell(f"undoing: {left_behind}")
            for step in left:
                try:
                    perform(Plan((step,)))
                except StepError as left_behind:
                    tell(f"undoing: {left_behind}")
        hint = f"; {NO_SESSION}" if "connect to bus" in str(error) else ""
        fail("unavailable", f"{error}{hint}", FAILED)
