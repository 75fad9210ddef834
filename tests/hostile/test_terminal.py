"""Nothing that a record, a server or a file's name holds steers the terminal: the bytes of a real one are looked at."""

import ast
import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from run_recorder.telemetry.process.printable import STEERING
from run_recorder.telemetry.store.changes import Change
from run_recorder.telemetry.store.database import Database
from run_recorder.telemetry.store.store import Store

from ..fakes.hostile_records import MARKUP, NASTY, hostile_server, nodes, prompt, record
from ..hosts import CLI, PROBE_PACK, REPO, Host
from ..unit.run_files import Run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no pty on Windows")
SECONDS = 90
OF_RICH = re.compile(
    r"\x1b\[(?:0|1|2|3|22|32|33|31|36|37|39|40|49|1;3[0-7]|3[0-7]|9[0-7]|38;5;(?!199)\d+|38;2;[\d;]+)?m"
    r"|\x1b\[\?25[lh]|\x1b\[2K|\x1b\[1A"
)
"""Colours and weights, the cursor hidden and shown, a line erased, a line up: what rich itself sends."""
GRAPH = {"1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 1}}}
NAME = NASTY.replace("/", "\N{FRACTION SLASH}")[:80]
"""The same as a file's name."""


def in_terminal(*arguments: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """What a command sends to a terminal that is wide enough for every line, both its outputs together."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 8000, 0, 0))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("RUN_RECORDER_", "COMFYUI_"))}
    clean |= {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", "COLUMNS": "8000", **(env or {})}
    command = [*CLI, *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=clean, cwd=cwd)
    os.close(theirs)
    data, deadline = b"", time.monotonic() + SECONDS
    try:
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 1)[0]:
                continue
            try:
                piece = os.read(ours, 65536)
            except OSError:  # EIO: nobody holds the other end any more
                break
            if not piece:
                break
            data += piece
    finally:
        os.close(ours)
        if time.monotonic() >= deadline:
            process.kill()
        process.wait(10)
    return data.decode("utf-8")


def assert_tame(sent: str) -> str:
    """Check what was sent, and give what is left of it without rich's own sequences."""
    left = OF_RICH.sub("", sent).replace("\r\n", "\n").replace("\r", "")
    found = [match[0] for match in STEERING.finditer(left.replace("\n", ""))]
    assert not found, (found[:5], left[:2000])
    assert "\x1b[38;5;199m" not in sent and "\x1b[2J" not in sent
    assert not [line for line in left.splitlines() if line.startswith("run-recorder: PASS")], left[:2000]
    assert "Traceback" not in left, left[-2000:]
    return left


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with hostile_server() as url:
        yield url


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(GRAPH))
    return path


# ---------------------------------------------------------------- what a server says


@pytest.mark.parametrize(
    "command",
    [
        ["prompts", "list"],
        ["prompts", "show", "x"],
        ["prompts", "show", "refused"],
        ["prompts", "wait", "x"],
        ["prompts", "follow", "x", "--after", "0"],
        ["prompts", "follow", "x"],
        ["gpu"],
    ],
    ids=" ".join,
)
def test_what_a_server_tells_is_shown_and_not_obeyed(server: str, command: list[str]) -> None:
    left = assert_tame(in_terminal(*command, "--comfyui", server))
    if command[-1] != "x" or command[1] == "show":
        assert MARKUP in left or command[1:2] == ["wait"], left[:3000]


@pytest.mark.parametrize("command", [["prompts", "show", "x"], ["prompts", "list"], ["gpu"]], ids=" ".join)
def test_json_is_exact_and_steers_nothing_either(server: str, command: list[str]) -> None:
    sent = in_terminal(*command, "--comfyui", server, "--json")
    told: Any = json.loads(sent)
    assert not STEERING.search(sent.replace("\r\n", ""))
    if command[1:2] == ["show"]:
        assert told == prompt()


def test_a_refused_prompt_and_a_refused_run(server: str, graph: Path, tmp_path: Path) -> None:
    where = ["--comfyui", server]
    queued = assert_tame(in_terminal("queue", graph, *where, "--output", tmp_path / "out"))
    assert "run-recorder:" in queued
    story = tmp_path / "story.json"
    scene = {"id": "scene-001", "title": NASTY, "prompt": NASTY, "expected_frames": 1}
    story.write_text(json.dumps({"id": "s", "title": NASTY, "logline": NASTY, "scenes": [scene]}))
    more = ["--workflow", graph, "--runs-dir", tmp_path / "runs", "--scene-retry-budget", "1", "--fast-iteration"]
    assert_tame(in_terminal("run", "--story", story, *more, *where))


def test_preflight(server: str, graph: Path, tmp_path: Path) -> None:
    odd = {NASTY: {"class_type": NASTY, "inputs": {NASTY: NASTY, "ckpt_name": NASTY}}, **GRAPH}
    graph.write_text(json.dumps(odd))
    left = assert_tame(in_terminal("preflight", "--workflow", graph, "--comfyui", server, "--output", tmp_path / NAME))
    assert "failed" in left


def test_a_prompt_that_fails_with_a_hostile_message_is_followed_and_told(tmp_path: Path, graph: Path) -> None:
    failing = {
        **GRAPH,
        "2": {"class_type": "ProbeFail", "inputs": {"message": NASTY, "source": ["1", 0]}, "_meta": {"title": NASTY}},
    }
    graph.write_text(json.dumps(failing))
    host = Host("embedded", tmp_path / "host", packs=[PROBE_PACK]).start()
    try:
        left = assert_tame(in_terminal("queue", graph, "--comfyui", host.url, "--output", tmp_path / "out"))
        assert "[red]X" in left
        prompt_id = host.get("/telemetry/prompts")[1]["items"][0]["prompt_id"]
        for command in (["prompts", "list"], ["prompts", "show", prompt_id]):
            assert_tame(in_terminal(*command, "--comfyui", host.url))
    finally:
        host.stop()


# ---------------------------------------------------------------- what files are called and say


def test_validate(tmp_path: Path) -> None:
    run = Run()
    run.say(f"WARNING: {NASTY}".replace("\n", " "), f"ERROR: {NASTY}".replace("\n", " "))
    run.scene["SceneId"] = NASTY
    run.scene["Errors"] = [NASTY]
    left = assert_tame(in_terminal("validate", run.write(tmp_path / NAME)))
    assert "run-summary validation: FAIL" in left
    assert_tame(in_terminal("validate", tmp_path / f"no{NAME}"))


def test_sentinel_and_mark(tmp_path: Path) -> None:
    folder = tmp_path / NAME
    folder.mkdir()
    (folder / f"{NAME}_00001_.png").write_bytes(b"x")
    (folder / "shot_00001_.png").write_bytes(b"x")
    left = assert_tame(in_terminal("sentinel", "watch", folder, "--once", "--stable-seconds", "0.2"))
    assert "shot.done" in left
    assert_tame(in_terminal("mark", folder / "shot"))
    assert_tame(in_terminal("mark", folder / NAME))
    assert_tame(in_terminal("mark", tmp_path / "no" / NAME))


def test_db_export_upgrade_and_prune(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'run-recorder.sqlite3'}")
    database.open()
    Store(database).save([Change(record(), nodes(), outputs=True)])
    database.close()
    sent = in_terminal("db", "export", "--database", tmp_path)
    assert not STEERING.search(sent.replace("\r\n", ""))
    told = json.loads(sent)
    assert told["error"]["message"] == NASTY
    assert told["nodes"][0]["title"] == NASTY
    assert_tame(in_terminal("db", "upgrade", "--database", tmp_path))
    assert_tame(in_terminal("db", "export", "--database", tmp_path / NAME))
    assert_tame(in_terminal("db", "upgrade", "--database", f"nosuch{NASTY}://x"))


def test_node_deploy_and_remove(tmp_path: Path) -> None:
    comfyui = tmp_path / NAME
    (comfyui / "custom_nodes").mkdir(parents=True)
    assert_tame(in_terminal("node", "deploy", comfyui))
    (comfyui / "main.py").write_text("")
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nprintf '{NASTY.encode('unicode_escape').decode()}' >&2\nexit 1\n")
    python.chmod(0o755)
    assert_tame(in_terminal("node", "deploy", comfyui, env={"COMFYUI_PYTHON": str(python)}))
    assert_tame(in_terminal("node", "deploy", comfyui, "--link", env={"COMFYUI_PYTHON": sys.executable}))
    left = assert_tame(in_terminal("node", "remove", comfyui))
    assert "removed" in left


@pytest.mark.parametrize(
    "arguments", [[NASTY.replace("\0", "")], ["gpu", f"--{NASTY}"], ["prompts", "list", "--limit", NASTY]]
)
def test_what_is_said_of_a_wrong_use(arguments: list[str]) -> None:
    assert "run-recorder:" in assert_tame(in_terminal(*arguments))


def test_a_fault_of_ours_is_told_with_what_it_quotes_made_fit(tmp_path: Path) -> None:
    (tmp_path / "said").write_bytes(NASTY.encode())
    code = (
        "import sys; from run_recorder import cli; from run_recorder.commands import validate as v\n"
        f"def broken(*a, **k): raise RuntimeError(open({str(tmp_path / 'said')!r}, encoding='utf-8').read())\n"
        "v.validate_run = broken; sys.exit(cli.main())"
    )
    done = subprocess.run([sys.executable, "-c", code, "validate", "."], capture_output=True, timeout=60, check=False)
    said = done.stderr.decode("utf-8")
    assert done.returncode == 1 and "RuntimeError" in said
    assert not STEERING.search(said.replace("\n", ""))
    assert not [line for line in said.splitlines() if line.startswith("run-recorder: PASS")]


# ---------------------------------------------------------------- no other way to the terminal

ONLY = {"commands/terminal.py"}
"""The one module that prints."""
CONSTANT = {"cli.py": "os.write"}
"""Says a constant before any module is imported."""
FORBIDDEN = {
    "sys": ("stdout", "stderr"),
    "logging": ("basicConfig", "getLogger"),
    "typer": ("echo", "secho", "prompt", "confirm", "style", "progressbar"),
    "click": ("echo", "secho", "prompt", "confirm", "style", "progressbar"),
}
"""`logging.getLogger`: there is one logger, in telemetry/process/printable.py."""


def ways_to_the_terminal(path: Path) -> list[str]:
    """Calls and names by which a module of a command could print past `terminal.py`."""
    found: list[str] = []
    for part in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name):
            found += [name for name in ("print", "Console", "input") if part.func.id == name]
        if isinstance(part, ast.Call) and ast.unparse(part.func) == "os.write":
            found += ["os.write"] if ast.unparse(part.args[0]) in ("1", "2") else []
        if isinstance(part, ast.Attribute):
            owner = part.value.id if isinstance(part.value, ast.Name) else ""
            found += [f"{owner}.{part.attr}"] if part.attr in FORBIDDEN.get(owner, ()) else []
        if isinstance(part, (ast.Import, ast.ImportFrom)):
            names = [name.name for name in part.names] if isinstance(part, ast.Import) else [part.module or ""]
            found += [name for name in names if name.split(".")[0] == "rich"]
    return found


@pytest.mark.parametrize(
    "room", ["commands", "client", "runner", "sentinel", "telemetry", "server_routes", "nodes", "."]
)
def test_nothing_but_one_module_prints(room: str) -> None:
    exempt = ONLY | {"telemetry/process/printable.py"}
    for path in (REPO / room).glob("*.py") if room == "." else (REPO / room).rglob("*.py"):
        relative = path.relative_to(REPO).as_posix()
        if relative not in exempt:
            assert [way for way in ways_to_the_terminal(path) if way != CONSTANT.get(relative)] == [], relative


def test_the_check_itself_sees_a_command_that_prints(tmp_path: Path) -> None:
    for line in (
        "print('x')",
        "import sys\nsys.stdout.write('x')",
        "import typer\ntyper.echo('x')",
        "from rich.table import Table",
    ):
        (tmp_path / "new.py").write_text(line)
        assert ways_to_the_terminal(tmp_path / "new.py"), line
