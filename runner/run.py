"""A whole run: a story's scenes over one or more servers, resumable at any moment, and what is made of them."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..telemetry.run_contract import SceneVideo
from ..telemetry.temporaries import sweep
from . import report, video
from .attempts import SceneRun
from .comfy_client import ComfyClient, ServerError
from .keyframes import make_keyframe, upload_keyframe
from .metadata import write_run_archive, write_run_files
from .patching import OUR_NODE, Mapped, patch, read_mapping
from .plan import MAPPING, STORY, WORKFLOW, Plan, PlanError, read_plan, shown, write_plan
from .policy import Policy
from .pool import Pool, Verdict, Work
from .run_folder import METADATA, SUMMARY, RunFolder, write_atomically
from .scene_job import SceneJob
from .scene_record import SceneAsked
from .story import Scene, Story, read_story, seed_of
from .summary import read_summary
from .validate import Findings, validate_files, validate_run
from .workflow import read_workflow

LOCK = ".run.lock"
KEYFRAME, KEYFRAME_FIELD, KEYFRAME_NAME = "__KEYFRAME_IMAGE__", "keyframe", "keyframe"
DEFAULT_SIZE = (512, 512)
Say = Callable[[str, str], None]
"""Who speaks (a server, or a scene on it), and what it says."""


@dataclass(slots=True)
class Server:
    """A server in use."""

    client: ComfyClient
    by_record: bool = False
    classes: set[str] = field(default_factory=set)
    asked: bool = False

    async def up(self) -> bool:
        """Whether it answers; what it has is asked once."""
        try:
            await self.client.system_stats()
            if not self.asked:
                self.by_record = await self._has_recorder()
                self.classes = await self.client.node_classes()
                self.asked = True
        except ServerError:
            self.asked = False
            return False
        return True

    async def _has_recorder(self) -> bool:
        with contextlib.suppress(ServerError):  # our routes may want a token that we don't have
            return await self.client.has_recorder()
        return False


@dataclass(slots=True)
class Run:
    """A run that was begun, now or before."""

    folder: RunFolder
    plan: Plan
    story: Story
    template: Mapping[str, Any]
    policy: Policy
    jobs: list[SceneJob]
    mapping: list[Mapped] | None = None
    servers: list[str] = field(default_factory=list)
    """Those of the plan that it is to use."""
    lock: FileLock | None = None

    @property
    def succeeded(self) -> bool:
        """Whether every scene has succeeded."""
        return all(job.done for job in self.jobs)

    def close(self) -> None:
        """Let others have the run."""
        if self.lock is not None:
            self.lock.release()


def begin(
    runs: Path, plan: Plan, story: Story, workflow: Mapping[str, Any], mapping: Path | None, place: Path | None = None
) -> Run:
    """Make a run's folder with all that is needed to go on with it. Raises OSError.

    The keyframes that the story gives, relative to `place`, are copied; null: it gives none.
    """
    folder = RunFolder.make(runs)
    lock = _locked(folder.path)
    write_atomically(folder.path / STORY, story.model_dump_json(indent=2) + "\n")
    if mapping is not None:
        plan.Mapping = MAPPING + mapping.suffix
        shutil.copyfile(mapping, folder.path / plan.Mapping)
    if place is not None and needs_keyframe(workflow, read_mapping(mapping) if mapping else None):
        _copy_keyframes(folder, story, place)
    write_plan(folder.path, plan, workflow)
    return _run(folder, plan, story, workflow, lock)


def _copy_keyframes(folder: RunFolder, story: Story, place: Path) -> None:
    for scene in story.scenes:
        if scene.keyframe:
            given = place / scene.keyframe
            target = folder.path / scene.id / f"{KEYFRAME_NAME}{given.suffix.lower()}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(given, target)


def resume(path: Path, change: Callable[[Plan], None]) -> Run:
    """Go on with a run; `change` may alter its plan. Raises PlanError, and what reading its files raises."""
    plan = read_plan(path)
    folder = RunFolder.of(path)
    lock = _locked(folder.path)
    change(plan)
    write_plan(folder.path, plan)
    sweep(folder.path, recursive=True)
    run = _run(folder, plan, read_story(folder.path / STORY), read_workflow(folder.path / WORKFLOW), lock)
    for job in run.jobs:
        job.load()
    return run


def _locked(folder: Path) -> FileLock:
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise PlanError("busy", f"{folder} is being worked on by another process") from None
    return lock


def _run(folder: RunFolder, plan: Plan, story: Story, workflow: Mapping[str, Any], lock: FileLock) -> Run:
    policy = plan.policy()
    mapping = read_mapping(folder.path / plan.Mapping) if plan.Mapping else None
    jobs = [_job(folder, policy, scene) for scene in story.scenes]
    return Run(folder, plan, story, workflow, policy, jobs, mapping, list(plan.Servers), lock)


def _job(folder: RunFolder, policy: Policy, scene: Scene) -> SceneJob:
    """A scene's own floor is the number of frames that it expects, where nobody gave one."""
    if policy.sources["frame_floor"] == "default" and scene.expected_frames:
        policy = Policy({**policy.values, "frame_floor": scene.expected_frames}, policy.sources)
    asked = SceneAsked(scene.id, scene.title or scene.id, scene.prompt, scene.negative_prompt or None)
    return SceneJob(asked, policy, folder.path / scene.id)


# ---------------------------------------------------------------- the scenes


