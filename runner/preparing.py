"""What stands before a run: its story, and the checks of its servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..telemetry.run_contract import StoryHealthCheck, StorySummary
from .comfy_client import ComfyClient, ServerError
from .health import check_health
from .llm import LlmSettings, write_story
from .patching import OLDER_NODE, Mapped, patch
from .plan import STORY, shown
from .run import Run
from .run_folder import RESULTS, to_json, write_atomically
from .story import Story, read_story, seed_of, template_story
from .workflow import unknown_classes

ACCEPTED = (OLDER_NODE,)
"""A class that no server has to have: it is replaced by ours."""


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
        return Told(story, summary_of(story, "file", None, []))
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


def try_patches(template: Mapping[str, Any], story: Story, mapping: list[Mapped] | None) -> None:
    """Patch every scene's graph, once for nothing. Raises PatchError before anything is made or queued."""
    for scene in story.scenes:
        patch(template, scene, prefix=scene.id, seed=seed_of(story, scene), mapping=mapping)


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
    wrong: dict[str, list[str]] = {}
    stats: dict[str, Any] = {}
    for url in answer:
        async with ComfyClient(url) as client:
            stats[shown(url)] = await client.system_stats()
            wrong[url] = unknown_classes(run.template, [*await client.node_classes(), *ACCEPTED])
    lines = [f"{shown(url)}: {one}" for url, found in wrong.items() for one in found]
    _write_checks(run, stats, lines)
    if all(wrong.values()):
        raise PreparingError("unknown_node", "; ".join(lines), 1)
    run.servers = [url for url in run.plan.Servers if not wrong.get(url)]
    return lines


def _write_checks(run: Run, stats: Mapping[str, Any], lines: list[str]) -> None:
    results = run.folder.path / RESULTS
    mapped = [{"Field": one.field, "Node": one.node, "Input": one.input} for one in run.mapping or ()]
    write_atomically(results / "mapping-preflight.json", to_json({"Nodes": len(run.template), "Mapped": mapped}))
    log = f"{len(run.template)} nodes; {len(mapped)} fields are mapped\n"
    write_atomically(results / "mapping-preflight.log", log)
    write_atomically(results / "comfyui-status.json", to_json(stats))
    write_atomically(results / "comfyui-status.log", f"{', '.join(stats)} answered /system_stats\n")
    passed = ["every scene fits into the graph, and a server has all of its nodes"]
    write_atomically(results / "check-preflight.log", "\n".join([*lines, *passed][: len(lines) or 1]) + "\n")
