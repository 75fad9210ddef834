"""`run-recorder db`: the database itself, without a server."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from ..telemetry.models.node import NodeList
from ..telemetry.models.times import iso, milliseconds
from ..telemetry.models.view import node_of, prompt_of
from ..telemetry.process.hidden_url import without_password
from ..telemetry.process.settings import MOST_DAYS
from ..telemetry.store.database import FILE_NAME, Database, file_url
from ..telemetry.store.database_file import ForeignFileError
from ..telemetry.store.migrations import HEAD, NewerDatabaseError, OlderDatabaseError
from ..telemetry.store.postgresql import UnfitDatabaseError
from ..telemetry.store.retention import Retention, prune
from ..telemetry.store.store import Store
from ..telemetry.store.sure_time import DOUBTFUL_MS
from .output import DONE, FAILED, fail, print_json
from .terminal import print_json_text, say, tell

app = typer.Typer(help="The recorder's database: migrations, retention, export.", no_args_is_help=True)

Where = Annotated[
    str,
    typer.Option(
        "--database",
        envvar="RUN_RECORDER_DATABASE_URL",
        help="The database's file, the folder that holds it, or an SQLAlchemy URL.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


def _url(where: str) -> str | URL:
    where = where.strip()
    if not where:
        fail("invalid_parameter", "--database is empty; give the database's file, its folder, or an SQLAlchemy URL")
    if "://" in where:
        return where
    path = Path(where)
    path = path / FILE_NAME if path.is_dir() else path
    if not path.is_file():
        fail("not_found", f"--database: there is no {without_password(path, str(path))}")
    return file_url(path)


def _said(error: Exception, where: str) -> str:
    """The first line of an error, without the password that `--database` may hold."""
    return next(iter(without_password(error, where).splitlines()), type(error).__name__)


def _open(where: str, how: Callable[[Database], list[str] | None]) -> tuple[Store, list[str]]:
    """The store, opened in some way, and the revisions that it had to be brought to."""
    try:
        database = Database(_url(where))
        done = how(database)
    except (ArgumentError, UnfitDatabaseError) as error:
        fail("invalid_parameter", f"--database: {_said(error, where)}")
    except ImportError as error:
        fail(
            "unavailable", f"--database: its driver is missing ({error}): pip install 'run-recorder[postgres]'", FAILED
        )
    except NewerDatabaseError as error:
        fail("conflict", f"{error}; install a newer run-recorder", FAILED)
    except OlderDatabaseError as error:
        fail("conflict", f"{error}; bring it there with `run-recorder db upgrade`, after a copy", FAILED)
    except ForeignFileError as error:
        file = without_password(error.file.name, error.file.name)
        fail("conflict", f"--database: {file} {error.what}; nothing was changed")
    except (SQLAlchemyError, OSError) as error:
        fail("unavailable", f"the database can't be opened: {_said(error, where)}", FAILED)
    return Store(database), done or []


@app.command("upgrade")
def upgrade(database: Where, as_json: AsJson = False) -> int:
    """Bring a database to the newest schema; ComfyUI does so by itself when it starts."""
    store, done = _open(database, Database.open)
    store.database.close()
    if as_json:
        print_json({"revision": HEAD, "applied": done})
    else:
        say(f"at revision {HEAD}" + (f" (applied {', '.join(done)})" if done else ", nothing to do"))
    return DONE


def _require_a_sure_clock(store: Store) -> None:
    """A clock that is ahead would forget all."""
    newest = store.history.newest_ms(milliseconds(time.time()))
    if newest is not None and milliseconds(time.time()) - newest > DOUBTFUL_MS:
        fail(
            "invalid_parameter",
            f"nothing was removed: the newest record is of {iso(newest)}, and this machine's clock says "
            f"{iso(milliseconds(time.time()))}; if that is right, add --trust-clock",
        )


@app.command("prune")
def prune_database(
    database: Where,
    prompts: Annotated[int, typer.Option(min=0, help="Keep the newest so many; 0 keeps all.")] = 0,
    days: Annotated[float, typer.Option(min=0, help="Keep those queued in the last so many days; 0 keeps all.")] = 0,
    size: Annotated[int, typer.Option("--bytes", min=0, help="Keep what fits into so many bytes; 0 keeps all.")] = 0,
    trust_clock: Annotated[
        bool,
        typer.Option(
            "--trust-clock", help="With --days: believe this machine's clock, however old the newest record is."
        ),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Forget old records that have ended."""
    if not (prompts or days or size):
        fail("invalid_parameter", "say what to keep: --prompts, --days or --bytes")
    if not days <= MOST_DAYS:  # nor is it nan
        fail("invalid_parameter", f"--days: give a number, 0 to {MOST_DAYS:,}")
    store, _ = _open(database, Database.open)
    try:
        if days and not trust_clock:
            _require_a_sure_clock(store)
        gone = prune(store, Retention(prompts or None, days or None, size or None), now_ms=milliseconds(time.time()))
        left = store.count()
    except SQLAlchemyError as error:
        fail("unavailable", f"the database can't be written: {_said(error, database)}", FAILED)
    finally:
        store.database.close()
    if as_json:
        print_json({"removed": gone, "kept": left})
    else:
        say(f"removed {gone}, kept {left}")
    return DONE


@app.command("export")
def export(database: Where) -> int:
    """Write every prompt with its nodes as JSON lines, oldest first; exit 1 where some can't be read, or not whole."""
    store, _ = _open(database, Database.open_to_read)
    damaged: set[str] = set()

    def met(which: str, what: str) -> None:
        if which not in damaged:
            damaged.add(which)
            tell(f"{which}: damaged in the database, {what}")

    store.rows.on_damaged = met
    try:
        for record, nodes in store.prompts.export():
            prompt = prompt_of(record, store.servers.instances([record.instance_id]))
            listed = NodeList(items=[node_of(node) for node in nodes])
            print_json_text(prompt.model_dump_json()[:-1] + ',"nodes":' + listed.model_dump_json()[9:-1] + "}")
    except SQLAlchemyError as error:
        fail("unavailable", f"the database can't be read: {_said(error, database)}", FAILED)
    finally:
        store.database.close()
    return FAILED if damaged else DONE
