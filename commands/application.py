"""All sub-commands as one application, and what becomes of the errors that they end with."""

from __future__ import annotations

from typing import Annotated

import typer

from ..client.errors import ServerError
from ..telemetry.files.guarded_files import reason_of
from ..telemetry.process.token import TokenError
from ..telemetry.version import VERSION
from . import compare, db, demo, gpu, mark, node, preflight, prompts, queue, report, run, sentinel, validate, why
from .output import BAD_USE, DONE, FAILED, INTERRUPTED, CommandError, print_json
from .terminal import be_ready, say, show_faults, tell_lines

app = typer.Typer(
    name="run-recorder",
    help="A flight recorder for ComfyUI. Everything stays on this machine: nothing is sent anywhere.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.add_typer(prompts.app, name="prompts")
app.command("compare")(compare.compare)
app.command("gpu")(gpu.gpu)
app.command("mark")(mark.mark)
app.command("preflight")(preflight.check)
app.command("queue")(queue.queue)
app.command("run")(run.run)
app.command("validate")(validate.validate)
app.command("why")(why.why)
app.command("report")(report.report)
app.add_typer(sentinel.app, name="sentinel")
app.add_typer(node.app, name="node")
app.add_typer(db.app, name="db")


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"run-recorder {VERSION}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The options that stand before any sub-command."""


def run_command(given: list[str]) -> int:
    """Run a command line; the exit code. Standard output gets nothing but the command's own."""
    as_json = "--json" in given
    be_ready(as_json=as_json)
    try:
        result = app(args=given, prog_name="run-recorder", standalone_mode=False)
    except CommandError as error:
        return _failed(error.kind, str(error), error.exit_code, as_json=as_json)
    except TokenError as error:
        return _failed("invalid_parameter", str(error), BAD_USE, as_json=as_json)
    except ServerError as error:
        return _failed(error.kind, str(error), BAD_USE, as_json=as_json)
    except (KeyboardInterrupt, EOFError):
        return _failed("interrupted", "interrupted", INTERRUPTED, as_json=as_json)
    except OSError as error:  # a path that may not be looked at, a name that is too long, a disk that is full
        why = f"{error.filename}: {reason_of(error)}" if error.filename is not None else str(error) or "OSError"
        return _failed("io", why, FAILED, as_json=as_json)
    except Exception as error:  # noqa: BLE001  typer's own errors have no public base; others are raised again
        return _not_ours(error, as_json=as_json)
    return result if isinstance(result, int) else DONE


def _not_ours(error: Exception, *, as_json: bool) -> int:
    """What typer raises for bad use and for an abort; anything else is a fault, and goes on."""
    kind = type(error).__name__
    if kind == "Abort":
        return _failed("interrupted", "interrupted", INTERRUPTED, as_json=as_json)
    if kind == "NoArgsIsHelpError":
        tell_lines(getattr(error, "message", ""))
        return BAD_USE
    message = getattr(error, "format_message", None)
    if message is None:
        show_faults()  # only now: typer has set a hook of its own
        raise error
    return _failed("usage", str(message()), BAD_USE, as_json=as_json)


def _failed(kind: str, message: str, exit_code: int, *, as_json: bool) -> int:
    if as_json:
        print_json({"error": {"type": kind, "message": message}})
    else:
        tell_lines(f"run-recorder: {message}")
    return exit_code
