"""What stands before a run: its story, and the checks of its servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..telemetry.run_contract import StoryHealthCheck, StorySummary
from .attempts import OUR_NODE
from .comfy_client import ComfyClient, ServerError
from .health import check_health
from .llm import LlmSettings, write_story
from .patching import patch
from .plan import STORY, shown
from .preflight import Check, preflight, write_preflight
from .run import Run, needs_keyframe, prefix_of
from .run_folder import RESULTS
from .story import Story, read_story, template_story


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
    llm_required: bool = True
    skip_health: bool = False


async def tell_story(source: Source) -> Told:
    """The story. Raises StoryError, and PreparingError where a language model is required and doesn't answer."""
    if source.file is not None:
        story = read_story(source.file)
        return Told(story, summary_of(story, "file", None, []))
    assert source.idea is not None
    settings = LlmSettings.from_environment()
    health = await check_health(settings)
    if health.Status != "success" and not health.Skipped:
        why = f"the language model's health check failed: {health.Error} ({health.Url})"
        if source.llm_required:
            hint = "start it, set LOCAL_STORY_PROVIDER_URL, or give --llm optional"
            raise PreparingError("llm_unavailable", f"{why}; {hint}", 2)
        story = template_story(source.idea, source.scenes, 0)
        return Told(story, summary_of(story, "template", health, [f"{why}; the template was taken"]))
    written = await write_story(source.idea, source.scenes, settings)
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


def try_patches(template: Mapping[str, Any], story: Story, mapping: Any) -> None:
    """Patch every scene's graph, once for nothing. Raises PatchError before anything is made or queued."""
    keyframe = "keyframe.png" if needs_keyframe(template) else None
    for scene in story.scenes:
        patch(template, scene, prefix=scene.id, keyframe=keyframe, mapping=mapping, add_marker=False)


async def answering(servers: list[str]) -> list[str]:
    """Those that answer as a ComfyUI does. Raises the first one's ServerError where none does."""
    good, first = [], None
    for url in servers:
        async with ComfyClient(url) as client:
            try:
                await client.system_stats()
                good.append(url)
            except ServerError as error:
                first = first or error
    if first is not None and not good:
        raise first
    return good


async def check_servers(run: Run, answer: list[str]) -> list[str]:
    """Check what the run needs on each server that answers; the warnings. The findings go into the run's folder.

    A server that fails is left out while another passes. Raises PreparingError where none does.
    """
    found: dict[str, list[Check]] = {}
    for url in answer:
        async with ComfyClient(url) as client:
            found[url] = await _check(run, client)
    failed = {url: [one for one in checks if one.status == "failed"] for url, checks in found.items()}
    good = [url for url in answer if not failed[url]]
    write_preflight(found[good[0] if good else answer[0]], run.folder.path / RESULTS)
    if not good:
        raise PreparingError("preflight", "; ".join(_line(url, one) for url in answer for one in failed[url]), 1)
    run.servers = [url for url in run.plan.Servers if not failed.get(url)]
    return [_line(url, one) for url, checks in found.items() for one in checks if one.status != "passed"]


async def _check(run: Run, client: ComfyClient) -> list[Check]:
    scene = run.story.scenes[0]
    add = run.plan.AddMarker and OUR_NODE in await client.node_classes()
    keyframe = "keyframe.png" if needs_keyframe(run.template) else None
    patched = patch(
        run.template, scene, prefix=prefix_of(run, scene), keyframe=keyframe, mapping=run.mapping, add_marker=add
    )
    return await preflight(
        client,
        patched.graph,
        template=run.template,
        mapping=run.mapping,
        story=run.story,
        llm=None,
        output=run.folder.path,
    )


def _line(url: str, check: Check) -> str:
    advice = f" ({check.advice})" if check.advice else ""
    return f"{shown(url)}: {check.name} {check.status}: {check.found}{advice}"
