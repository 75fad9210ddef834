"""A scene put into a workflow: by placeholders in a template, or by a mapping of nodes and inputs to its fields."""

from __future__ import annotations

import copy
import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..telemetry.markers.requests import MARKER_CLASS
from .story import Scene, StoryError, parsed
from .text_file import TextFileError, read_text

OUR_NODE = MARKER_CLASS
OLDER_NODE = "WriteDoneMarker|pysssss"
KEYFRAME = "__KEYFRAME_IMAGE__"
PLACEHOLDER = re.compile(r"\\?__[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*__")
"""With a backslash before it, it stands for itself."""
LIKE_OURS = 0.85
"""What is so like one of our placeholders is one with a slip of the pen, not a wildcard of another tool."""
PREFIX_INPUT = "filename_prefix"
MOST_BYTES = 4 * 1024 * 1024


class PatchError(Exception):
    """A template or a mapping that can't be used. `kind` is a stable word; `mistakes` are all of them."""

    def __init__(self, kind: str, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.kind = kind
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Mapped:
    """One entry of a mapping: which input of which node takes which field of a scene."""

    node: str
    """Its id, or its title."""
    input: str
    field: str


@dataclass(slots=True)
class Patched:
    """A scene's graph, and what was done to it."""

    graph: dict[str, Any]
    warnings: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    """Each word that looks like a placeholder, is none of ours, and was left as it is; the same for every scene."""
    prefixes_ours: bool = False
    """Whether every saver's prefix comes from the one that was given, so that another try may save under another."""


@dataclass(frozen=True, slots=True)
class Values:
    """What is put into a template."""

    prompt: str
    negative_prompt: str
    prefix: str
    keyframe: str | None
    seed: int
    frames: int | None
    scene: Scene

    def of(self, name: str) -> object:
        """A mapping's field. Raises KeyError for one that there is not."""
        return _FIELDS[name](self)


_PLACEHOLDERS: dict[str, Callable[[Values], object]] = {
    KEYFRAME: lambda values: values.keyframe,
    "__SCENE_PREFIX__": lambda values: values.prefix,
    "__SCENE_PROMPT__": lambda values: values.prompt,
    "__NEGATIVE_PROMPT__": lambda values: values.negative_prompt,
    "__SEED__": lambda values: values.seed,
    "__FRAMES__": lambda values: values.frames,
}
_FIELDS: dict[str, Callable[[Values], object]] = {
    "prompt": lambda values: values.prompt,
    "negative_prompt": lambda values: values.negative_prompt,
    "prefix": lambda values: values.prefix,
    "keyframe": lambda values: values.keyframe,
    "seed": lambda values: values.seed,
    "frames": lambda values: values.frames,
    "id": lambda values: values.scene.id,
    "title": lambda values: values.scene.title,
    "summary": lambda values: values.scene.summary,
    "mood": lambda values: values.scene.mood,
    "camera_movement": lambda values: values.scene.camera_movement,
}
FIELDS = tuple(_FIELDS)
"""What of a scene a mapping may name."""
PLACEHOLDERS = tuple(_PLACEHOLDERS)
"""What of a scene a template may hold."""


def placeholders_in(graph: Mapping[str, Any]) -> list[str]:
    """Our placeholders that a graph still has, in their order: a scene is to be put into it."""
    found = set(PLACEHOLDER.findall(json.dumps(graph)))
    return [name for name in PLACEHOLDERS if name in found]


def read_mapping(path: Path) -> list[Mapped]:
    """A mapping file, JSON or YAML: an object, or a list, of `{"node", "input", "field"}`.

    An object has fields of a scene as its names and `{"node", "input"}`, or a list of those, as its values. Raises
    PatchError with every mistake.
    """
    try:
        text = read_text(path, MOST_BYTES, "mapping")
    except TextFileError as error:
        raise PatchError(error.kind, [str(error)]) from None
    found: list[Mapped] = []
    mistakes: list[str] = []
    for where, entry, name in _entries(_parsed(path, text), path):
        mapped = _mapped(where, entry, name, mistakes)
        if mapped is not None:
            found.append(mapped)
    if mistakes:
        raise PatchError("invalid_mapping", mistakes)
    return found


def _parsed(path: Path, text: str) -> object:
    try:
        return parsed(path, text)
    except StoryError as error:
        kind = "invalid_mapping" if error.kind == "invalid_story" else error.kind
        raise PatchError(kind, error.mistakes) from None


def _entries(data: object, path: Path) -> Iterator[tuple[str, object, object]]:
    if isinstance(data, list):
        for number, entry in enumerate(data):
            yield f"[{number}]", entry, entry.get("field") if isinstance(entry, dict) else None
    elif isinstance(data, dict):
        for name, value in data.items():
            for entry in value if isinstance(value, list) else [value]:
                yield f"{name}", entry, name
    else:
        raise PatchError("invalid_mapping", [f'{path} is no mapping: {{"prompt": {{"node": "6", "input": "text"}}}}'])


def _mapped(where: str, entry: object, name: object, mistakes: list[str]) -> Mapped | None:
    if not isinstance(name, str) or name not in _FIELDS:
        mistakes.append(f"mapping {where}: {str(name)[:60]!r} is no field of a scene; accepted: {', '.join(FIELDS)}")
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("input"), str) or not entry.get("node"):
        mistakes.append(f"mapping {where}: `node` (an id or a title) and `input` are needed")
        return None
    return Mapped(str(entry["node"]), entry["input"], name)


