"""Whether a server would run a graph: judged by its `/object_info` as ComfyUI judges a posted prompt.

Only what outputs reach is looked at. An output is refused where it, or anything that it hangs on, is wrong; the server
runs the others. Checks that a node class brings itself are not known from outside, but for those of ComfyUI's own.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..telemetry.markers.prefix import PrefixError, parse_prefix
from ..telemetry.markers.requests import MARKER_CLASS
from .declared import Class, Input

Kind = Literal["input", "value"]
"""`value`: a choice or a file that the server lacks; `input`: all else."""
ANY = {"*", "COMFY_MATCHTYPE_V3"}
CONVERSIONS: Mapping[str, Callable[[Any], Any]] = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}
MOST_SHOWN = 80
"""Characters of a value that is told."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one input of a node, or with a node."""

    node_id: str
    class_type: str
    kind: Kind
    what: str

    def __str__(self) -> str:
        return f"node {self.node_id} ({self.class_type}){self.what}"


@dataclass(slots=True)
class Judgement:
    """What became of a graph. No node outside of `reached` is looked at."""

    outputs: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """The outputs that would not run."""
    reached: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    """What the server takes, and the node most likely fails at."""


@dataclass(frozen=True, slots=True)
class _Seen:
    faults: list[Fault]
    sources: list[str]
    """Nodes that it hangs on by links that are good themselves."""
    doubts: list[str]


def judge(graph: Mapping[str, Any], infos: Mapping[str, Any], files: Mapping[str, bool]) -> Judgement:
    """What the server would say. `files`: which of `files_of` are there; one that isn't asked for counts as there.

    Nodes of classes that are not among `infos` count as good.
    """
    judged = Judgement(outputs=[one for one in graph if class_of(graph, infos, one).is_output])
    seen = _look(graph, infos, judged.outputs, files)
    judged.reached = set(seen)
    circle = _cycle(seen)
    bad = {node_id for node_id, one in seen.items() if one.faults} | set(circle)
    users: dict[str, list[str]] = {node_id: [] for node_id in seen}
    for node_id, one in seen.items():
        for source in one.sources:
            users[source].append(node_id)
    waiting = list(bad)
    while waiting:
        for user in users[waiting.pop()]:
            if user not in bad:
                bad.add(user)
                waiting.append(user)
    judged.refused = [one for one in judged.outputs if one in bad]
    judged.faults = [fault for one in seen.values() for fault in one.faults]
    judged.doubts = [doubt for one in seen.values() for doubt in one.doubts]
    if circle:
        way = " -> ".join(f"{one} ({graph[one]['class_type']})" for one in [*circle, circle[0]])
        judged.faults.append(Fault(circle[0], graph[circle[0]]["class_type"], "input", f" hangs on itself: {way}"))
    return judged


def class_of(graph: Mapping[str, Any], infos: Mapping[str, Any], node_id: str) -> Class:
    """A node's class."""
    name = graph[node_id]["class_type"]
    info = infos.get(name)
    return Class(name, info if isinstance(info, dict) else {})


