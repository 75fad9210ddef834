"""Which files does each marker of an ended prompt speak of? Decides; `marking.py` writes.

The rules are those of `docs/done-marker.md`: what nodes reported under exactly a prefix, and what is new or
changed on the disk under it since the folder was listed before the prompt's first node.
"""

from __future__ import annotations

from ..models.base import PromptStatus
from .decision import Decision
from .evidence import Evidence
from .marker_files import MarkerFiles
from .prefix import PrefixError, PrefixPath, has_tokens
from .requests import INPUTS_READY, MarkerPlan, MarkerRequest
from .saved_prefixes import SavedPrefixes


def decide(evidence: Evidence, requests: list[MarkerRequest], status: PromptStatus) -> tuple[list[Decision], list[str]]:
    """The markers that some requests come to, and notes for the prompt's record on those that come to none."""
    prefixes_saved = SavedPrefixes(evidence)
    files = MarkerFiles(prefixes_saved)
    by_prefix: dict[PrefixPath, list[MarkerRequest]] = {}
    notes: list[str] = []
    for request in requests:
        try:
            prefixes = prefixes_saved.prefixes_of(request, failed=status != "success")
        except PrefixError as error:
            notes.append(f"no marker from node {request.node_id}: {error}")
            continue
        if not prefixes:
            notes.append(f"no marker from node {request.node_id}: {files.nothing_saved()}")
        for prefix in prefixes:
            by_prefix.setdefault(prefix, []).append(request)
    decisions = [Decision(prefix, asked, *files.files_of(prefix)) for prefix, asked in by_prefix.items()]
    for decision in decisions:
        files.tell_refusals(decision)
    if status == "success":
        for decision in decisions:
            if not decision.files and not decision.failed:
                files.look_wider(decision)
    return decisions, notes


def newly_seen(evidence: Evidence) -> list[PrefixPath]:
    """The prefixes of new files whose savers' literal prefixes only the savers themselves can resolve."""
    asked = [request.filename_prefix for request in evidence.plan.requests if not request.refused]
    savers = [
        literal
        for literal in dict.fromkeys(evidence.plan.savers.values())
        if has_tokens(literal) and ("" in asked or literal in asked)
    ]
    prefixes = SavedPrefixes(evidence) if savers else None
    return [prefix for literal in savers if prefixes is not None for prefix in prefixes.unreported(literal)]


def due_requests(plan: MarkerPlan, status: PromptStatus) -> list[MarkerRequest]:
    """The requests that the end of a prompt is to serve."""
    return [
        request
        for request in plan.requests
        if not request.refused and not (status == "success" and request.when == INPUTS_READY and not request.cut_off)
    ]
