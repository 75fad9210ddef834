"""What stands before a run: its story, and the checks of its servers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..client.comfy_client import ComfyClient
from ..client.errors import ServerError
from ..telemetry.models.run_contract import StoryHealthCheck, StorySummary
from .health import check_health
from .keyframes import check_keyframe
from .llm import write_story
from .llm_settings import LlmSettings
from .patching import OLDER_NODE, OUR_NODE, Mapped
from .plan import STORY
from .preflight import Check, preflight, went_away, write_preflight
from .run import Run
from .run_folder import RESULTS
from .scene_graph import needs_keyframe, on_no_server
from .story import Story, read_story, template_story
from .track import now

OF_THE_GRAPH = ("inputs", "mapping", "graph")
"""Checks of what a run is made of: going on with it would find the same."""
GIVEN = "the story is given, so no language model is asked"


class PreparingError(Exception):
    """What ends a run before its first scene. `kind` is a stable word."""

    def __init__(self, kind: str, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.kind = kind
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Told:
    """A story, and where it comes from."""

    story: Story
    summary: StorySummary


@dataclass(frozen=True, slots=True)
class Source:
    """Where a story is to come from: a file, or an idea of which a language model or our templates make one."""

    file: Path | None
    idea: str | None
    scenes: int = 3
    seed: int = 0
    llm_required: bool = True
    skip_health: bool = False


async def tell_story(source: Source) -> Told:
    """The story. Raises StoryError, SettingError, and PreparingError where a required model isn't there."""
    if source.file is not None:
        story = read_story(source.file)
        health = StoryHealthCheck(Status="skipped", Skipped=True, SkipReason=GIVEN, Timestamp=now())
        return Told(story, summary_of(story, "file", health, []))
    settings = LlmSettings.from_environment()
    health = await check_health(settings, skip=source.skip_health, skip_reason="--skip-llm-healthcheck")
    if health.Status == "failed":
        why = f"the language model's health check failed: {health.Error} ({health.Url})"
        if source.llm_required:
            raise PreparingError("llm_unavailable", f"{why}; start it, or give --llm optional", 2)
        story = template_story(source.idea or "", source.scenes, source.seed)
        return Told(story, summary_of(story, "template", health, [f"{why}; the story is from templates"]))
    written = await write_story(source.idea or "", source.scenes, settings, seed=source.seed)
    return Told(written.story, summary_of(written.story, written.generator, health, written.warnings))


def summary_of(story: Story, generator: str, health: StoryHealthCheck | None, warnings: list[str]) -> StorySummary:
    """A story as the metadata has it."""
    return StorySummary(
        Id=story.id,
        Logline=story.logline,
        DirectorsVision=story.directors_vision,
        Generator=generator,
        File=STORY,
        StoryDir=STORY.rpartition("/")[0],
        LLM=generator.removeprefix("llm:") if generator.startswith("llm:") else None,
        HealthCheck=health,
        Warnings=warnings,
    )


def try_scenes(template: Mapping[str, Any], story: Story, mapping: list[Mapped] | None, place: Path) -> None:
    """Put every scene into the graph, once for nothing, and look at its keyframe, which is relative to `place`.

    Raises PatchError and KeyframeError, before anything is made or queued.
    """
    on_no_server(template, story, mapping, prefix_of=lambda scene: scene.id)
    for scene in story.scenes if needs_keyframe(template, mapping) else ():
        if scene.keyframe:
            check_keyframe(place / scene.keyframe, scene.id)


async def answering(servers: list[str], client_of: Callable[[str], ComfyClient]) -> list[str]:
    """Those that answer as a ComfyUI does. Raises the first one's ServerError where none does."""
    good, first = [], None
    for url in servers:
        async with client_of(url) as client:
            try:
                await client.system_stats()
                good.append(url)
            except ServerError as error:
                first = first or error
    if first is not None and not good:
        raise first
    return good


async def check_servers(run: Run, answer: list[str]) -> list[str]:
    """Preflight on each server that answers; what isn't passed. The findings go into the run's folder.

    A server that fails is left out while another passes. Raises PreparingError where none does.
    """
    found: dict[str, list[Check]] = {}
    for url in answer:
        async with run.client(url) as client:
            try:
                found[url] = await _check(run, client)
            except ServerError as error:
                found[url] = [went_away(error)]
    failed = {url: [one for one in checks if one.status == "failed"] for url, checks in found.items()}
    good = [url for url in answer if not failed[url]]
    write_preflight(found[good[0] if good else answer[0]], run.folder.path / RESULTS)
    if not good:
        why = "; ".join(_line(url, one) for url in answer for one in failed[url])
        of_graph = any(one.name in OF_THE_GRAPH for url in answer for one in failed[url])
        resume = f"run-recorder run --resume {run.folder.path} goes on"
        hint = "mend it, and begin a new run" if of_graph else resume
        raise PreparingError("preflight", f"{why}; {hint}", 1)
    run.servers = [url for url in run.plan.Servers if not failed.get(url)]
    return [_line(url, one) for url, checks in found.items() for one in checks if one.status != "passed"]


async def _check(run: Run, client: ComfyClient) -> list[Check]:
    add = run.plan.AddMarker and OUR_NODE in await client.node_classes()
    made = on_no_server(run.template, run.story, run.mapping, prefix_of=run.prefix_of, add_marker=add)
    found = await preflight(
        client,
        [one.graph for one in made],
        template=run.template,
        mapping=run.mapping,
        story=run.story,
        output=run.folder.path,
        allow_partial=run.plan.AllowPartial,
        allow_some=True,
    )
    foreign = [Check("graph", "warning", one) for one in made[0].foreign]
    changes = [Check("graph", "warning" if OLDER_NODE in one else "passed", one) for one in made[0].changes]
    return [*found, *foreign, *changes]


def _line(url: str, check: Check) -> str:
    advice = f" ({check.advice})" if check.advice else ""
    return f"{url}: {check.name} {check.status}: {check.found}{advice}"