def files_of(graph: Mapping[str, Any], infos: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Files that have to be on the server, of nodes that outputs reach: node, input and value.

    Those that the server lists itself as a choice are not among them.
    """
    outputs = [one for one in graph if class_of(graph, infos, one).is_output]
    for node_id in _look(graph, infos, outputs, {}):
        given = _given(graph[node_id])
        cls = class_of(graph, infos, node_id)
        for one in cls.inputs(given or {}).values():
            value = _plain((given or {}).get(one.name))
            listed = [*(one.choices or ()), *(("", "none") if cls.may_have_no_file else ())]
            if cls.names_file(one) and isinstance(value, str) and value not in listed:
                yield node_id, one.name, value


# ---------------------------------------------------------------- nodes


def _look(
    graph: Mapping[str, Any], infos: Mapping[str, Any], outputs: list[str], files: Mapping[str, bool]
) -> dict[str, _Seen]:
    """Every node that outputs reach, in the order in which it is met."""
    seen: dict[str, _Seen] = {}
    waiting = list(reversed(outputs))
    while waiting:
        node_id = waiting.pop()
        if node_id not in seen:
            seen[node_id] = _node(graph, infos, node_id, files)
            waiting += reversed(seen[node_id].sources)
    return seen


def _node(graph: Mapping[str, Any], infos: Mapping[str, Any], node_id: str, files: Mapping[str, bool]) -> _Seen:
    cls = class_of(graph, infos, node_id)
    given = _given(graph[node_id])
    if given is None and cls.is_known:
        return _Seen([Fault(node_id, cls.name, "input", " has no object `inputs`")], [], [])
    faults, sources, doubts = [], [], []
    given = given or {}
    for one in cls.inputs(given).values():
        if one.name not in given:
            if one.required:
                faults.append(Fault(node_id, cls.name, "input", f": input {one.name!r} is missing"))
            continue
        value = given[one.name]
        kind: Kind = "input"
        if isinstance(value, list):
            wrong = _link(graph, infos, one, value)
            if wrong is None:
                sources.append(value[0])
        else:
            wrong = _literal(cls, one, value, files)
            kind = "value" if one.choices is not None or cls.names_file(one) else "input"
            if wrong is None and value is None:
                doubts.append(f"node {node_id} ({cls.name}): input {one.name!r} is null: the node may fail at it")
        if wrong is not None:
            faults.append(Fault(node_id, cls.name, kind, f", {one.name}: {wrong}"))
    wrong = _own_rule(cls, given)
    return _Seen([*faults, *([Fault(node_id, cls.name, "input", wrong)] if wrong else [])], sources, doubts)


def _given(node: Mapping[str, Any]) -> dict[str, Any] | None:
    inputs = node.get("inputs")
    return inputs if isinstance(inputs, dict) else None


def _own_rule(cls: Class, given: Mapping[str, Any]) -> str | None:
    """Checks of single classes that are known here."""
    if cls.name == "ComfySoftSwitchNode" and "on_false" not in given and "on_true" not in given:
        return ": one of the inputs on_false and on_true is needed"
    if cls.name == MARKER_CLASS:
        prefix = _plain(given.get("filename_prefix"))
        try:
            if prefix and not isinstance(prefix, list):
                parse_prefix(str(prefix))
        except PrefixError as error:
            return f", {error}"
    return None


# ---------------------------------------------------------------- links


def _link(graph: Mapping[str, Any], infos: Mapping[str, Any], one: Input, link: list[Any]) -> str | None:
    """What is wrong with a link; null for nothing."""
    if len(link) != 2:
        return f"a link is a list of a node's id and an output's number, not {_shown(link)}"
    source, slot = link
    if not isinstance(source, str) or source not in graph:
        hint = "; ids are text" if isinstance(source, int) and str(source) in graph else ""
        return f"it is wired to node {_shown(source)}, which the graph doesn't have{hint}"
    cls = class_of(graph, infos, source)
    if not cls.is_known:
        return None
    types = cls.outputs
    if not isinstance(slot, int) or not -len(types) <= slot < len(types):
        return f"it is wired to output {_shown(slot)} of node {source} ({cls.name}), which has {len(types)}"
    if not fits(types[slot], one.type):
        return f"it takes {_type(one.type)}, and node {source} ({cls.name}) gives {_type(types[slot])}"
    return None


def fits(given: Any, wanted: Any) -> bool:
    """Whether an output of one type may go into an input of another. `*` is any, and commas stand between several."""
    if given == wanted or (isinstance(given, list) and wanted == "COMBO"):
        return True
    if not isinstance(given, str) or not isinstance(wanted, str):
        return any(isinstance(one, str) and one in ANY for one in (given, wanted))
    some, others = ({part.strip() for part in types.split(",")} for types in (given, wanted))
    return bool(some & others) or "*" in some | others or given in ANY or wanted in ANY


def _type(told: Any) -> str:
    return "a choice" if isinstance(told, list) else str(told)[:MOST_SHOWN]


def _cycle(seen: Mapping[str, _Seen]) -> list[str]:
    """The nodes of one cycle, in its order; nothing where there is none."""
    done: set[str] = set()
    for start in seen:
        path: list[str] = []
        places: dict[str, int] = {}
        stack: list[tuple[str, Iterator[str]]] = []

        def enter(node_id: str) -> None:
            places[node_id] = len(path)  # noqa: B023  called in this turn alone
            path.append(node_id)  # noqa: B023
            stack.append((node_id, iter(seen[node_id].sources)))  # noqa: B023

        if start not in done:
            enter(start)
        while stack:
            node_id, sources = stack[-1]
            source = next(sources, None)
            if source is None:
                stack.pop()
                path.pop()
                del places[node_id]
                done.add(node_id)
            elif source in places:
                return path[places[source] :]
            elif source not in done:
                enter(source)
    return []


# ---------------------------------------------------------------- values


def _plain(value: Any) -> Any:
    """A value that the editor wraps, so that a list isn't taken for a link, as it is meant."""
    return value["__value__"] if isinstance(value, dict) and "__value__" in value else value


def _literal(cls: Class, one: Input, value: Any, files: Mapping[str, bool]) -> str | None:
    """What is wrong with a value that comes from no other node; null for nothing."""
    value = _plain(value)
    convert = CONVERSIONS.get(one.type) if isinstance(one.type, str) else None
    if convert is not None:
        try:
            value = convert(value)
        except (TypeError, ValueError, OverflowError):
            return f"{_shown(value)} is no {one.type}"
    if cls.names_file(one):
        return None if cls.may_have_no_file and value in ("", "none") else _file(one, value, files)
    if cls.judges(one):
        return None
    return _range(one, value) or _choice(one, value)


def _file(one: Input, value: Any, files: Mapping[str, bool]) -> str | None:
    if value in (one.choices or ()):
        return None
    if not isinstance(value, str):
        return f"{_shown(value)} is no file's name"
    return None if files.get(value, True) else _lacks(value, one.choices or [])


def _range(one: Input, value: Any) -> str | None:
    try:
        if "min" in one.more and value < one.more["min"]:
            return f"{_shown(value)} is less than its least, {one.more['min']}"
        if "max" in one.more and value > one.more["max"]:
            return f"{_shown(value)} is more than its most, {one.more['max']}"
    except TypeError:
        return f"{_shown(value)} can't be compared with its bounds"
    return None


def _choice(one: Input, value: Any) -> str | None:
    choices = one.choices
    if choices is None:
        return None
    several = one.more.get("multiselect") and isinstance(value, list)
    wrong = [given for given in (value if several else [value]) if given not in choices]
    return "; ".join(_lacks(given, choices) for given in wrong[:5]) or None


def _lacks(value: Any, choices: list[Any]) -> str:
    words = [one for one in choices if isinstance(one, str)]
    near = difflib.get_close_matches(value[:1000], words, 3) if isinstance(value, str) else []
    hint = f"; near it: {', '.join(near)}" if near else f"; there are {len(choices)}"
    return f"the server has no {_shown(value)}{hint}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 3] + "..."
