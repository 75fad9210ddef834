"""What a prompt's nodes told, taken into its record."""

from __future__ import annotations

from ..models.numbers import duration, finite
from ..models.record import NodeRecord
from ..models.text import MAX_ID, clean, clean_or_none
from ..models.times import milliseconds
from .events import ExpandedNode, Graph, NodeFinished, NodeProgress, NodeStarted, is_mapping
from .prompt import OpenPrompt


def node_started(run: OpenPrompt, event: NodeStarted) -> bool:
    """A node began, maybe again; whether that is news."""
    if run.first_node_mono is None:
        run.first_node_mono = event.mono
    node = node_of(run, event.node_id, event.expanded)
    if event.node_id in run.began:
        return False
    node.cached = False
    node.started_ms = milliseconds(run.started.at(event.mono)) if run.started else None
    run.began[event.node_id] = event.mono
    run.unfinished[event.node_id] = None
    return True


def node_finished(run: OpenPrompt, event: NodeFinished) -> None:
    """A node is done."""
    node = node_of(run, event.node_id, event.expanded)
    if event.node_id in run.unfinished:
        del run.unfinished[event.node_id]
        node.duration_seconds = duration(event.mono - run.began[event.node_id])
    elif event.node_id not in run.began:
        node.cached = True


def node_progress(run: OpenPrompt, event: NodeProgress) -> bool:
    """A node of a running prompt came so far; false where the prompt has no such node."""
    node = run.nodes.get(event.node_id) if run.started else None
    if node is None:
        return False
    node.value, node.progress_max = finite(event.value), finite(event.max)
    return True


def node_of(run: OpenPrompt, node_id: str, expanded: ExpandedNode | None) -> NodeRecord:
    """A node's record, a new one where it is first heard of."""
    node = run.nodes.get(node_id)
    if node is None:
        node = NodeRecord(len(run.nodes), clean(node_id))
        if expanded is None:
            node.class_type, node.title = described(run.graph, node_id)
            node.display_node_id = node.node_id
        else:
            node.class_type, node.title = expanded.class_type, expanded.title
            node.display_node_id = clean_or_none(expanded.display_node_id)
            node.parent_node_id = clean_or_none(expanded.parent_node_id)
        run.nodes[node_id] = node
    return node


def fail_nodes(run: OpenPrompt, mono: float) -> None:
    """The prompt has failed: what still ran of it ends now, and what it failed in has its error."""
    for node_id in run.unfinished:
        node = run.nodes[node_id]
        node.duration_seconds = duration(mono - run.began[node_id])
        if run.record.error is not None and _belongs_to(run, node_id, run.record.error.node_id):
            node.error = run.record.error


def _belongs_to(run: OpenPrompt, node_id: str | None, root: str | None) -> bool:
    parents = {node.node_id: node.parent_node_id for node in run.nodes.values()}
    node_id = clean_or_none(node_id)
    for _ in range(len(run.nodes) + 1):
        if node_id == root or node_id is None:
            break
        node_id = parents.get(node_id)
    return node_id is not None and node_id == root


def described(graph: Graph, node_id: str) -> tuple[str | None, str | None]:
    """Class and title of a node as the graph gives them."""
    node = graph.get(node_id)
    if not is_mapping(node):
        return None, None
    meta = node.get("_meta")
    title = meta.get("title") if is_mapping(meta) else None
    class_type = node.get("class_type")
    return clean_or_none(class_type, MAX_ID), clean_or_none(title, MAX_ID)
