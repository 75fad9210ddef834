"""One prompt against its like: the answer of `why`."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from ..models.node import Node
from ..models.prompt import Prompt
from ..models.text import count_of
from ..models.why import NodeShare, Usual, Why
from .comparing import Side
from .failures import failures
from .reasons import Case, reasons, waited
from .usual import LEAST_RUNS, MOST_RUNS, comparable, device_of, is_like, median_of, peak_of, usual, verdict_of

NODES_OF = 10
"""Of so many runs the nodes are read."""
MOST_NODES = 10
LEAST_SHARE = 0.05
"""A smaller part of the change is not worth naming a node for."""


SideOf = Callable[[Prompt], Side]
"""Reads all that is known of a prompt."""
NodesOf = Callable[[Prompt], Sequence[Node]]


def why(now: Side, runs: Sequence[Prompt], side_of: SideOf, nodes_of: NodesOf) -> Why:
    """Why a prompt took what it took, or failed. `runs` are the earlier successes of its workflow, newest first."""
    prompt = now.prompt
    like = comparable(prompt, runs)
    durations = [run.duration_seconds for run in like if run.duration_seconds is not None]
    peaks = [peak for run in like if (peak := peak_of(run)) is not None]
    verdict = verdict_of(prompt, durations, peaks, peak_of(prompt))
    found = Why(
        prompt_id=prompt.prompt_id,
        run_number=prompt.run_number,
        usual=usual(durations),
        usual_vram_bytes=usual(peaks),
        ratio=None,
        verdict=verdict,
        reasons=[],
        nodes=[],
        notes=_notes(prompt, like, runs),
    )
    if found.usual is not None and prompt.status == "success" and prompt.duration_seconds and found.usual.median:
        found.ratio = round(prompt.duration_seconds / found.usual.median, 4)
    if verdict == "failed" or prompt.status == "interrupted":
        found.reasons = failures(prompt)
    elif verdict in ("slower", "hungrier", "too few runs"):
        _explain(found, now, like, runs, side_of, nodes_of)
    elif verdict is not None:
        found.reasons = list(waited(Case(now, like, None, None)))
    return found


def _explain(
    found: Why, now: Side, like: Sequence[Prompt], runs: Sequence[Prompt], side_of: SideOf, nodes_of: NodesOf
) -> None:
    """Held against its like; where that is too little, against all runs of its workflow on its device."""
    wider = [run for run in runs if device_of(run) == device_of(now.prompt)][:MOST_RUNS]
    against = like if len(like) >= LEAST_RUNS else wider
    if not against:
        found.reasons = list(waited(Case(now, [], None, None)))
        return
    middle = median_of(run.duration_seconds for run in against)
    took = now.prompt.duration_seconds
    excess = took - middle if took is not None and middle is not None else None
    if found.verdict != "hungrier":
        found.nodes = _shares(now.nodes, [nodes_of(run) for run in against[:NODES_OF]], excess)
    case = Case(now, against, side_of(against[0]), excess, found.nodes)
    if len(like) < LEAST_RUNS and not _is_more(found.usual, excess, middle):
        found.reasons = list(waited(case))
        return
    found.reasons = reasons(case)


def _is_more(known: Usual | None, excess: float | None, middle: float | None) -> bool:
    """Whether there is anything to be explained of a prompt that has too few like it."""
    return known is None and excess is not None and middle is not None and excess > LEAST_SHARE * middle


def _shares(nodes: Sequence[Node], runs: Sequence[Sequence[Node]], excess: float | None) -> list[NodeShare]:
    """The nodes that took longer than they usually do, or shorter where the whole did."""
    if not excess:
        return []
    before: dict[tuple[str, str | None], list[float]] = {}
    for of_one in runs:
        for node in of_one:
            if not node.cached and node.duration_seconds is not None:
                before.setdefault((node.node_id, node.class_type), []).append(node.duration_seconds)
    shares = []
    for node in nodes:
        took = node.duration_seconds if not node.cached else None
        took_before = before.get((node.node_id, node.class_type))
        usually = statistics.median(took_before) if took_before else None
        share = (took or 0) - (usually or 0)
        if share * excess > 0 and abs(share) >= LEAST_SHARE * abs(excess):
            shares.append(
                NodeShare(
                    node_id=node.node_id,
                    class_type=node.class_type,
                    title=node.title,
                    usual_seconds=usually,
                    seconds=took,
                    share_seconds=round(share, 6),
                )
            )
    return sorted(shares, key=lambda one: -abs(one.share_seconds))[:MOST_NODES]


def _notes(prompt: Prompt, like: Sequence[Prompt], runs: Sequence[Prompt]) -> list[str]:
    if prompt.workflow_fingerprint is None:
        return ["its graph has no fingerprint, so there is nothing to hold it against"]
    if len(like) >= LEAST_RUNS or prompt.status != "success":
        return []
    missing = LEAST_RUNS - len(like)
    told = f"{count_of(len(like), 'comparable run')} {'is' if len(like) == 1 else 'are'} too few to say what is usual"
    told += f": run it {count_of(missing, 'more time')}"
    others = sum(1 for run in runs if not is_like(prompt, run))
    return [told + (f" ({others} runs of this workflow had other settings, or another device)" if others else "")]
