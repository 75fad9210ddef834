"""Ctrl-C in the first second of any command: exit 130 and no traceback, whatever is just being imported."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DURING = """
import os, signal, sys

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
from run_recorder.cli import main
sys.exit(main({arguments!r}))
"""
BEGUN = """
import sys

class Tells:
    def find_spec(self, name, path=None, target=None):
        if name == "run_recorder.commands.application":
            sys.stderr.write("begun\\n")
            sys.stderr.flush()

sys.meta_path.insert(0, Tells())
from run_recorder.cli import main
sys.exit(main())
"""
COMMANDS = [
    ["prompts", "list", "--comfyui", "http://127.0.0.1:9"],
    ["gpu", "--watch", "--comfyui", "http://127.0.0.1:9"],
    ["preflight", "--comfyui", "http://127.0.0.1:9"],
    ["run", "--idea", "a light", "--workflow", "none.json", "--comfyui", "http://127.0.0.1:9"],
    ["validate", "none"],
    ["sentinel", "watch", "."],
]


def ended(done: "subprocess.Popen[str]") -> tuple[int, str]:
    _, error = done.communicate(timeout=60)
    return done.returncode, error


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(
    "module", ["typer", "pydantic", "sqlalchemy", "aiohttp", "rich.console", "run_recorder.commands.run"]
)
def test_while_a_module_is_imported(module: str) -> None:
    code = DURING.format(module=module, arguments=["validate", "none"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "run-recorder: interrupted\n")


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda one: " ".join(one[:2]))
def test_at_any_moment_of_the_first_second(arguments: list[str], tmp_path: Path) -> None:
    """It says that main has begun; before that Python itself is all that runs."""
    commands = [
        subprocess.Popen(
            [sys.executable, "-c", BEGUN, *arguments],
            cwd=tmp_path,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for _ in range(4)
    ]
    for number, command in enumerate(commands):
        assert command.stderr is not None
        assert command.stderr.readline() == "begun\n"
        time.sleep(number * 0.25)
        command.send_signal(signal.SIGINT)
    for command in commands:
        status, error = ended(command)
        assert "Traceback" not in error, error
        assert status in (0, 1, 2, 130, -signal.SIGINT), "Python itself dies of it in its last moment; 130 to a shell"
