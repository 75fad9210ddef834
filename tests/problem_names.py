"""The names under which the package reports problems, as its source has them: read by `ast`, nothing is imported.

A name is whole (`store`), or the fixed beginning of one that goes on with something else (`route `).
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .hosts import REPO

WHERE = ("comfyui_host", "nodes", "sentinel", "server_routes", "telemetry")
OTHER_NAMES = {"_met_damaged": "on_damaged"}
"""Functions that are called by another name than their own."""
SETTINGS = ("Access", "ServerSettings")
MOST_STEPS = 20


class Name(NamedTuple):
    """What a problem is called."""

    text: str
    is_whole: bool
    """False where something follows that only a running process knows."""


class Source:
    """The modules of the package that can report, and what their names stand for."""

    def __init__(self, root: Path = REPO) -> None:
        self.root = root
        found = [path for name in WHERE for path in (root / name).rglob("*.py")]
        self.modules = {path: ast.parse(path.read_text("utf-8")) for path in sorted(found)}
        for module in self.modules.values():
            for node in ast.walk(module):
                for child in ast.iter_child_nodes(node):
                    child.parent = node  # type: ignore[attr-defined]

    def problems(self) -> set[Name]:
        """Every name."""
        names: set[Name] = set()
        for path, module in self.modules.items():
            for call in (node for node in ast.walk(module) if isinstance(node, ast.Call)):
                if _is_report(call):
                    names.update(self._names(path, call.args[0], MOST_STEPS))
        return names | {Name(f"setting {name}", True) for name in self._settings()}

    def _settings(self) -> Iterator[str]:
        """The settings of ComfyUI's process: each may be told as a wrong one."""
        for node in self.modules[self.root / "telemetry" / "process" / "settings.py"].body:
            if isinstance(node, ast.ClassDef) and node.name in SETTINGS:
                for field in node.body:
                    if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                        yield "RUN_RECORDER_" + field.target.id.upper()

    def _names(self, path: Path, node: ast.expr, steps: int) -> set[Name]:
        """What an expression can come to; an empty beginning where that can't be told."""
        if not steps:
            return {Name("", False)}
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return {Name(node.value, True)}
        if isinstance(node, ast.JoinedStr):
            return self._of_f_string(path, node, steps)
        if isinstance(node, ast.Name):
            return self._of_variable(path, node, steps - 1)
        if isinstance(node, ast.Subscript):  # the first piece of `text.partition(",")`
            node = node.value
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            texts = self._names(path, node.func.value, steps - 1)
            if node.func.attr == "partition":
                return texts
            if node.func.attr == "format_map":
                return {_cut(name, "{") for name in texts}
        return {Name("", False)}

    def _of_f_string(self, path: Path, node: ast.JoinedStr, steps: int) -> set[Name]:
        names = {Name("", True)}
        for part in node.values:
            inner = part.value if isinstance(part, ast.FormattedValue) else part
            more = self._names(path, inner, steps - 1)
            names = {
                Name(name.text + one.text, one.is_whole) if name.is_whole else name for name in names for one in more
            }
        return names

    def _of_variable(self, path: Path, node: ast.Name, steps: int) -> set[Name]:
        """What is assigned to it in its function; what its function is given; a constant of its module or another's."""
        function = _function_of(node)
        if function is not None:
            given = [
                one.value
                for one in ast.walk(function)
                if isinstance(one, ast.Assign) and any(_is_name(target, node.id) for target in one.targets)
            ]
            if given:
                return set().union(*(self._names(path, value, steps) for value in given))
            parameters = [one.arg for one in (*function.args.args, *function.args.kwonlyargs)]
            if node.id in parameters:
                return self._of_parameter(function, parameters.index(node.id), node.id, steps)
        return self._of_constant(path, node.id, steps)

    def _of_parameter(self, function: ast.FunctionDef, place: int, name: str, steps: int) -> set[Name]:
        called = OTHER_NAMES.get(function.name, function.name)
        place -= function.args.args[0].arg == "self" if function.args.args else 0
        names: set[Name] = set()
        for path, module in self.modules.items():
            for call in (node for node in ast.walk(module) if isinstance(node, ast.Call)):
                if _last_name(call.func) == called:
                    by_name = [one.value for one in call.keywords if one.arg == name]
                    for value in by_name or call.args[place : place + 1]:
                        names |= self._names(path, value, steps)
        return names or {Name("", False)}

    def _of_constant(self, path: Path, name: str, steps: int) -> set[Name]:
        for node in self.modules[path].body:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    if _is_name(target, name):
                        return self._names(path, node.value, steps)
                    if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                        for one, value in zip(target.elts, node.value.elts, strict=True):
                            if _is_name(one, name):
                                return self._names(path, value, steps)
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        other = self._imported(path, node)
                        return self._of_constant(other, alias.name, steps) if other is not None else {Name("", False)}
        return {Name("", False)}

    def _imported(self, path: Path, node: ast.ImportFrom) -> Path | None:
        folder = path.parents[node.level - 1] if node.level else self.root
        other = folder.joinpath(*(node.module or "").split(".")).with_suffix(".py")
        return other if other in self.modules else None


def _is_report(call: ast.Call) -> bool:
    if not (isinstance(call.func, ast.Attribute) and call.func.attr == "report"):
        return False
    return _last_name(call.func.value).lstrip("_") == "problems"


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _cut(name: Name, sign: str) -> Name:
    head, found, _ = name.text.partition(sign)
    return Name(head, name.is_whole and not found)


def _parents(node: ast.AST) -> Iterator[ast.AST]:
    while (node := getattr(node, "parent", None)) is not None:  # type: ignore[assignment]
        yield node


def _function_of(node: ast.AST) -> ast.FunctionDef | None:
    return next((one for one in _parents(node) if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))), None)  # type: ignore[return-value]
