"""Outputs that ComfyUI refused while it ran the others: which, and why, from what its check of a graph answers.

What is wrong with a node is taken from there. For which outputs that matters is looked up in the graph, since ComfyUI
names with a faulty node every refused output that it came to after that node, whether it hangs on it or not. Its order
is that of a set, so here everything is in the order of the node ids, with numbers counted as numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..models.prompt import PromptError, Refusal
from ..models.record import PromptRecord
from ..models.text import MAX_ID, as_text, clean, natural_key

MAX_NODES = 1000
"""Faulty nodes that are looked at, and outputs that are."""
MAX_REASONS = 20
"""Reasons of one node, or of one output, that are kept; and outputs that a sentence names."""
MAX_REASON = 1000
"""Characters of a reason."""
MAX_SENTENCE = 16_000


@dataclass(frozen=True, slots=True)
class FaultyNode:
    """A node for whose sake outputs are not run. Its reasons are sentences, which name it."""

    node_id: str
    class_type: str
    reasons: list[str]
    outputs: list[str]
    """The refused outputs that hang on it, itself among them where it is one."""

    def __str__(self) -> str:
        many = [f"and {len(self.outputs) - MAX_REASONS} more"] if len(self.outputs) > MAX_REASONS else []
        outputs = ", ".join([*self.outputs[:MAX_REASONS], *many])
        why = "; ".join(self.reasons) or f"node {self.node_id} ({self.class_type}) was refused"
        return clean(f"{why} (not run for it: {outputs})" if outputs else why, MAX_SENTENCE)


def fault_sentences(node_errors: Mapping[Any, Any]) -> Iterator[str]:
    """What is wrong with each node, a sentence each. What has another form than ComfyUI's is left out."""
    for node_id, node in _entries(node_errors):
        for error in _mappings(node.get("errors")):
            yield _sentence(node_id, node, error)


def faulty_nodes(node_errors: Mapping[Any, Any], graph: Mapping[Any, Any]) -> list[FaultyNode]:
    """The nodes that ComfyUI finds fault with, each with the outputs that are not run for its sake."""
    nodes = {}
    blamed: dict[str, list[str]] = {}
    for node_id, node in _entries(node_errors):
        reasons = [_sentence(node_id, node, error) for error in _mappings(node.get("errors"))[:MAX_REASONS]]
        nodes[node_id] = FaultyNode(node_id, as_text(node.get("class_type"), MAX_ID) or "?", reasons, [])
        for output in _texts(node.get("dependent_outputs")):
            if output in blamed or len(blamed) < MAX_NODES:
                blamed.setdefault(output, []).append(node_id)
    for output in sorted(blamed, key=natural_key):
        above = upstream(graph, output)
        for node_id in [one for one in blamed[output] if one in above] or blamed[output]:
            nodes[node_id].outputs.append(output)
    return list(nodes.values())


def refusals(faulty: Iterable[FaultyNode], graph: Mapping[Any, Any]) -> list[Refusal]:
    """The outputs that are not run, each with what is wrong with the nodes that it hangs on."""
    why: dict[str, list[str]] = {}
    for node in faulty:
        for output in node.outputs:
            why.setdefault(output, []).extend(node.reasons)
    return [
        Refusal(node_id=output, class_type=_class_of(graph, output), reasons=why[output][:MAX_REASONS])
        for output in sorted(why, key=natural_key)
    ]


def error_of_refusal(error: Mapping[Any, Any], graph: Mapping[Any, Any], redact: Callable[[str], str]) -> PromptError:
    """What a record says of a graph of which ComfyUI refused all; of the node, where one alone is to blame."""
    extra = error.get("extra_info")
    node_id = as_text(extra.get("node_id"), MAX_ID) if isinstance(extra, Mapping) else None
    words = [as_text(error.get(key), MAX_SENTENCE) or "" for key in ("message", "details")]
    message = ": ".join(word.strip() for word in words if word.strip())
    return PromptError(
        node_id=node_id,
        class_type=_class_of(graph, node_id) if node_id is not None else None,
        exception_type=as_text(error.get("type"), MAX_ID),
        message=redact(message or "ComfyUI refused this prompt, and did not say why"),
    )


def sentence_of(refusal: Refusal) -> str:
    """What a marker says of an output that was refused."""
    why = f": {'; '.join(refusal.reasons)}" if refusal.reasons else ""
    return clean(f"ComfyUI refused node {refusal.node_id} ({refusal.class_type}), so it did not run{why}", MAX_SENTENCE)


def end_of(record: PromptRecord) -> dict[str, Any]:
    """What is told with a prompt's end: its status, and where outputs were refused how many."""
    return {"status": record.status, **({"refused": len(record.refused)} if record.refused else {})}


def upstream(graph: Mapping[Any, Any], node_id: str) -> set[str]:
    """A node of a graph, and all that it hangs on."""
    found = {node_id}
    waiting = [node_id]
    while waiting:
        for source in _sources(graph.get(waiting.pop())):
            if source not in found and source in graph:
                found.add(source)
                waiting.append(source)
    return found


def _sources(node: object) -> Iterator[str]:
    inputs = node.get("inputs") if isinstance(node, Mapping) else None
    for value in inputs.values() if isinstance(inputs, Mapping) else ():
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
            yield value[0]


def _entries(node_errors: Mapping[Any, Any]) -> list[tuple[str, Mapping[Any, Any]]]:
    entries = (
        (clean(str(node_id), MAX_ID), node) for node_id, node in node_errors.items() if isinstance(node, Mapping)
    )
    return sorted(entries, key=lambda entry: natural_key(entry[0]))[:MAX_NODES]


def _mappings(values: object) -> list[Mapping[Any, Any]]:
    return [one for one in values if isinstance(one, Mapping)] if isinstance(values, list) else []


def _texts(values: object) -> Iterable[str]:
    texts = [as_text(one, MAX_ID) for one in values] if isinstance(values, list) else []
    return dict.fromkeys(text for text in texts if text is not None)


def _sentence(node_id: str, node: Mapping[Any, Any], error: Mapping[Any, Any]) -> str:
    extra = error.get("extra_info")
    given = as_text(extra.get("input_name"), MAX_ID) if isinstance(extra, Mapping) else None
    words = [as_text(error.get(key), MAX_REASON) or "" for key in ("message", "details")]
    where = f"node {node_id} ({as_text(node.get('class_type'), MAX_ID) or '?'})"
    return clean(f"{where}{f', input {given}' if given else ''}: {' '.join(words)}".strip(), MAX_REASON)


def _class_of(graph: Mapping[Any, Any], node_id: str) -> str | None:
    node = graph.get(node_id)
    return as_text(node.get("class_type"), MAX_ID) if isinstance(node, Mapping) else None
