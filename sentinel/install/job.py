"""The command line that a service runs: `run-recorder sentinel watch`, with an interpreter named in full."""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..options import Options
from .account import Account
from .ours import DESCRIPTION, InstallError

__all__ = ["DESCRIPTION"]

NAME = "run-recorder-sentinel"
"""What it is called by every service manager."""
CHECK_SECONDS = 60.0
_CHECK = """
import os, sys
import run_recorder.commands.application
for folder in sys.argv[1:]:
    try:
        os.stat(folder)
    except FileNotFoundError:
        continue
    except OSError as error:
        sys.exit(f"can't reach {folder}: {error.strerror}")
    if not os.access(folder, os.W_OK | os.X_OK):
        sys.exit(f"may not write to {folder}")
"""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be run. Texts, not paths: a plan for Windows can be made and looked at on Linux."""

    python: str
    """The interpreter's full path."""
    arguments: tuple[str, ...]
    """All that follows it."""
    folders: tuple[str, ...]
    """The watched folders' full paths; they stand in `arguments`, too."""

    @property
    def command(self) -> tuple[str, ...]:
        """The whole command line."""
        return (self.python, *self.arguments)


def make_job(
    folders: Sequence[Path],
    options: Options,
    *,
    comfyui: str | None = None,
    metrics_port: int | None = None,
    metrics_host: str = "127.0.0.1",
    python: str | None = None,
) -> Job:
    """The job of a `sentinel watch` with these options. Raises InstallError for a path that no service can be given."""
    plain = Options()
    given: list[str] = []
    values: Mapping[str, tuple[object, object]] = {
        "--stable-seconds": (options.stable_seconds, plain.stable_seconds),
        "--scan-interval": (options.scan_interval, plain.scan_interval),
        "--min-frames": (options.min_frames, plain.min_frames),
        "--extensions": (",".join(sorted(options.extensions)), ",".join(sorted(plain.extensions))),
        "--comfyui": (comfyui, None),
        "--metrics-port": (metrics_port, None),
        "--metrics-host": (metrics_host, "127.0.0.1"),
    }
    for name, (value, default) in values.items():
        if value != default:
            given += [name, str(value)]
    given += ["--polling"] * options.polling + ["--no-recursive"] * (not options.recursive)
    paths = tuple(os.path.abspath(folder) for folder in folders)  # noqa: PTH100  a link stays one: it may be turned
    job = Job(python or interpreter(), ("-m", "run_recorder.cli", "sentinel", "watch", *given, *paths), paths)
    for text in job.command:
        check_text(text)
    return job


def interpreter() -> str:
    """This interpreter; on Windows the one that opens no console window."""
    path = Path(sys.executable)
    silent = path.with_name("pythonw.exe")
    return str(silent if os.name == "nt" and silent.exists() else path)


def check_text(text: str) -> None:
    """Raises InstallError for what can't stand in a service's definition."""
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        raise InstallError(f"{text!r} has a control character, or a byte that is no UTF-8: a service can't be given it")


def check_import(job: Job, account: Account | None = None) -> None:
    """Raises InstallError where the interpreter, started bare as a service is, can't import the command.

    With an account it is tried as that user, who must also be able to write to the folders that are there.
    """
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [job.python, "-B", "-c", _CHECK, *(job.folders if account is not None else ())]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=CHECK_SECONDS,
            check=False,
            env=bare,
            cwd=Path(job.python).anchor,
            user=account.user_id if account is not None else None,
            group=account.group_id if account is not None else None,
            extra_groups=os.getgrouplist(account.name, account.group_id) if account is not None else None,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        who = f" by {account.name}" if account is not None else ""
        raise InstallError(f"{job.python} can't be run{who}: {error}") from error
    if done.returncode:
        why = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it ended"])[-1]
        if account is not None:
            raise InstallError(f"the service would run as {account.name}, and with {job.python} can't work: {why}")
        raise InstallError(f"{job.python} can't import run_recorder: {why}; install it there with pip")
