"""A run's report: one page that opens from disk, and fetches nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..telemetry.models.run_contract import ArtifactMetadata
from .policy import Policy
from .report_links import link_to
from .report_scene import scene_view
from .report_template import ReportTemplate, our_template
from .report_texts import pairs_of, short
from .report_timeline import timeline_of
from .report_view import Link, ReportView, Validation
from .summary import unbounded
from .validate import Findings

REPORT = "report.html"
NOTHING_FROM_OUTSIDE = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'"
MOST_FRAMES, MOST_THUMBNAILS = 12, 600
"""Of a scene, and of a run: the rest is named and stays in its folder."""


def render(
    metadata: ArtifactMetadata,
    policy: Policy,
    folder: Path,
    found: Findings | None = None,
    template: ReportTemplate | None = None,
) -> str:
    """The page. `folder` is the run's, whose frames are shown small; `found` is what the validation said.

    Null for `template` is our own. Raises ReportTemplateError.
    """
    return (template or our_template()).page(view_of(metadata, policy, folder, found))


def view_of(metadata: ArtifactMetadata, policy: Policy, folder: Path, found: Findings | None) -> ReportView:
    """What a template is given of a run."""
    story, scenes = metadata.Story, metadata.Scenes
    most = max(1, min(MOST_FRAMES, MOST_THUMBNAILS // len(scenes)))
    return ReportView(
        title=f"{story.Id} - run {metadata.RunId}",
        content_security_policy=NOTHING_FROM_OUTSIDE,
        story_id=story.Id,
        logline=story.Logline,
        vision=story.DirectorsVision,
        complete=all(scene.Success for scene in scenes),
        facts=pairs_of(_facts(metadata)),
        warnings=list(map(short, story.Warnings)),
        validation=None if found is None else _validation(found),
        timeline=timeline_of(scenes),
        scenes=[scene_view(scene, folder, most) for scene in scenes],
        policy=_policy(policy),
        files=_files(metadata),
    )


def _facts(metadata: ArtifactMetadata) -> Mapping[str, object]:
    scenes = metadata.Scenes
    good = sum(bool(scene.Success) for scene in scenes)
    servers = {str(one["Server"]) for scene in scenes for one in scene.AttemptSummaries if one.get("Server")}
    return {
        "Run": metadata.RunId,
        "Written": metadata.Timestamp,
        "Scenes": f"{good} of {len(scenes)} succeeded",
        "Frames": sum(scene.FrameCount or 0 for scene in scenes),
        "Tries": sum(scene.AttemptsRun or 0 for scene in scenes),
        "Servers": ", ".join(sorted(servers)) or None,
        "Story by": metadata.Story.Generator,
        "Language model": _health(metadata),
    }


def _health(metadata: ArtifactMetadata) -> str | None:
    health = metadata.Story.HealthCheck
    if health is None:
        return None
    if health.Skipped:
        return f"not asked ({health.SkipReason or 'skipped'})"
    return f"{health.Status} at {health.Url}" + (f": {health.Error}" if health.Error else "")


def _validation(found: Findings) -> Validation:
    return Validation(found.passed, list(map(short, found.errors)), list(map(short, found.warnings)))


def _policy(policy: Policy) -> list[tuple[str, object, str]]:
    rows: list[tuple[str, object, str]] = []
    for name, value in policy.values.items():
        told = unbounded(value) if name == "history_max_attempts" else value
        rows.append((name.replace("_", " "), told, policy.sources.get(name, "")))
    return rows


def _files(metadata: ArtifactMetadata) -> list[Link]:
    logs = metadata.CheckLogs.model_dump() if metadata.CheckLogs else {}
    named = {"Summary": "run-summary.txt", "Metadata": "artifact-metadata.json", "Story": metadata.Story.File}
    named |= {f"Check: {name}": path for name, path in logs.items()} | {"Archive": metadata.Archive}
    return [Link(name, link_to(path)) for name, path in named.items() if path]
