"""What is done with this repository, by verb: `nox -s unit`, `nox -s bench -- node_cost --rounds 5`.

Everything runs in the environment that nox itself is started from, so that nothing is installed a second time.
What follows `--` goes to the program that a session runs.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nox

REPO = Path(__file__).resolve().parent
BENCHMARKS = REPO / "benchmarks"

nox.needs_version = ">=2024.4"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "unit"]


def run(session: nox.Session, *command: str) -> None:
    """Run a Python program by its module or file, with the interpreter that runs nox."""
    session.run(sys.executable, *command, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """ruff: rules and format; `nox -s lint -- --fix` mends what it can."""
    fix = "--fix" in session.posargs
    run(session, "-m", "ruff", "check", ".", *(["--fix"] if fix else []))
    run(session, "-m", "ruff", "format", ".", *([] if fix else ["--check"]))


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict, as tests/test_quality.py has it: by the package's name, which is not that of its folder."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "run_recorder").symlink_to(REPO, target_is_directory=True)
        config = ["--config-file", str(REPO / "pyproject.toml"), "--cache-dir", str(REPO / ".mypy_cache")]
        with session.chdir(folder):
            run(session, "-m", "mypy", *config, "--strict", "-p", "run_recorder", *session.posargs)


@nox.session
def unit(session: nox.Session) -> None:
    """Every test that starts no ComfyUI, neither the embedded host nor a real one."""
    run(session, "-m", "pytest", "-m", "not host", *session.posargs)


@nox.session
def hosts(session: nox.Session) -> None:
    """The tests on the embedded host, and again on a real ComfyUI where there is one (COMFYUI_PATH)."""
    run(session, "-m", "pytest", "-m", "host", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """One benchmark, by its name and with its options; without a name, say which there are."""
    names = sorted(path.stem for path in BENCHMARKS.glob("*.py"))
    if not session.posargs:
        session.skip(f"say which one behind `--`: {', '.join(names)}")
    name, *options = session.posargs
    if name not in names:
        session.error(f"there is no benchmark {name!r}; there are {', '.join(names)}")
    run(session, str(BENCHMARKS / f"{name}.py"), *options)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the pages into site/, and compare them with the code."""
    run(session, "-m", "mkdocs", "build", "-q", "--strict", "-d", str(REPO / "site"))
    run(session, "-m", "pytest", "-n", "0", "tests/test_docs.py", "tests/test_contributing.py", *session.posargs)
