"""`run-recorder validate`: a run's files against the contract."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..runner.validate import UncheckableError, validate_run
from .output import DONE, FAILED, fail, print_json
from .terminal import say


def validate(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The run's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> int:
    """Check a run's summary and metadata against the contract and each other; exit 0 if they pass, else 1."""
    try:
        found = validate_run(run_dir)
    except UncheckableError as error:
        fail("not_found", str(error))
    if as_json:
        print_json({"Passed": found.passed, "Errors": found.errors, "Warnings": found.warnings})
    else:
        say(f"run-summary validation: {'PASS' if found.passed else 'FAIL'}")
        for word, lines in (("ERROR", found.errors), ("WARNING", found.warnings)):
            for line in lines:
                say(f"{word}: {line}")
    return DONE if found.passed else FAILED