def patch(
    template: Mapping[str, Any],
    scene: Scene,
    *,
    prefix: str,
    seed: int,
    keyframe: str | None = None,
    mapping: list[Mapped] | None = None,
    add_marker: bool = False,
) -> Patched:
    """A scene's graph. The template is never changed.

    `keyframe` is the picture's name on the server; null where there is none. With `add_marker` a graph without a
    marker gets one. Raises PatchError for a placeholder that has no value, one that is almost one of ours, and a
    mapping to what the template doesn't have.
    """
    done = Patched(copy.deepcopy(dict(template)))
    values = Values(scene.prompt, scene.negative_prompt, prefix, keyframe, seed, scene.expected_frames, scene)
    _rewrite_older_markers(done, prefix)
    used, mistakes, done.foreign = _fill(done.graph, values)
    for mapped in mapping or ():
        mistake = _map(done.graph, mapped, values)
        if mistake is None:
            used.add(mapped.field)
        else:
            mistakes.append(mistake)
    if mistakes:
        raise PatchError("invalid_mapping" if mapping else "invalid_workflow", mistakes)
    _warn(done, used, values)
    done.prefixes_ours = _prefixes_are_ours(done.graph, prefix)
    if add_marker and not any(node.get("class_type") == OUR_NODE for node in done.graph.values()):
        done.graph[_free_id(done.graph)] = {"class_type": OUR_NODE, "inputs": {PREFIX_INPUT: ""}}
        done.changes.append("a Write Done Marker was added")
    return done


# ---------------------------------------------------------------- placeholders


def _fill(graph: dict[str, Any], values: Values) -> tuple[set[str], list[str], list[str]]:
    """Put values in the place of placeholders; which were met, what is wrong, and what is none of ours."""
    used: set[str] = set()
    mistakes: list[str] = []
    foreign: dict[str, str] = {}

    def fill(value: Any, where: str) -> Any:
        if isinstance(value, dict):
            return {name: fill(one, f"{where}.{name}") for name, one in value.items()}
        if isinstance(value, list):
            return [fill(one, where) for one in value]
        return _filled(value, where) if isinstance(value, str) else value

    def _filled(text: str, where: str) -> Any:
        whole = PLACEHOLDER.fullmatch(text)
        if whole is not None:
            return told(text, where)
        return PLACEHOLDER.sub(lambda found: str(told(found[0], where)), text)

    def told(name: str, where: str) -> Any:
        if name.startswith("\\"):
            return name[1:]
        value_of = _PLACEHOLDERS.get(name)
        if value_of is None:
            near = difflib.get_close_matches(name, PLACEHOLDERS, 1, LIKE_OURS)
            if near:
                mistakes.append(f"{where}: unknown placeholder {name}; is {near[0]} meant? \\{name} stands for itself")
            else:
                foreign.setdefault(name, f"{where}: {name} is no placeholder of a scene's, and is left as it is")
            return name
        used.add(name)
        value = value_of(values)
        if value is None:
            why = "it has no keyframe" if name == KEYFRAME else "it doesn't say expected_frames"
            mistakes.append(f"{where}: {name} has no value for {values.scene.id}: {why}")
        return value

    for node_id, node in graph.items():
        if isinstance(node, dict) and isinstance(node.get("inputs"), dict):
            node["inputs"] = fill(node["inputs"], f"node {node_id} ({node.get('class_type')})")
    return used, mistakes, list(foreign.values())


