"""What a queued graph asks of markers, and what its savers say of their prefixes. Read from the graph alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..record.events import Graph, MarkerRun, is_mapping

MARKER_CLASS = "WriteDoneMarker"
PROMPT_COMPLETES, INPUTS_READY = "prompt completes", "inputs ready"
WRITE_FAILED, WRITE_NOTHING = "write .failed", "nothing"
MAX_TEXTS, MAX_TEXT = 6, 200
"""So many texts of one node, and so many characters of each, are looked at as what may name its files."""


@dataclass(slots=True)
class MarkerRequest:
    """What one Write Done Marker node asks for."""

    node_id: str
    filename_prefix: str | None = ""
    """Empty: one marker for each prefix that this prompt's savers wrote. Null: wired, and not known yet."""
    when: str = PROMPT_COMPLETES
    on_failure: str = WRITE_FAILED
    hash_files: bool = False
    refused: bool = False
    """True where ComfyUI left the node out because its own inputs were no good."""
    written: list[str] = field(default_factory=list)
    """Relative paths of the markers that were written when the node's inputs were ready."""
    ran: bool = False
    """True once the node itself has run."""
    cut_off: bool = False
    """True where ComfyUI left the node out for what it is wired to. It never runs, and asks all the same."""

    def learn(self, run: MarkerRun) -> None:
        """Take over what the node itself was given."""
        self.ran = True
        self.filename_prefix = run.filename_prefix
        self.when, self.on_failure, self.hash_files = run.when, run.on_failure, run.hash_files


@dataclass(slots=True)
class MarkerPlan:
    """Everything about a prompt's markers; all but `others` survives a restart."""

    requests: list[MarkerRequest] = field(default_factory=list)
    savers: dict[str, str] = field(default_factory=dict)
    """Node id to literal prefix of each node that has one and is no marker."""
    others: dict[str, list[str]] = field(default_factory=dict)
    """Node id to further prefixes that an output may save under, made of its other texts (`folder_name`, `path`,
    `filename`); one that ends in a slash is a folder, and says nothing of names. Known to this process alone: a text
    may be anything that somebody wrote, and is never kept.
    """

    def __bool__(self) -> bool:
        return any(not request.refused for request in self.requests)

    def dump(self) -> dict[str, Any]:
        """As plain data, for the store: what a graph's texts say is not in it."""
        return {name: value for name, value in asdict(self).items() if name != "others"}

    def literals_of(self, node_id: str | None) -> list[str]:
        """The prefixes that a node may save under, the likeliest first."""
        first = [self.savers[node_id]] if node_id in self.savers else []
        return first + [literal for literal in self.others.get(node_id or "", ()) if not literal.endswith("/")]


def plan_of(
    graph: Graph, accepted: frozenset[str], restricted: bool | None, faults: Mapping[str, bool] | None = None
) -> MarkerPlan:
    """The plan of a queued graph.

    `faults` has the outputs that ComfyUI said it refused, and whether that was for inputs of their own. Of a marker of
    which it said nothing: one that is not among the accepted outputs was refused, unless the request restricted its
    targets: then it just wasn't asked for.
    """
    known = faults or {}
    plan = MarkerPlan()
    for node_id, node in graph.items():
        if not is_mapping(node):
            continue
        inputs = node.get("inputs")
        inputs = inputs if is_mapping(inputs) else {}
        if node.get("class_type") == MARKER_CLASS:
            refused = node_id not in accepted
            if not refused or restricted is False or node_id in known:
                request = _request(str(node_id), inputs)
                request.refused = refused and known.get(str(node_id), True)
                request.cut_off = refused and not request.refused
                plan.requests.append(request)
            continue
        if isinstance(inputs.get("filename_prefix"), str):
            plan.savers[str(node_id)] = inputs["filename_prefix"]
        others = other_prefixes(inputs) if str(node_id) in accepted else []
        if others:
            plan.others[str(node_id)] = others
    return plan


def other_prefixes(inputs: Mapping[Any, Any]) -> list[str]:
    """What an output's texts come to as prefixes, folder and name in any order; not knowing what each is for."""
    texts = {str(name): value for name, value in inputs.items() if isinstance(value, str) and _may_name(value)}
    prefix = texts.pop("filename_prefix", None)
    plain = [text.strip("/") for text in list(texts.values())[:MAX_TEXTS]]
    if prefix is not None:
        return [f"{folder}/{prefix}" for folder in plain]
    pairs = [f"{folder}/{name}" for folder in plain for name in plain if folder != name]
    return list(dict.fromkeys([*sorted(pairs, key=len, reverse=True), *plain, *(f"{folder}/" for folder in plain)]))


def _may_name(text: str) -> bool:
    return (
        0 < len(text) <= MAX_TEXT
        and text.isprintable()
        and not text.startswith(("/", "\\"))
        and text.strip("/. ") != ""
    )


def _request(node_id: str, inputs: Mapping[Any, Any]) -> MarkerRequest:
    request = MarkerRequest(node_id)
    prefix = inputs.get("filename_prefix", "")
    request.filename_prefix = prefix if isinstance(prefix, str) else None
    if inputs.get("when") == INPUTS_READY:
        request.when = INPUTS_READY
    if inputs.get("on_failure") == WRITE_NOTHING:
        request.on_failure = WRITE_NOTHING
    request.hash_files = inputs.get("hash_files") is True
    return request
