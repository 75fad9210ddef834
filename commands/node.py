"""`run-recorder node`: puts this package into a ComfyUI's custom_nodes, and takes it out again."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer

from ..telemetry.process.project_file import project_of
from .output import DONE, FAILED, fail
from .terminal import say

PACKAGE = Path(__file__).resolve().parent.parent
NAME = "run-recorder"
DEPLOYED = ".deployed-by-run-recorder"
"""Stands in a copy that we made: only such a copy, or a link, is ever removed."""
LEFT_OUT = (".*", "__pycache__", "tests", "benchmarks", "*.egg-info", "build", "dist")
CHECK_SECONDS = 120
_BACKUP = re.compile(rf"{NAME}\.backup-\d{{8}}T\d{{6}}\.\d{{6}}Z\.disabled")
"""The names that this command gives; a file that is only called like one is not restored."""
_CHECK = """
import importlib, importlib.util, sys
path = sys.argv[1]
spec = importlib.util.spec_from_file_location("checked", path + "/__init__.py", submodule_search_locations=[path])
sys.modules["checked"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
for name in ("telemetry.record.recording", "telemetry.live.metrics", "server_routes.table", "comfyui_host"):
    importlib.import_module("checked." + name)
"""

app = typer.Typer(help="This package in a ComfyUI's custom_nodes.", no_args_is_help=True)
ComfyuiDir = Annotated[Path, typer.Argument(metavar="COMFYUI_DIR", help="The folder that holds ComfyUI's main.py.")]


@app.command("deploy")
def deploy(
    comfyui_dir: ComfyuiDir,
    link: Annotated[bool, typer.Option("--link", help="Link it instead of copying it, for developers.")] = False,
) -> int:
    """Copy this package into custom_nodes, and check that ComfyUI's interpreter can import it."""
    nodes = _custom_nodes(comfyui_dir)
    place, staged = nodes / NAME, nodes / f"{NAME}.{secrets.token_hex(8)}.disabled"
    if os.path.lexists(staged):
        fail("conflict", f"{staged} is there already; nothing was changed", FAILED)
    try:
        _stage(staged, link=link)
        why = _cannot_import(_python(comfyui_dir), staged)
        if why is not None:
            fail(
                "unavailable",
                f"it can't be imported there, so nothing was changed: {why} (are its requirements installed there?)",
                FAILED,
            )
        backup = _exchange(place, staged)
    except OSError as error:
        fail("unavailable", f"{nodes} can't be written: {error}", FAILED)
    finally:
        _discard(staged)
    say(f"{place}: {'linked' if link else 'copied'}; restart ComfyUI")
    if backup is not None:
        say(f"what stood there is kept as {backup.name}")
    return DONE


@app.command("remove")
def remove(comfyui_dir: ComfyuiDir) -> int:
    """Take it out of custom_nodes again, and restore the newest backup."""
    nodes = _custom_nodes(comfyui_dir)
    place = nodes / NAME
    if not os.path.lexists(place):
        say(f"{place} is not there")
        return DONE
    if not _is_ours(place):
        fail("conflict", f"{place} was not put there by this command, so it is left alone")
    backups = sorted(path for path in nodes.iterdir() if _BACKUP.fullmatch(path.name))
    leaving = nodes / f"{NAME}.{secrets.token_hex(8)}.disabled"
    try:
        place.rename(leaving)
        if backups:
            _rename_or_undo(backups[-1], place, undo=leaving)
        _discard(leaving, is_strict=True)
    except OSError as error:
        fail("unavailable", f"{place} can't be removed: {error}", FAILED)
    say(f"{place}: {f'restored from {backups[-1].name}' if backups else 'removed'}")
    return DONE


def _custom_nodes(comfyui: Path) -> Path:
    if not (comfyui / "main.py").is_file() or not (comfyui / "custom_nodes").is_dir():
        fail("not_found", f"{comfyui} is no ComfyUI: it has no main.py, or no custom_nodes")
    return comfyui.resolve() / "custom_nodes"


def _python(comfyui: Path) -> str:
    """ComfyUI's interpreter: `COMFYUI_PYTHON`, that of a .venv or venv in its folder, else this one."""
    given = os.environ.get("COMFYUI_PYTHON")
    beside = [comfyui / env / name for env in (".venv", "venv") for name in ("bin/python", "Scripts/python.exe")]
    return given or next((str(path) for path in beside if path.exists()), sys.executable)


def _stage(staged: Path, *, link: bool) -> None:
    """Make it under a name that ComfyUI passes over."""
    if link:
        staged.symlink_to(PACKAGE, target_is_directory=True)
        return
    shutil.copytree(PACKAGE, staged, ignore=_left_out)
    (staged / DEPLOYED).touch()


def _left_out(folder: str, names: list[str]) -> set[str]:
    """What a copy does without: the tools' own files, and a link, pipe or device, which is none of this package's."""
    odd = {name for name in names if not _is_plain(os.path.join(folder, name))}  # noqa: PTH118  as copytree hands it
    return odd | shutil.ignore_patterns(*LEFT_OUT)(folder, names)


def _is_plain(path: str) -> bool:
    mode = os.lstat(path).st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _cannot_import(python: str, folder: Path) -> str | None:
    """Why an interpreter can't import a copy; null where it can."""
    command = [python, "-B", "-c", _CHECK, str(folder)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=CHECK_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{python}: {error}"
    return (done.stderr.strip().splitlines() or ["it ended"])[-1] if done.returncode else None


def _is_ours(place: Path) -> bool:
    """Whether this command put it there: a copy with its note in it, or a link that leads to this package."""
    if place.is_symlink():
        target = place.resolve()
        return target == PACKAGE or _is_this_package(target)
    note = place / DEPLOYED
    return place.is_dir() and note.is_file() and not note.is_symlink()


def _is_this_package(folder: Path) -> bool:
    """Whether a folder is a checkout of this package, which a developer may have linked from elsewhere."""
    return project_of(folder).get("name") == NAME


def _exchange(place: Path, staged: Path) -> Path | None:
    """Put what is staged into its place; what stood there is kept under a dated name that ComfyUI passes over.

    Where that fails half-way, what stood there stands there again. Null where nothing did.
    """
    if not os.path.lexists(place):
        staged.rename(place)
        return None
    now = datetime.now(timezone.utc)
    backup = place.rename(place.with_name(f"{NAME}.backup-{now:%Y%m%dT%H%M%S.%f}Z.disabled"))
    _rename_or_undo(staged, place, undo=backup)
    return backup


def _rename_or_undo(path: Path, place: Path, *, undo: Path) -> None:
    try:
        path.rename(place)
    except BaseException:  # Ctrl-C, too
        undo.rename(place)
        raise


def _discard(path: Path, *, is_strict: bool = False) -> None:
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path, ignore_errors=not is_strict)
