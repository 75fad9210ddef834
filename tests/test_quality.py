"""The repository itself: style, types, promises of the package's files."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .hosts import REPO

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

PYPROJECT = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))


def run(*command: str, cwd: Path = REPO) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def tool(*command: str, cwd: Path = REPO) -> None:
    done = run(sys.executable, "-m", *command, cwd=cwd)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


def tracked() -> list[Path]:
    """What git tracks or would track."""
    done = run("git", "ls-files", "-co", "--exclude-standard", "-z")
    if done.returncode:
        pytest.skip("not a git checkout")
    return [REPO / name for name in done.stdout.split("\0") if name and (REPO / name).is_file()]


def test_bandit_finds_nothing_of_weight() -> None:
    names = [
        str(path.relative_to(REPO))
        for path in tracked()
        if path.suffix == ".py" and path.relative_to(REPO).parts[0] not in ("tests", "benchmarks")
    ]
    tool("bandit", "-q", "-ll", *names)


def test_ruff_finds_nothing() -> None:
    tool("ruff", "check", ".")
    tool("ruff", "format", "--check", ".")


def test_mypy_strict_finds_nothing(tmp_path: Path) -> None:
    (tmp_path / "run_recorder").symlink_to(REPO, target_is_directory=True)
    config = ["--config-file", str(REPO / "pyproject.toml"), "--cache-dir", str(REPO / ".mypy_cache")]
    config += ["--exclude", "/(tests|benchmarks)/"]
    tool("mypy", *config, "--strict", "-p", "run_recorder", cwd=tmp_path)


def test_pyproject_and_requirements_agree() -> None:
    lines = (REPO / "requirements.txt").read_text("utf-8").splitlines()
    assert sorted(line for line in lines if line.strip()) == sorted(PYPROJECT["project"]["dependencies"])


def test_the_list_of_packages_is_complete() -> None:
    folders = {p.parent.relative_to(REPO).parts for p in tracked() if p.name == "__init__.py"}
    named = {".".join(("run_recorder", *parts)) for parts in folders if parts[:1] not in (("tests",), ("benchmarks",))}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == named


def test_what_the_registry_asks_for_is_there() -> None:
    comfy = PYPROJECT["tool"]["comfy"]
    assert comfy["DisplayName"] == "Run Recorder"
    assert comfy["requires-comfyui"] == ">=0.8.0"
    assert PYPROJECT["project"]["name"] == "run-recorder"
    assert PYPROJECT["project"]["requires-python"] == ">=3.10"
    assert "Apache License" in (REPO / "LICENSE").read_text("utf-8")
    assert (REPO / "py.typed").exists()


def test_importing_the_package_outside_comfyui_does_nothing() -> None:
    code = (
        "import sys, json; before = set(sys.modules); import run_recorder; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = run(sys.executable, "-c", code, cwd=REPO.parent)
    assert done.returncode == 0, done.stderr
    outside = [
        name
        for name in json.loads(done.stdout)
        if name.split(".")[0] not in sys.stdlib_module_names and name.split(".")[0] != "run_recorder"
    ]
    assert [name for name in outside if not name.startswith("__editable__")] == []
    heavy = {"asyncio", "sqlite3", "http", "ssl", "logging"} & set(json.loads(done.stdout))
    assert heavy == set()


@pytest.mark.parametrize("folder", ["telemetry"])
def test_the_core_imports_neither_comfyui_nor_what_stands_above_it(folder: str) -> None:
    above = r"(torch|comfy\w*|server|execution|folder_paths|aiohttp|\.\.(?:nodes|server_routes|cli|comfyui_host))\b"
    for path in (REPO / folder).rglob("*.py"):
        found = re.findall(rf"^\s*(?:from|import)\s+{above}", path.read_text("utf-8"), re.M)
        assert found == [], path.name


def test_no_path_of_a_machine_is_in_the_repository() -> None:
    anybody = r"(?!(?:user|you|me|jane)\b)\w+/"
    places = {
        "root": "",
        "home": anybody,
        "Users": anybody,
        "work": r"\w+",
    }  # apart from their slashes: this file is read, too
    homes = re.compile("|".join(f"/{place}/{below}" for place, below in places.items()))
    for path in tracked():
        if path.suffix in (".png", ".ico"):
            continue
        found = homes.findall(path.read_text("utf-8", "replace"))
        assert found == [], path.relative_to(REPO)


def test_the_core_of_comfyui_is_touched_in_one_package_only() -> None:
    """The nodes have ComfyUI's public node interface; all else goes through comfyui_host/."""
    pattern = r"^\s*(?:from|import)\s+(server|execution|folder_paths|comfy|comfy_execution|nodes)\b"
    exempt = {"tests", "embedded_host", "benchmarks", "comfyui_host"}
    for path in tracked():
        parts = path.relative_to(REPO).parts
        if path.suffix == ".py" and parts[0] not in exempt:
            assert re.findall(pattern, path.read_text("utf-8"), re.M) == [], path.relative_to(REPO)
