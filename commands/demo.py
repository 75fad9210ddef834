"""`run-recorder demo`: the whole thing on this machine, with nothing else installed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from filelock import FileLock, Timeout

from ..client import comfyui, recorder
from ..client.request import Request
from ..runner.preparing import Source
from ..runner.process_guard import listens, started
from ..runner.run import Run
from ..runner.validate import Findings
from ..telemetry.models.node import NodeList
from ..telemetry.models.prompt import Prompt
from .output import DONE, FAILED, CommandError, fail, print_json, table
from .prompts import print_prompt
from .run import Asked, going, run_document, show_run, told_errors
from .server import Server
from .terminal import say, tell

PACKAGE = Path(__file__).parent.parent
EXAMPLES = PACKAGE / "example_workflows" / "api"
SENTINEL = "RUN_RECORDER_SENTINEL"
START_SECONDS = 180.0
LOCK = "demo.lock"


def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the run, instead of serving on.")] = False,
    comfyui_path: Annotated[
        Path | None, typer.Option(help="Use the real ComfyUI in this folder instead of the embedded host.")
    ] = None,
    folder: Annotated[Path | None, typer.Option("--dir", help="Keep everything here; else a new folder.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The server's port; 0 takes a free one.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> int:
    """Start a host, run a story of three scenes in it, and show the run, the last scene's record and its marker."""
    base = Path(os.path.realpath(folder or tempfile.mkdtemp(prefix="run-recorder-demo-")))  # a loop of links, too
    if port and _is_taken(port):
        fail("conflict", f"--port {port}: something listens there already; give another port, or 0 for a free one")
    with _alone_in(base):
        return _demo(base, port or _free_port(), comfyui_path, once=once, as_json=as_json)


