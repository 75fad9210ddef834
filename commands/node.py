"""`run-recorder node`: puts this package into a ComfyUI's custom_nodes, and takes it out again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer

from .output import DONE, FAILED, fail
from .terminal import say

PACKAGE = Path(__file__).resolve().parent.parent
NAME = "run-recorder"
DEPLOYED = ".deployed-by-run-recorder"
"""Stands in a copy that we made: only such a copy, or a link, is ever removed."""
LEFT_OUT = (".*", "__pycache__", "tests", "benchmarks", "*.egg-info", "build", "dist")
CHECK_SECONDS = 120
_CHECK = """
import importlib, importlib.util, sys
path = sys.argv[1]
spec = importlib.util.spec_from_file_location("checked", path + "/__init__.py", submodule_search_locations=[path])
sys.modules["checked"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
for name in ("telemetry.recording", "telemetry.metrics", "server_routes", "comfyui_host"):
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
    place, staged = nodes / NAME, nodes / f"{NAME}.{os.getpid()}.disabled"
    try:
        _stage(staged, link=link)
        why = _cannot_import(_python(comfyui_dir), staged)
        if why is not None:
            fail(
                "unavailable",
                f"it can't be imported there, so nothing was changed: {why} (are its requirements installed there?)",
                FAILED,
            )
        backup = _set_aside(place)
        staged.rename(place)
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
    if not place.is_symlink() and not (place / DEPLOYED).exists():
        fail("conflict", f"{place} was not put there by this command, so it is left alone")
    backups = sorted(nodes.glob(f"{NAME}.backup-*.disabled"))
    try:
        _discard(place, is_strict=True)
        if backups:
            backups[-1].rename(place)
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
    shutil.copytree(PACKAGE, staged, ignore=shutil.ignore_patterns(*LEFT_OUT))
    (staged / DEPLOYED).touch()


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


def _set_aside(place: Path) -> Path | None:
    """Keep what stands there under a dated name that ComfyUI passes over; null where nothing does."""
    if not os.path.lexists(place):
        return None
    now = datetime.now(timezone.utc)
    return place.rename(place.with_name(f"{NAME}.backup-{now:%Y%m%dT%H%M%S.%f}Z.disabled"))


def _discard(path: Path, *, is_strict: bool = False) -> None:
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path, ignore_errors=not is_strict)
