"""Reasons for which a prompt took longer, or more memory, than its like: each from figures that both records have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ..models.conditions import Conditions
from ..models.prompt import Prompt
from ..models.settings import Setting
from ..models.why import Evidence, NodeShare, Reason
from .comparing import Side, compared
from .usual import LEAST_BYTES, median_of
from .words import seconds_of, size_of, word_of

MOST_NAMED = 5
"""Changes that a sentence names; the evidence has them all."""
MORE_WORK = frozenset(("steps", "width", "height", "batch_size", "length", "frames", "num_frames", "frame_count"))
"""Inputs of which more is more work in every node that has them."""
LEAST_THROTTLED = 0.05
MOST_OF_IT = 0.6
DRIFT_RUNS = 6


@dataclass(frozen=True, slots=True)
class Case:
    """A prompt, and what it is held against."""

    now: Side
    like: Sequence[Prompt]
    """Earlier runs, newest first: comparable ones, or where there are too few all of its workflow."""
    last: Side | None
    """The newest of them, with all that is known of it."""
    excess_seconds: float | None
    """How much longer it took than their median; null where that is not known."""
    nodes: Sequence[NodeShare] = field(default=())

    @property
    def conditions(self) -> Conditions:
        """Its own."""
        return self.now.prompt.conditions or Conditions()

    def before(self, name: str) -> list[float]:
        """What is known of a condition of its like."""
        told = [getattr(run.conditions, name, None) for run in self.like]
        return [one for one in told if one is not None]


def reasons(case: Case) -> list[Reason]:
    """The surest first, and of those the one that explains most."""
    found = [reason for look in _LOOKS for reason in look(case)]
    kinds = {one.kind for one in found}
    if "reload" in kinds:
        found = [one for one in found if one.kind != "cold"]
    if not kinds - {"queue"}:
        found += _node(case)
    return sorted(found, key=lambda one: (-one.confidence, -(one.share_seconds or 0)))


def waited(case: Case) -> Iterator[Reason]:
    """It waited longer than it ran, and longer than its like does."""
    prompt = case.now.prompt
    wait, took = prompt.queue_wait_seconds, prompt.duration_seconds
    if wait is None or took is None or wait <= took or wait < 1:
        return
    before = median_of(run.queue_wait_seconds for run in case.like)
    if before is None or wait > 3 * before:
        text = f"it waited {seconds_of(wait)} in the queue, and ran for {seconds_of(took)}"
        yield Reason(
            kind="queue", text=text, share_seconds=wait, evidence={"queue_wait_seconds": (before, wait)}, confidence=1
        )


def _cold(case: Case) -> Iterator[Reason]:
    told, warm = case.conditions, case.before("warm")
    if told.warm is not False or not warm or sum(warm) < MOST_OF_IT * len(warm):
        return
    text = f"{told.loaded or 'some'} models had to be loaded, which its like mostly had in memory"
    evidence = {"warm": (True, False), "loaded": (median_of(case.before("loaded")), told.loaded)}
    yield _reason("cold", text, evidence, 0.8)


def _reload(case: Case) -> Iterator[Reason]:
    """The same models come anew in each run, though the process has just had them."""
    told = case.conditions
    row = [case.now.prompt, *case.like[:3]]
    if len(row) < 4 or len({run.instance.id for run in row}) > 1:
        return
    loads = [run.conditions.loaded if run.conditions is not None else None for run in row]
    names = [_names(run) for run in row]
    if not all(loads) or not names[0] or any(one != names[0] for one in names):
        return
    text = f"the same models ({', '.join(names[0][:MOST_NAMED])}) were loaded anew in each of the last {len(row)} runs"
    yield _reason("reload", text, {"loaded": (median_of(case.before("loaded")), told.loaded)}, 0.4)


def _names(prompt: Prompt) -> list[str]:
    told = prompt.conditions.models if prompt.conditions is not None else None
    return sorted(one.name for one in told or ())


def _spill(case: Case) -> Iterator[Reason]:
    now, before = _offloaded(case.now.prompt), median_of(_offloaded(run) for run in case.like)
    if now is None or before is None or now - before < LEAST_BYTES:
        return
    text = f"{size_of(now)} of its models did not fit on the card, and came from the host's memory as it went"
    yield _reason("spill", text, {"offloaded_bytes": (before, now)}, 0.8, None, now - before)


def _offloaded(prompt: Prompt) -> int | None:
    told = prompt.conditions.models if prompt.conditions is not None else None
    if told is None:
        return None
    return sum(one.offloaded_bytes or 0 for one in told)


def _others(case: Case) -> Iterator[Reason]:
    now, before = case.conditions.vram_others_bytes, median_of(case.before("vram_others_bytes"))
    if now is None or before is None or now - before < LEAST_BYTES:
        return
    text = f"other processes held {size_of(now)} of the card, where they held {size_of(before)} before"
    yield _reason("others", text, {"vram_others_bytes": (before, now)}, 0.7, None, now - before)


def _throttled(case: Case) -> Iterator[Reason]:
    told, took = case.conditions.throttled_seconds, case.now.prompt.duration_seconds
    held = max(told.values(), default=0.0) if told else 0.0
    before = median_of(_held(run) for run in case.like)
    if not took or held < max(1.0, LEAST_THROTTLED * took) or held < 2 * (before or 0):
        return
    why = max(told or {}, key=lambda name: (told or {})[name])
    text = f"the card's clock was held down for {seconds_of(held)} of {seconds_of(took)} by its {why.replace('_', ' ')}"
    yield _reason("throttled", text, {f"throttled_seconds.{why}": (before, held)}, 0.8)


def _held(prompt: Prompt) -> float | None:
    told = prompt.conditions.throttled_seconds if prompt.conditions is not None else None
    return None if told is None else max(told.values(), default=0.0)


def _more_work(case: Case) -> Iterator[Reason]:
    if case.last is None:
        return
    changed = compared(case.last, case.now, {}).settings
    more = [one for one in changed if _is_number(one.before) and _is_number(one.after) and one.after > one.before]  # type: ignore[operator]
    if not more:
        return
    sure = any(one.input in MORE_WORK for one in more)
    more.sort(key=lambda one: one.input not in MORE_WORK)
    named = [f"{one.input} of node {one.node_id} ({one.class_type}) {one.before} to {one.after}" for one in more]
    evidence = {f"{one.node_id}.{one.input}": (one.before, one.after) for one in more}
    yield _reason("more_work", f"settings ask for more: {_listed(named)}", evidence, 0.7 if sure else 0.4)


def _is_number(value: Setting | None) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cache(case: Case) -> Iterator[Reason]:
    """Nodes ran that were cached before."""
    if case.last is None:
        return
    cached = {(node.node_id, node.class_type) for node in case.last.nodes if node.cached}
    ran = [node for node in case.now.nodes if not node.cached and (node.node_id, node.class_type) in cached]
    took = sum(node.duration_seconds or 0 for node in ran)
    before = median_of(run.node_counts.cached for run in case.like)
    if not ran or before is None or case.now.prompt.node_counts.cached >= before:
        return
    named = [f"{node.node_id} ({node.class_type})" for node in ran]
    text = f"{len(ran)} nodes ran that were cached before, for {seconds_of(took)}: {_listed(named)}"
    evidence = {"cached": (before, case.now.prompt.node_counts.cached)}
    yield _reason("cache", text, evidence, 0.9, round(took, 3))


def _environment(case: Case) -> Iterator[Reason]:
    if case.last is None or case.last.prompt.environment_id == case.now.prompt.environment_id:
        return
    changed = compared(case.last, case.now, {}).environment
    if not changed:
        return
    named = [f"{one.what} {word_of(one.before)} to {word_of(one.after)}" for one in changed]
    one_thing = "which is all that changed" if len(changed) == 1 else f"{len(changed)} things changed at once"
    text = f"since the run before the environment changed ({one_thing}): {_listed(named)}"
    evidence = {one.what: (one.before, one.after) for one in changed}
    yield _reason("environment", text, evidence, 0.5 if len(changed) == 1 else 0.3)


def _drift(case: Case) -> Iterator[Reason]:
    """The process has grown from run to run since it was started."""
    row = [run for run in (case.now.prompt, *case.like) if run.instance.id == case.now.prompt.instance.id]
    sizes = [run.system.process_rss_peak_bytes for run in row if run.system is not None][::-1]
    known = [size for size in sizes if size is not None]
    steps = [after - before for before, after in pairwise(known)]
    grown = sum(steps)
    if len(known) < DRIFT_RUNS or min(steps) <= 0 or grown < LEAST_BYTES or max(steps) > grown / 2:
        return
    each = (known[-1] - known[0]) / (len(known) - 1)
    text = f"ComfyUI's process has grown in each of {len(known)} runs, by {size_of(each)} a run"
    evidence = {"process_rss_peak_bytes": (known[0], known[-1])}
    yield _reason("drift", text, evidence, 0.6, None, round(each))


def _node(case: Case) -> Iterator[Reason]:
    """One node alone carries it, and nothing else explains it."""
    excess = case.excess_seconds
    if not excess or excess <= 0 or not case.nodes:
        return
    first = case.nodes[0]
    if first.share_seconds < MOST_OF_IT * excess:
        return
    text = f"node {first.node_id} ({first.class_type}) alone took {seconds_of(first.share_seconds)} longer than usual"
    evidence = {"duration_seconds": (first.usual_seconds, first.seconds)}
    yield _reason("node", text, evidence, 0.5, first.share_seconds)


def _reason(
    kind: str,
    text: str,
    evidence: Mapping[str, tuple[Evidence, Evidence]],
    confidence: float,
    share_seconds: float | None = None,
    share_bytes: float | None = None,
) -> Reason:
    return Reason(
        kind=kind,  # type: ignore[arg-type]
        text=text,
        evidence=dict(evidence),
        confidence=confidence,
        share_seconds=share_seconds,
        share_bytes=share_bytes,
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


_LOOKS: tuple[Callable[[Case], Iterable[Reason]], ...] = (
    waited,
    _cold,
    _reload,
    _spill,
    _others,
    _throttled,
    _more_work,
    _cache,
    _environment,
    _drift,
)
