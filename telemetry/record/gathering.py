"""Gathers what a prompt's markers are decided from: its folders, what nodes reported, what cached nodes stand for."""

from __future__ import annotations

from pathlib import Path

from ..markers.evidence import Evidence
from ..markers.grouping import group_of, is_resolved_from
from ..markers.outputs import ReportedFile, look_at, reported_files, spelled_out
from ..markers.requests import MarkerPlan
from ..models.naming import OWN_CLASSES
from ..models.settings import settings_id
from ..process.identity import root_of
from .context import Context
from .fingerprint import fingerprints, graph_digest, settings_of
from .prompt import OpenPrompt
from .refusals import sentence_of
from .store_access import StoreAccess

NO_PLAN = MarkerPlan()


class Gathering:
    """Keeps each run's evidence. The writer's thread alone."""

    def __init__(self, context: Context, access: StoreAccess) -> None:
        self._context = context
        self._access = access

    # ------------------------------------------------------------ its folders

    def folders_now(self, run: OpenPrompt) -> None:
        """At the start: the folders are what they are now; of others that it was queued with nothing is known here."""
        gathered = run.markers
        now = dict(self._context.host.roots())
        if gathered.roots is not None and gathered.roots != now:
            gathered.folders = None
            if gathered.evidence is not None:
                gathered.evidence.roots = now
        _set_roots(run, now)

    def roots(self, run: OpenPrompt) -> dict[str, Path]:
        """The folders that a run writes to."""
        if run.markers.roots is None:
            _set_roots(run, dict(self._context.host.roots()))
        return run.markers.roots or {}

    def output(self, run: OpenPrompt) -> Path:
        """The output folder that a run writes to: ComfyUI may have another by now."""
        return self.roots(run)["output"]

    # ------------------------------------------------------------ its evidence

    def evidence(self, run: OpenPrompt) -> Evidence:
        """What is known for a run's markers, brought up to date."""
        evidence = run.markers.evidence
        if evidence is None:
            evidence = run.markers.evidence = Evidence(
                run.record.prompt_id,
                run.record.plan or NO_PLAN,
                self.roots(run),
                run.started or run.queued or self._context.clock.stamp(),
                refused={one.node_id: sentence_of(one) for one in run.record.refused},
                listed=lambda folder, names: self._access.ask(self._context.store.history.listed, folder, names),
            )
        evidence.plan = run.record.plan or NO_PLAN
        if run.started is not None:
            evidence.started = run.started
        evidence.first_node_mono = run.first_node_mono
        evidence.ended = run.ended
        return evidence

    def look(self, run: OpenPrompt, evidence: Evidence) -> None:
        """Find what the nodes reported; and, of nodes that were cached and said nothing, what they saved last.

        Raises StoreAwayError.
        """
        evidence.reported = reported_files(run.reported or {})
        for file in evidence.reported:
            file.cached = file.node_id is not None and run.is_cached(file.node_id)
            look_at(file, evidence.roots)
        evidence.reported = spelled_out(evidence.reported, evidence.roots)
        self.fingerprint(run)
        if run.wants_marker and run.final == "success" and any(node.cached for node in run.nodes.values()):
            evidence.reported += self._earlier(run, evidence)
        evidence.reported = [file for file in evidence.reported if file.stamp is not None or not file.guessed]

    def fingerprint(self, run: OpenPrompt) -> None:
        """Give a run the fingerprints of its graph, once."""
        if run.fingerprinted or not run.graph:
            return
        run.fingerprinted = True
        context, record = self._context, run.record
        try:
            workflow, settings = fingerprints(run.graph, context.host.is_choice)
            record.workflow_fingerprint, record.settings_fingerprint = workflow, settings
            record.graph_digest = graph_digest(run.graph, context.digest_key)
            if context.host.settings.keep_settings:
                record.settings = settings_of(run.graph, context.host.is_choice)
                record.settings_id = settings_id(record.settings)
        except Exception as error:  # noqa: BLE001  a graph may hold anything
            context.problems.report("fingerprint", "a graph has no fingerprint", error, passing=True)
        with context.lock:
            context.recorder.runs.touch(run)

    def _earlier(self, run: OpenPrompt, evidence: Evidence) -> list[ReportedFile]:
        """What the last run of this graph saved and this one's cached nodes don't say, as far as it lies there yet."""
        found: list[ReportedFile] = []
        if run.record.graph_digest is None:
            return found
        earlier = self._access.ask(self._context.store.history.outputs_of_graph, run.record.graph_digest)
        known = {(file.node_id, *file.key) for file in earlier}
        said = {(file.node_id, *file.key) for file in evidence.reported}
        ran_since = {node_id for node_id, *_ in said - known}  # in another graph: the record is of an older run
        nothing_ran = not ran_since and _nothing_ran(run)
        for file in earlier:
            if file.type != "output" or file.node_id in ran_since or (file.node_id, *file.key) in said:
                continue
            if not nothing_ran and not _was_cached(run, file):
                continue
            before, file.cached = file.stamp, True
            look_at(file, evidence.roots)
            if file.stamp is None or file.stamp != before:
                run.record.note(f"{file.filename} of an earlier prompt is no longer what it was")
                continue
            found.append(file)
        return found


def _set_roots(run: OpenPrompt, roots: dict[str, Path]) -> None:
    run.markers.roots = roots
    run.record.output_root = root_of(roots["output"])


def _nothing_ran(run: OpenPrompt) -> bool:
    """Whether all of a graph was cached but our own nodes, which never are."""
    return all(node.cached or node.class_type in OWN_CLASSES for node in run.nodes.values())


def _was_cached(run: OpenPrompt, file: ReportedFile) -> bool:
    """Whether a file of an earlier run of this graph is what this run's cached nodes stand for.

    The node may have been one that a cached node of this graph expanded into, or unknown.
    """
    if file.node_id is None:
        savers = (run.record.plan or NO_PLAN).savers
        literals = [literal for node_id, literal in savers.items() if run.is_cached(node_id)]
        return any(is_resolved_from(group_of(file.filename, literal), literal) for literal in literals)
    if file.node_id in run.graph:
        return run.is_cached(file.node_id)
    roots = [node_id for node_id in run.graph if file.node_id.startswith(f"{node_id}.")]
    return bool(roots) and run.is_cached(max(roots, key=len))
