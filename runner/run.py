"""A whole run: a story's scenes over one or more servers, resumable at any moment, and what is made of them."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..client.comfy_client import ComfyClient
from ..client.errors import ServerError
from ..telemetry.files.temporaries import sweep
from ..telemetry.models.run_contract import SceneVideo
from . import video
from .attempts import SceneRun
from .left_behind import check_tree
from .metadata import write_run_archive, write_run_files
from .patching import OUR_NODE, Mapped, read_mapping
from .plan import MAPPING, STORY, WORKFLOW, Plan, PlanError, read_plan, write_plan
from .policy import Policy
from .pool import Pool, Verdict, Work
from .proof import NoRoomError
from .report import REPORT
from .report import render as render_report
from .report_template import ReportTemplate, ReportTemplateError
from .run_folder import METADATA, SUMMARY, RunFolder, write_atomically
from .scene_graph import SceneGraph, copy_keyframes, needs_keyframe
from .scene_job import SceneJob
from .scene_record import SceneAsked
from .story import Scene, Story, read_story, seed_of
from .summary import read_summary
from .validate import Findings, validate_files, validate_run
from .workflow import read_workflow

LOCK = ".run.lock"
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
    trusted: frozenset[str] | None = None
    """The servers that get the token; null: all of them, which the command line named."""
    report_template: ReportTemplate | None = None
    """A studio's own; null for ours. It isn't kept in the run's folder, which may come from somebody else."""
    report_trouble: str | None = None
    """Why the report was made with our template in the place of a studio's; null where it wasn't."""

    def prefix_of(self, scene: Scene) -> str:
        """Under which a scene's files are saved on the server, where the workflow lets us say."""
        return f"{self.plan.Prefix or self.folder.run_id}_{scene.id}"

    def client(self, url: str) -> ComfyClient:
        """A client of one of its servers, which has the token where that server may."""
        return ComfyClient(url, self.policy.limits(), trusted=self.trusted is None or url in self.trusted)

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
    plan.Prefix = f"{folder.run_id}-{secrets.token_hex(2)}"  # the id alone is another's, too, in another runs folder
    with _locked(folder.path) as lock:
        write_atomically(folder.path / STORY, story.model_dump_json(indent=2) + "\n")
        if mapping is not None:
            plan.Mapping = MAPPING + mapping.suffix
            shutil.copyfile(mapping, folder.path / plan.Mapping)
        if place is not None and needs_keyframe(workflow, read_mapping(mapping) if mapping else None):
            copy_keyframes(folder, story, place)
        write_plan(folder.path, plan, workflow)
        return _run(folder, plan, story, workflow, lock)


def resume(path: Path, change: Callable[[Plan], None]) -> Run:
    """Go on with a run; `change` may alter its plan. Raises PlanError, and what reading its files raises."""
    folder = RunFolder.of(path)
    plan = read_plan(folder.path)
    check_tree(folder.path)
    with _locked(folder.path) as lock:
        change(plan)
        write_plan(folder.path, plan)
        sweep(folder.path, recursive=True)
        run = _run(folder, plan, read_story(folder.path / STORY), read_workflow(folder.path / WORKFLOW), lock)
        for job in run.jobs:
            job.load()
        return run


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[FileLock]:
    """The run's lock, which the run keeps unless this fails."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
        yield lock
    except Timeout:
        raise PlanError("busy", f"{folder} is being worked on by another process") from None
    except BaseException:
        lock.release()
        raise


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
            servers[url] = Server(await stack.enter_async_context(run.client(url)))

        async def work(name: str, scene: Work) -> Verdict:
            assert isinstance(scene, SceneJob)
            who = f"{scene.name} on {name}"
            say(who, "begun")
            try:
                await _render(run, servers[name], scene, scenes[scene.name], lambda text: say(who, text))
            except ServerError as error:  # before its prompt was there, or was found again
                scene.trouble, scene.losses = str(error), scene.losses + 1
                say(who, str(error))
                return "lost"
            except NoRoomError as error:  # what one server names too much of is no other's fault
                scene.trouble = str(error.strerror)
            verdict: Verdict = "done" if scene.done else "failed"
            say(who, verdict)
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
                    job.end(job.trouble or why)


async def _render(run: Run, server: Server, job: SceneJob, scene: Scene, say: Callable[[str], None]) -> None:
    """One scene on one server. Raises ServerError where it can't even be begun there."""
    prefix = run.prefix_of(scene)
    makes = SceneGraph(run.template, run.mapping, run.folder, seed_of(run.story, scene), prefix)
    patched = await makes.on(server.client, scene, add_marker=run.plan.AddMarker and OUR_NODE in server.classes)
    job.asked = replace(
        job.asked,
        prefix=prefix if prefix in str(patched.graph) else None,
        prefix_is_ours=patched.prefixes_ours,
        keyframe=makes.keyframe,
        warnings=tuple(patched.warnings),
    )
    graph = SceneRun(
        graph=patched.graph,
        output=job.folder,
        debug_folder=job.folder,
        batch={"run_id": run.folder.run_id, "scene_id": scene.id},
        prefix=prefix if patched.prefixes_ours else None,
        allow_partial=run.plan.AllowPartial,
    )
    await job.run(server.client, graph, by_record=server.by_record, say=say)


async def _cancel_strays(run: Run, client: ComfyClient, name: str) -> None:
    """A server that was gone has prompts, perhaps, whose scenes others have taken meanwhile."""
    for job in run.jobs:
        for one in job.earlier:
            if one.get("Server") == name and not one.get("Success") and one is not job.open_try:
                with contextlib.suppress(ServerError):
                    await client.cancel(one["PromptId"])


# ---------------------------------------------------------------- after them


def finish(run: Run) -> Findings:
    """Write the run's files from its scenes, whole or not, and check them. Raises OSError.

    Where a studio's template fails, `report_trouble` says why, and the report is made with ours.
    """
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
    run.report_trouble = None
    try:
        page = render_report(metadata, run.policy, run.folder.path, found, run.report_template)
    except ReportTemplateError as error:
        run.report_trouble = f"the report is made with our own template: {error}"
        page = render_report(metadata, run.policy, run.folder.path, found)
    write_atomically(run.folder.path / REPORT, page)
    write_run_archive(run.folder, succeeded=run.succeeded)
    return validate_run(run.folder.path)


def _video(run: Run, job: SceneJob) -> SceneVideo:
    assert job.record is not None
    return video.make(run.folder.path, job.record) if job.done else video.missing("the scene has not succeeded")
