"""What Windows' service managers have in common: a command line is one text, and `%NAME%` in it is a variable."""

from __future__ import annotations

import re
import subprocess

from .job import Job
from .plan import InstallError

_VARIABLE = re.compile(r"%[^%]+%")


def command_line(job: Job) -> str:
    """The arguments as one text, by the rules by which the C runtime takes it apart.

    Raises InstallError for what no quoting saves from being replaced: `%NAME%`, and `$(`.
    """
    for text in job.command:
        if _VARIABLE.search(text) or "$(" in text:
            raise InstallError(
                f"{text}: Windows would put a variable there, and has no quoting for it; rename the folder"
            )
    line = subprocess.list2cmdline(job.arguments)
    if _VARIABLE.search(line):
        raise InstallError(f"{line}: Windows would take what stands between two % for a variable; rename a folder")
    return line