async def render(run: Run, say: Say) -> None:
    """Do what is not done yet. Raises OSError where the disk stops it; each job then says how it stands, too."""
    missing = [job for job in run.jobs if not job.done]
    scenes = {scene.id: scene for scene in run.story.scenes}
    async with AsyncExitStack() as stack:
        servers: dict[str, Server] = {}
        for url in run.servers:
            servers[shown(url)] = Server(await stack.enter_async_context(ComfyClient(url)))

        async def work(name: str, scene: Work) -> Verdict:
            assert isinstance(scene, SceneJob)
            say(f"{scene.name} on {name}", "begun")
            await _render(run, servers[name], scene, scenes[scene.name], say)
            verdict: Verdict = "done" if scene.done else "failed"
            say(f"{scene.name} on {name}", verdict)
            return verdict

        async def up(name: str) -> bool:
            return await servers[name].up()

        async def back(name: str) -> None:
            await _cancel_strays(run, servers[name].client, name)

        patience = float(run.policy["max_wait_seconds"])
        pool = Pool(servers, missing, work, up, back, say, patience=patience, fail_fast=run.plan.FailFast)
        why = "the run was interrupted"
        try:
            await pool.run()
            why = pool.why or "its server has gone, and so had those before it"
        finally:
            for job in missing:
                if job.record is None:
                    job.end(why)


async def _render(run: Run, server: Server, job: SceneJob, scene: Scene, say: Say) -> None:
    prefix, keyframe = prefix_of(run, scene), None
    if needs_keyframe(run.template, run.mapping):
        picture = await _keyframe(run, scene)
        keyframe = await upload_keyframe(server.client, picture, run.folder.run_id, scene.id)
        job.asked = replace(job.asked, keyframe=picture.relative_to(run.folder.path).as_posix())
    add = run.plan.AddMarker and OUR_NODE in server.classes
    patched = patch(
        run.template,
        scene,
        prefix=prefix,
        seed=seed_of(run.story, scene),
        keyframe=keyframe,
        mapping=run.mapping,
        add_marker=add,
    )
    job.asked = replace(
        job.asked,
        prefix=prefix if prefix in str(patched.graph) else None,
        prefix_is_ours=patched.prefixes_ours,
        warnings=tuple(patched.warnings),
    )
    graph = SceneRun(
        graph=patched.graph,
        output=job.folder,
        debug_folder=job.folder,
        batch={"run_id": run.folder.run_id, "scene_id": scene.id},
        prefix=prefix if patched.prefixes_ours else None,
    )

    def tell(text: str) -> None:
        say(f"{scene.id} on {shown(server.client.url)}", text)

    await job.run(server.client, graph, by_record=server.by_record, say=tell)


def prefix_of(run: Run, scene: Scene) -> str:
    """Under which a scene's files are saved on the server: no other run's are there."""
    return f"{run.folder.run_id}_{scene.id}"


def needs_keyframe(template: Mapping[str, Any], mapping: list[Mapped] | None) -> bool:
    """Whether a template has a place for a picture."""
    return KEYFRAME in str(template) or any(one.field == KEYFRAME_FIELD for one in mapping or ())


async def _keyframe(run: Run, scene: Scene) -> Path:
    """The scene's picture in the run's folder: the given one, or one that is made."""
    folder = run.folder.path / scene.id
    given = sorted(folder.glob(f"{KEYFRAME_NAME}.*"))
    if given:
        return given[0]
    folder.mkdir(parents=True, exist_ok=True)
    return await asyncio.to_thread(make_keyframe, scene, _size(run.template), folder / f"{KEYFRAME_NAME}.png")


def _size(template: Mapping[str, Any]) -> tuple[int, int]:
    """The workflow's: that of the first node that has a width and a height in pixels."""
    for node in template.values():
        inputs = node.get("inputs") or {}
        width, height = inputs.get("width"), inputs.get("height")
        if isinstance(width, int) and isinstance(height, int) and min(width, height) > 0:
            return width, height
    return DEFAULT_SIZE


async def _cancel_strays(run: Run, client: ComfyClient, name: str) -> None:
    """A server that was gone has prompts, perhaps, whose scenes others have taken meanwhile."""
    for job in run.jobs:
        for one in job.earlier:
            if one.get("Server") == name and not one.get("Success") and one is not job.open_try:
                with contextlib.suppress(ServerError):
                    await client.cancel(one["PromptId"])


# ---------------------------------------------------------------- after them


def finish(run: Run) -> Findings:
    """Write the run's files from its scenes, whole or not, and check them. Raises OSError."""
    for job in run.jobs:
        if job.record is None:
            job.end("the run was interrupted")
    scenes = []
    for job in run.jobs:
        assert job.record is not None
        film = job.record.Video or _video(run, job)
        scenes.append(job.record.model_copy(update={"Video": film}))
    metadata = write_run_files(run.folder, run.policy, run.plan.Story, scenes)
    summary = read_summary((run.folder.path / SUMMARY).read_text("utf-8").splitlines())
    found = validate_files(summary, (run.folder.path / METADATA).read_text("utf-8"))
    write_atomically(run.folder.path / report.REPORT, report.render(metadata, run.policy, run.folder.path, found))
    write_run_archive(run.folder, succeeded=run.succeeded)
    return validate_run(run.folder.path)


def _video(run: Run, job: SceneJob) -> SceneVideo:
    assert job.record is not None
    return video.make(run.folder.path, job.record) if job.done else video.missing("the scene has not succeeded")
