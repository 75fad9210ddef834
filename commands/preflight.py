"""`run-recorder preflight`: what a run would need, looked at before it."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ..client.comfy_client import ComfyClient
from ..client.urls import DEFAULT_URL
from ..runner.llm_settings import LlmSettings, SettingError
from ..runner.patching import Mapped, PatchError, read_mapping
from ..runner.preflight import Check, given_keyframes, preflight, write_preflight
from ..runner.scene_graph import needs_keyframe, on_no_server
from ..runner.story import Scene, Story, StoryError, read_story
from ..runner.workflow import WorkflowError, read_workflow
from .output import DONE, FAILED, fail, print_json
from .policy_options import AllowPartial
from .prompts import AsJson, Comfyui
from .server import Server, infos_of
from .terminal import Styled, say

COLORS = {"passed": "green", "warning": "yellow", "failed": "red"}
STANDING_IN = Scene(id="scene-001", prompt="preflight", expected_frames=1)


def check(
    workflow: Annotated[Path | None, typer.Option(help="The template, a graph in ComfyUI's API format.")] = None,
    comfyui: Comfyui = DEFAULT_URL,
    mapping: Annotated[Path | None, typer.Option(help="Which field of a scene goes into which input.")] = None,
    story: Annotated[Path | None, typer.Option(help="A story file, JSON or YAML.")] = None,
    output: Annotated[Path, typer.Option(help="Where files would be collected to.")] = Path("runs"),
    results: Annotated[Path | None, typer.Option(help="Also write the findings into this folder.")] = None,
    allow_partial: AllowPartial = False,
    as_json: AsJson = False,
) -> int:
    """Check workflow, mapping, server, models, disk, GPU and language model; exit 1 where one check failed."""
    try:
        template = read_workflow(workflow, infos_of(comfyui)) if workflow is not None else {}
        mapped = read_mapping(mapping) if mapping is not None else None
        told = read_story(story) if story is not None else None
        llm = LlmSettings.from_environment()
        checks = asyncio.run(_look(Server(comfyui).url, template, mapped, told, llm, output, allow_partial))
        if results is not None:
            write_preflight(checks, results)
    except (WorkflowError, PatchError, StoryError) as error:
        fail(error.kind, str(error))
    except SettingError as error:
        fail("invalid_parameter", str(error))
    except OSError as error:
        fail("io", f"{error.filename or results}: {error.strerror or error}")
    good = not any(one.status == "failed" for one in checks)
    if as_json:
        print_json({"Passed": good, "Checks": [asdict(one) for one in checks]})
    else:
        _show(checks)
    return DONE if good else FAILED


async def _look(
    url: str,
    template: dict[str, object],
    mapped: list[Mapped] | None,
    story: Story | None,
    llm: LlmSettings,
    output: Path,
    allow_partial: bool,
) -> list[Check]:
    scenes = story if story is not None else Story(scenes=[STANDING_IN])
    made = on_no_server(template, scenes, mapped, prefix_of=lambda scene: f"preflight/{scene.id}") if template else []
    extra = [Check("graph", "warning", one) for one in (made[0].foreign if made else ())]
    if story is not None:
        extra += [Check("mapping", "warning", warning) for done in made for warning in done.warnings]
    async with ComfyClient(url) as client:
        found = await preflight(
            client,
            [done.graph for done in made],
            template=template,
            mapping=mapped,
            story=story,
            llm=llm if llm.url else None,
            output=output,
            allow_partial=allow_partial,
        )
    takes_pictures = not template or needs_keyframe(template, mapped)
    if story is not None and takes_pictures and any(scene.keyframe for scene in story.scenes):
        extra.append(await asyncio.to_thread(given_keyframes, story))
    return found + extra


def _show(checks: list[Check]) -> None:
    for one in checks:
        say(Styled(one.status, COLORS[one.status]), "  ", Styled(one.name, "bold"), "  ", one.found)
        if one.advice:
            say("         ", one.advice)
