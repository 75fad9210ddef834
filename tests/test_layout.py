"""The code's layout, as docs/architecture.md tells it: which way the arrows point, no circles, nothing too long."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
MOST_LINES_OF_A_CLASS, MOST_LINES_OF_A_FILE = 250, 450
OURS = "client commands comfyui_host embedded_host nodes runner sentinel server_routes telemetry".split()
INSIDE = "comfyui_host nodes server_routes telemetry".split()
"""What runs in ComfyUI's process, and is published without the rest."""
MAY_NOT = {
    "telemetry": set(OURS) - {"telemetry"},
    "client": set(OURS) - {"client", "telemetry"},
    "comfyui_host": set(OURS) - {"comfyui_host", "telemetry"},
    "nodes": set(OURS) - {"nodes", "telemetry", "comfyui_host"},
    "server_routes": set(OURS) - {"server_routes", "telemetry", "comfyui_host"},
    "sentinel": set(OURS) - {"sentinel", "telemetry", "client"},
    "runner": set(OURS) - {"runner", "telemetry", "client"},
    "commands": {"comfyui_host", "nodes", "server_routes"},
    "embedded_host": set(OURS) - {"embedded_host"},
}
"""Packages that each package may not import, for types neither."""


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its name, without the package's own."""
    found = {}
    for path in [*REPO.glob("*.py"), *(path for name in OURS for path in (REPO / name).rglob("*.py"))]:
        parts = path.relative_to(REPO).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imports(name: str, path: Path) -> Iterator[tuple[str, str]]:
    """What a module imports of ours, each with the name that it takes: at its top, for types, and within functions."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("run_recorder")):
            base = package[: len(package) - node.level + 1] if node.level else []
            given = (node.module or "").removeprefix("run_recorder").lstrip(".")
            target = ".".join([*filter(None, base), *filter(None, given.split("."))])
            for alias in node.names:
                below = f"{target}.{alias.name}".lstrip(".")
                yield (below, "") if below in modules() else (target, alias.name)


@cache
def edges() -> dict[str, set[str]]:
    return {name: {target for target, _ in imports(name, path)} - {name} for name, path in modules().items()}


def test_no_two_files_import_each_other_in_a_circle() -> None:
    """Neither at once nor through others; an import within a function or for types alone is one, too."""
    left = dict(edges())
    while True:
        free = [name for name, targets in left.items() if not (targets & left.keys())]
        if not free:
            break
        for name in free:
            del left[name]
    assert not left, f"in circles, or behind them: {sorted(left)}"


def test_arrows_point_one_way() -> None:
    wrong = [
        (name, target)
        for name, path in modules().items()
        for target, _ in imports(name, path)
        if target.partition(".")[0] in MAY_NOT.get(name.partition(".")[0], set())
    ]
    assert wrong == []


def test_what_is_published_imports_nothing_that_is_not() -> None:
    outside = {"client", "commands", "runner", "embedded_host"}
    ours = [name for name in modules() if name.partition(".")[0] in INSIDE]
    assert not [(name, target) for name in ours for target in edges()[name] if target.partition(".")[0] in outside]


def test_every_import_of_ours_is_there() -> None:
    for name, path in modules().items():
        for target, taken in imports(name, path):
            assert target in modules() or not target, (name, target)
            assert not (taken and target in modules()) or taken in defined(modules()[target]), (name, target, taken)


@cache
def defined(path: Path) -> set[str]:
    """The names that a module has once it is loaded."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def test_programs_that_measure_import_what_there_is() -> None:
    for path in sorted((REPO / "benchmarks").glob("*.py")):
        for target, taken in imports("benchmarks." + path.stem, path):
            known = modules().get(target)
            assert known is not None or not target or target.startswith("benchmarks"), (path.name, target)
            assert known is None or not taken or taken in defined(known), (path.name, target, taken)


def test_no_class_and_no_file_is_too_long() -> None:
    long = []
    for name, path in modules().items():
        if len(path.read_text("utf-8").splitlines()) > MOST_LINES_OF_A_FILE:
            long.append(name)
        for node in ast.walk(tree(path)):
            lines = node.end_lineno - node.lineno + 1 if isinstance(node, ast.ClassDef) and node.end_lineno else 0
            if lines > MOST_LINES_OF_A_CLASS:
                long.append(f"{name}.{node.name}: {lines}")  # type: ignore[attr-defined]
    assert long == []


def test_nothing_outside_the_record_names_a_private_part_of_it() -> None:
    """Doors are `recording.py` and `reading.py`; a name that begins with an underscore is nobody else's."""
    named = re.compile(r"\b(?:recording|reading|writer|context|assembly)\._[a-z]")
    outside = [path for name, path in modules().items() if not name.startswith("telemetry.record")]
    outside += [path for folder in ("tests", "benchmarks") for path in (REPO / folder).rglob("*.py")]
    found = {path.relative_to(REPO).as_posix(): named.findall(path.read_text("utf-8")) for path in outside}
    assert {name: hits for name, hits in found.items() if hits and name != "tests/test_layout.py"} == {}


def test_the_way_of_one_prompt_is_told_in_at_most_ten_steps_of_one_file_each() -> None:
    text = (REPO / "docs" / "architecture.md").read_text("utf-8")
    way = text.partition("## The way of one prompt")[2].partition("\n## ")[0]
    steps = re.findall(r"^(\d+)\. \*\*[\w ]+\*\*, \[`([\w/]+\.py)`\]\(\.\./([\w/]+\.py)\)", way, re.M)
    assert [int(number) for number, _, _ in steps] == list(range(1, len(steps) + 1))
    assert len(steps) <= 10
    assert len(re.findall(r"^\d+\. ", way, re.M)) == len(steps), "each names its file first"
    for _, shown, linked in steps:
        assert shown == linked
        assert (REPO / linked).is_file(), linked


def test_every_file_that_the_architecture_names_is_there() -> None:
    text = (REPO / "docs" / "architecture.md").read_text("utf-8")
    rooms = {line.split("`")[1].rstrip("/") for line in text.splitlines() if re.match(r"\| `[\w/]+/`", line)}
    assert {room for room in rooms if not (REPO / room).is_dir()} == set()
    told = {folder.relative_to(REPO).as_posix() for folder in (REPO / "telemetry").iterdir() if folder.is_dir()}
    assert {room for room in told if "__pycache__" not in room} <= rooms, "each room of the core is told"
    for name in re.findall(r"^\| (`[a-z_]+\.py`(?:, `[a-z_]+\.py`)*) \|", text, re.M):
        for one in name.split(", "):
            assert (REPO / "telemetry" / "record" / one.strip("`")).is_file(), one
