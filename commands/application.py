"""All sub-commands as one application, and what becomes of the errors that they end with."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from ..client.errors import ServerError
from ..telemetry.token import TokenError
from ..telemetry.version import VERSION
from . import db, demo, gpu, mark, node, preflight, prompts, queue, run, sentinel, validate
from .output import BAD_USE, DONE, INTERRUPTED, CommandError, err, print_json

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
app.command("gpu")(gpu.gpu)
app.command("mark")(mark.mark)
app.command("preflight")(preflight.check)
app.command("queue")(queue.queue)
app.command("run")(run.run)
app.command("validate")(validate.validate)
app.add_typer(sentinel.app, name="sentinel")
app.add_typer(node.app, name="node")
app.add_typer(db.app, name="db")


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"run-recorder {VERSION}\n")
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
    _let_any_name_be_printed(as_json)
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
    except Exception as error:  # noqa: BLE001  typer's own errors have no public base; others are raised again
        return _not_ours(error, as_json=as_json)
    return result if isinstance(result, int) else DONE


def _let_any_name_be_printed(as_json: bool) -> None:
    """JSON is UTF-8 whatever the console is; in a table, what the console lacks is escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8" if as_json else None, errors="backslashreplace")


def _not_ours(error: Exception, *, as_json: bool) -> int:
    """What typer raises for bad use and for an abort; anything else is a fault, and goes on."""
    kind = type(error).__name__
    if kind == "Abort":
        return _failed("interrupted", "interrupted", INTERRUPTED, as_json=as_json)
    if kind == "NoArgsIsHelpError":
        err.print(getattr(error, "message", ""), markup=False)
        return BAD_USE
    message = getattr(error, "format_message", None)
    if message is None:
        raise error
    return _failed("usage", str(message()), BAD_USE, as_json=as_json)


def _failed(kind: str, message: str, exit_code: int, *, as_json: bool) -> int:
    if as_json:
        print_json({"error": {"type": kind, "message": message}})
    else:
        err.print(f"run-recorder: {message}", markup=False)
    return exit_code
