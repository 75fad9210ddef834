"""HTTP is spoken in one folder: who asks a server imports client/, and the server's side never does."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from .hosts import REPO

ASKERS = ("runner", "sentinel", "commands")
CLIENTS = ("aiohttp", "httpx", "httpx2", "requests", "urllib3", "http.client", "urllib.request", "openai")
SERVER_SIDE = ("telemetry", "server_routes", "nodes", "embedded_host", "sentinel/inside.py", "comfyui_host.py")
MOST_LINES, MOST_CLASS_LINES = 450, 250


def modules(*places: str) -> Iterator[Path]:
    for place in places:
        path = REPO / place
        yield from [path] if path.is_file() else sorted(path.rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """The full names of what a module imports, at its top or anywhere in it; our own from the package's root."""
    parts = path.relative_to(REPO).parent.parts
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = parts[: len(parts) - node.level + 1] if node.level else ()
            base = ".".join([*(("run_recorder", *above) if node.level else ()), *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def is_of(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


@pytest.mark.parametrize("folder", ASKERS)
def test_who_asks_a_server_has_no_http_client_of_its_own(folder: str) -> None:
    found = [
        f"{path.relative_to(REPO)}: {name}"
        for path in modules(folder)
        for name in imported(path)
        if any(is_of(name, module) for module in CLIENTS)
    ]
    assert found == []


def test_the_client_itself_is_seen_by_this_test() -> None:
    assert any(is_of(name, "aiohttp") for path in modules("client") for name in imported(path))
    names = set(imported(REPO / "sentinel" / "comfyui.py"))
    assert {"run_recorder.client.blocking", "run_recorder.client.recorder"} <= names


def test_comfyuis_side_does_without_the_client() -> None:
    """It isn't in the registry's package."""
    found = [
        f"{path.relative_to(REPO)}: {name}"
        for path in modules(*SERVER_SIDE)
        for name in imported(path)
        if is_of(name, "run_recorder.client")
    ]
    assert found == []


def test_the_client_needs_nothing_of_those_who_use_it() -> None:
    above = [f"run_recorder.{name}" for name in (*ASKERS, "server_routes", "cli")]
    found = [
        f"{path.relative_to(REPO)}: {name}"
        for path in modules("client")
        for name in imported(path)
        if any(is_of(name, module) for module in above)
    ]
    assert found == []


def test_no_module_of_the_client_is_long() -> None:
    for path in modules("client"):
        text = path.read_text("utf-8")
        assert len(text.splitlines()) <= MOST_LINES, path.name
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                assert (node.end_lineno or 0) - node.lineno <= MOST_CLASS_LINES, (path.name, node.name)