@contextlib.contextmanager
def _alone_in(base: Path) -> Iterator[None]:
    """Hold a demo's folder, so that a second demo does not take the first one's host for one that was left behind."""
    try:
        base.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        fail("io", f"--dir: {base} is no folder", FAILED)
    if (base / LOCK).is_symlink():  # to take the lock would empty what it leads to
        fail("io", f"--dir: {base / LOCK} is a link", FAILED)
    lock = FileLock(base / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        fail("conflict", f"--dir: a demo that runs has {base}; end it, or give another folder")
    try:
        yield
    finally:
        lock.release()


def _demo(base: Path, port: int, comfyui_path: Path | None, *, once: bool, as_json: bool) -> int:
    _make_base(base)
    command = _embedded(base, port) if comfyui_path is None else _real(comfyui_path, base, port)
    server = Server(f"http://127.0.0.1:{port}")
    with _running(command, base) as process:
        _wait_until_up(server, port, process, base)
        tell(f"Serving at {server.url}, files in {base}")
        given = Asked([server.url], Source(EXAMPLES / "story.json", None), EXAMPLES / "story_scene.json", base / "runs")
        given.fast_iteration = True
        with told_errors(given), going(given) as (begun, found):
            prompt, nodes = _last_prompt(server, begun)
            marker = _marker(base, prompt)
            shown = _Shown(begun, found, prompt, nodes, marker)
        _show(server, base, shown, as_json=as_json, serves=not once)
        if not once:
            tell("Serving until Ctrl-C.")
            process.wait()
            fail("unavailable", f"the host ended by itself; see {base / 'server.log'}", FAILED)
    return DONE if begun.succeeded and found.passed and marker is not None else FAILED


@dataclass(frozen=True, slots=True)
class _Shown:
    begun: Run
    found: Findings
    prompt: dict[str, Any]
    nodes: list[dict[str, Any]]
    marker: dict[str, Any] | None


def _make_base(base: Path) -> None:
    """The folders of a ComfyUI, with this package in `custom_nodes` as a user would have put it there."""
    for name in ("custom_nodes", "input", "output", "temp", "user", "models"):
        (base / name).mkdir(parents=True, exist_ok=True)
    ours = base / "custom_nodes" / "run-recorder"
    if ours.exists():
        return
    try:
        ours.symlink_to(PACKAGE, target_is_directory=True)
    except OSError:  # Windows without the right to make links
        skipped = shutil.ignore_patterns(".*", "__pycache__", "tests", "benchmarks", "*.egg-info")
        shutil.copytree(PACKAGE, ours, ignore=skipped)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _flags(base: Path, port: int) -> list[str]:
    return ["--listen", "127.0.0.1", "--port", str(port), "--base-directory", str(base), "--disable-auto-launch"]


def _embedded(base: Path, port: int) -> list[str]:
    try:
        import PIL  # noqa: F401
    except ImportError:
        fail("unavailable", "the embedded host saves pictures with Pillow: pip install 'run-recorder[runner]'")
    return [sys.executable, "-m", f"{__package__.rpartition('.')[0]}.embedded_host", *_flags(base, port)]


def _real(comfyui: Path, base: Path, port: int) -> list[str]:
    """The command that starts a real ComfyUI with another base folder, on the CPU, beside one that may be running."""
    main = comfyui / "main.py"
    if not main.is_file():
        fail("not_found", f"--comfyui-path: {comfyui} holds no ComfyUI (no main.py)")
    venv = [comfyui / ".venv" / "bin" / "python", comfyui / ".venv" / "Scripts" / "python.exe"]
    python = os.environ.get("COMFYUI_PYTHON") or next((str(path) for path in venv if path.exists()), sys.executable)
    flags = [*_flags(base, port), "--cpu"]
    options = comfyui / "comfy" / "cli_args.py"
    if options.is_file() and "--database-url" in options.read_text("utf-8", errors="replace"):
        flags += ["--database-url", f"sqlite:///{base / 'user' / 'comfyui.db'}"]
    return [python, str(main), *flags]


@contextlib.contextmanager
def _running(command: list[str], base: Path) -> Iterator[subprocess.Popen[bytes]]:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # or the host would outlive us
    try:
        settings = {SENTINEL: os.environ.get(SENTINEL, "on")}
        places = {"folder": base, "log": base / "server.log", "note": base / "server.json"}
        with started(command, **places, settings=settings) as process:
            yield process
    finally:
        signal.signal(signal.SIGTERM, before)


def _is_taken(port: int) -> bool:
    """Whether somebody listens on a loopback port, or on all addresses."""
    with socket.socket() as probe:
        if sys.platform != "win32":  # there it lets two have one port; here it is about connections that have ended
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait_until_up(server: Server, port: int, process: subprocess.Popen[bytes], base: Path) -> None:
    """Until the host answers. Nothing is asked of a server that isn't the one that was started."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if not listens(process.pid, port):
            time.sleep(0.1)
            continue
        if _answers(server, recorder.health()):
            return
        if _answers(server, comfyui.system_stats()) and not _answers(server, recorder.health()):
            fail("unavailable", f"the host came up without this package; see {base / 'server.log'}", FAILED)
        time.sleep(0.1)
    fail("unavailable", f"the host did not come up; see {base / 'server.log'}", FAILED)


def _answers(server: Server, request: Request) -> bool:
    try:
        server.ask(request)
    except CommandError:
        return False
    return True


def _last_prompt(server: Server, begun: Run) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The record of the last scene's prompt, and its nodes."""
    record = begun.jobs[-1].record
    if record is None or not record.AttemptSummaries:
        fail("unavailable", "no scene was run", FAILED)
    prompt_id = record.AttemptSummaries[-1]["PromptId"]
    prompt = server.record(Prompt, recorder.prompt(prompt_id))
    return prompt.read, server.record(NodeList, recorder.nodes(prompt_id)).read["items"]


def _marker(base: Path, prompt: dict[str, Any]) -> dict[str, Any] | None:
    for marker in prompt["markers"]:
        if marker["path"]:
            found: dict[str, Any] = json.loads((base / "output" / marker["path"]).read_text("utf-8"))
            return found
    return None


def _show(server: Server, base: Path, shown: _Shown, *, as_json: bool, serves: bool) -> None:
    prompt, marker = shown.prompt, shown.marker
    links = {
        "record": f"{server.url}/telemetry/prompts/{prompt['prompt_id']}",
        "health": f"{server.url}/telemetry/health",
        "openapi": f"{server.url}/telemetry/openapi.json",
        "panel": f"{server.url}/telemetry/",
    }
    if as_json:
        document = {"prompt": prompt, "nodes": shown.nodes, "marker": marker, "links": links, "directory": str(base)}
        print_json({**document, "run": run_document(shown.begun, shown.found)})
        return
    print_prompt(prompt, shown.nodes)
    if marker is not None:
        columns = {"Name": "file", "Bytes": "bytes", "Modified": "modified", "NodeId": "node"}
        title = f"{prompt['markers'][0]['path']}: {marker['Status']}, {marker['FrameCount']} files"
        table(title, marker["Files"], columns)
    show_run(shown.begun, shown.found)
    for name, link in links.items() if serves else ():
        say(f"{name}: {link}")