# ---------------------------------------------------------------- mappings


def _map(graph: dict[str, Any], mapped: Mapped, values: Values) -> str | None:
    """Put a field into an input; what is wrong with it, null for nothing."""
    ids = [mapped.node] if mapped.node in graph else [one for one in graph if _title(graph[one]) == mapped.node]
    if len(ids) != 1:
        why = f"{len(ids)} nodes have this title: {', '.join(ids)}" if ids else "no node has this id or title"
        return f"mapping of {mapped.field}: node {mapped.node!r}: {why}"
    inputs = graph[ids[0]].get("inputs")
    if not isinstance(inputs, dict) or mapped.input not in inputs:
        known = ", ".join(inputs) if isinstance(inputs, dict) and inputs else "none"
        return f"mapping of {mapped.field}: node {mapped.node!r} has no input {mapped.input!r}; it has: {known}"
    if _is_link(inputs[mapped.input]):
        return f"mapping of {mapped.field}: input {mapped.input!r} of node {mapped.node!r} is wired to another node"
    value = values.of(mapped.field)
    if value is not None:
        inputs[mapped.input] = value
    return None


def _title(node: object) -> str | None:
    meta = node.get("_meta") if isinstance(node, dict) else None
    return meta.get("title") if isinstance(meta, dict) else None


def _is_link(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)


# ---------------------------------------------------------------- what else


def _rewrite_older_markers(done: Patched, prefix: str) -> None:
    """Make our node of the marker node that older graphs have: it hung on an output of a saver, and ours needs none."""
    for node_id, node in done.graph.items():
        if not isinstance(node, dict) or node.get("class_type") != OLDER_NODE:
            continue
        given = node.get("inputs")
        inputs = given if isinstance(given, dict) else {}
        named = inputs.get("scene_prefix")
        new: dict[str, Any] = {PREFIX_INPUT: named if isinstance(named, str) and named else prefix}
        done.graph[node_id] = {**node, "class_type": OUR_NODE, "inputs": new}
        folder = inputs.get("output_dir")
        left = f"; its output_dir {folder!r} is left out, the marker stands beside the files" if folder else ""
        done.changes.append(f"node {node_id}: {OLDER_NODE} was replaced by {OUR_NODE}{left}")


def _warn(done: Patched, used: set[str], values: Values) -> None:
    texts = {
        one for node in done.graph.values() for one in _strings(node.get("inputs") if isinstance(node, dict) else None)
    }
    if not any(values.prompt in text for text in texts):
        done.warnings.append(f"{values.scene.id}: its prompt reaches no text input of the workflow")
    if values.keyframe is not None and not {KEYFRAME, "keyframe"} & used:
        done.warnings.append(f"{values.scene.id}: its keyframe reaches no input of the workflow")
    if values.scene.seed is not None and not {"__SEED__", "seed"} & used:
        done.warnings.append(f"{values.scene.id}: its seed reaches no input of the workflow")
    if not any(values.prefix in text for text in texts):
        done.warnings.append(
            f"{values.scene.id}: no file name comes from the scene, so scenes can't be told apart by their files' names"
        )


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)


def _prefixes_are_ours(graph: Mapping[str, Any], prefix: str) -> bool:
    prefixes = [
        node["inputs"][PREFIX_INPUT]
        for node in graph.values()
        if isinstance(node, dict)
        and isinstance(node.get("inputs"), dict)
        and PREFIX_INPUT in node["inputs"]
        and node.get("class_type") != OUR_NODE
    ]
    return bool(prefixes) and all(isinstance(one, str) and prefix in one for one in prefixes)


def under_another_prefix(graph: Mapping[str, Any], prefix: str, other: str) -> dict[str, Any]:
    """The graph with another prefix in the place of this one in every `filename_prefix`; the graph is not changed."""
    changed = copy.deepcopy(dict(graph))
    for node in changed.values():
        inputs = node.get("inputs") if isinstance(node, dict) else None
        if isinstance(inputs, dict) and isinstance(inputs.get(PREFIX_INPUT), str):
            inputs[PREFIX_INPUT] = inputs[PREFIX_INPUT].replace(prefix, other)
    return changed


def _free_id(graph: Mapping[str, Any]) -> str:
    numbers = [int(node_id) for node_id in graph if node_id.isdecimal()]
    return str(max(numbers, default=0) + 1)
