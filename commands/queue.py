"""`run-recorder queue`: one graph under the queue policy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ..client.comfy_client import ComfyClient
from ..client.errors import ServerError
from ..client.urls import DEFAULT_URL
from ..runner.attempts import Attempt, Outcome, SceneRun, run_scene
from ..runner.keeping import keep_best
from ..runner.metadata import SCENE_ID, Written, write_checks, write_run
from ..runner.patching import placeholders_in
from ..runner.policy import Policy, PolicyError, resolve
from ..runner.run_folder import RunFolder
from ..runner.workflow import WorkflowError, read_workflow, unknown_classes
from ..telemetry.models.run_contract import plain
from ..telemetry.models.text import clean, count_of
from .output import BAD_USE, DONE, FAILED, INTERRUPTED, CommandError, fail, print_json
from .places import place
from .policy_options import (
    AllowPartial,
    FrameWait,
    Knob,
    MaxAttempts,
    MaxWait,
    PollInterval,
    PostExecution,
    RetryBudget,
    given_policy,
)
from .progress import showing
from .prompts import AsJson, Comfyui
from .server import Server, infos_of
from .terminal import say, tell


@dataclass(slots=True)
class _Job:
    graph: dict[str, Any]
    name: str
    output: Path
    folder: RunFolder | None
    policy: Policy
    wait_for_marker: bool
    allow_partial: bool
    stats: dict[str, Any]
    outcome: Outcome


def queue(
    context: typer.Context,
    workflow: Annotated[Path, typer.Argument(metavar="WORKFLOW.json", help="A graph in ComfyUI's API format.")],
    comfyui: Comfyui = DEFAULT_URL,
    output: Annotated[Path, typer.Option(help="Where the files go.")] = Path("output"),
    runs_dir: Annotated[Path | None, typer.Option(help="Also write a run's folder below this one.")] = None,
    fast_iteration: Annotated[bool, typer.Option("--fast-iteration", help="Short waits.")] = False,
    wait_for_done_marker: Annotated[
        bool, typer.Option("--wait-for-done-marker", help="Wait for a marker even where none is announced.")
    ] = False,
    allow_partial: AllowPartial = False,
    max_wait_seconds: MaxWait = None,
    history_poll_interval_seconds: PollInterval = None,
    history_max_attempts: MaxAttempts = None,
    post_execution_timeout_seconds: PostExecution = None,
    scene_retry_budget: RetryBudget = None,
    done_marker_timeout_seconds: Knob = None,
    stability_seconds: Knob = None,
    stability_retries: Knob = None,
    frame_wait_timeout_seconds: FrameWait = None,
    frame_floor: Knob = None,
    as_json: AsJson = False,
) -> int:
    """Queue a graph, follow it, collect its files, and print its telemetry; exit 0 if it succeeded, else 1."""
    try:
        policy = resolve(given_policy(context), fast_iteration=fast_iteration)
        graph = read_workflow(workflow, infos_of(comfyui))
    except PolicyError as error:
        fail("invalid_parameter", str(error))
    except WorkflowError as error:
        fail(error.kind, str(error))
    if found := placeholders_in(graph):
        fail(
            "template",
            f"{workflow} is a template ({', '.join(found)}): give it to `run`, or put values in their places",
        )
    output = place("--output", output)
    runs_dir = None if runs_dir is None else place("--runs-dir", runs_dir)
    job = _Job(graph, clean(workflow.stem), output, None, policy, wait_for_done_marker, allow_partial, {}, Outcome())
    try:
        asyncio.run(_run(Server(comfyui).url, job, runs_dir))
        frames = _finish(job)
    except (KeyboardInterrupt, asyncio.CancelledError):
        _finish(job)
        raise CommandError("interrupted", "interrupted", INTERRUPTED) from None
    except ServerError as error:
        fail(error.kind, str(error))
    except OSError as error:
        with contextlib.suppress(OSError):  # what is there is kept and recorded, as far as the disk lets us
            _finish(job)
        raise CommandError("io", f"{error.filename or output}: {error.strerror or error}", BAD_USE) from None
    return _told(job, frames, as_json=as_json)


async def _run(url: str, job: _Job, runs_dir: Path | None) -> None:
    async with ComfyClient(url, job.policy.limits()) as client:
        job.stats = await client.system_stats()
        unknown = unknown_classes(job.graph, await client.node_classes())
        if unknown:
            fail("unknown_node", "; ".join(unknown), FAILED)
        by_record = await client.has_recorder()
        job.output.mkdir(parents=True, exist_ok=True)
        if runs_dir is not None:
            job.folder = RunFolder.make(runs_dir)
            write_checks(job.folder, job.name, job.graph, job.stats)
        debug = job.folder.path / SCENE_ID if job.folder else job.output
        batch = {"run_id": job.folder.run_id, "scene_id": SCENE_ID} if job.folder else {}
        scene = SceneRun(job.graph, job.output, debug, job.wait_for_marker, batch, allow_partial=job.allow_partial)
        with showing() as say:
            await run_scene(client, job.policy, scene, job.outcome, say, by_record=by_record)


def _finish(job: _Job) -> list[str]:
    """Keep the best try's files and write the run's folder, after an interruption, too."""
    if not job.outcome.attempts or job.outcome.best.telemetry is None:
        return []
    kept = keep_best(job.outcome, job.output)
    if kept.note is not None:
        tell(f"warning: {kept.note}")
    if job.folder is not None:
        write_run(job.folder, job.policy, job.outcome, Written(job.name, kept.folder, kept.files))
    return kept.files


def _told(job: _Job, frames: list[str], *, as_json: bool) -> int:
    best = job.outcome.best
    if job.outcome.refused is not None:
        fail("refused", job.outcome.refused, FAILED)
    assert best.telemetry is not None
    for one in best.refused_part:
        tell(f"warning: refused: {one}")
    if as_json:
        telemetry = plain(best.telemetry)
        told = {"PromptId": best.prompt_id, "Success": best.success, "Files": frames, "Telemetry": telemetry}
        print_json({**told, "Error": _error(best)})
    else:
        for name in frames:
            say(name)
        for name, value in _in_lines(plain(best.telemetry)):
            say(f"{name}: {value}")
        if job.folder is not None:
            say(f"run: {job.folder.path}")
        say(f"succeeded: {count_of(len(frames), 'file')}" if best.success else "failed")
    if best.tracked.error:
        tell(f"run-recorder: {best.tracked.error}")
    return DONE if best.success else FAILED


def _in_lines(told: Mapping[str, Any], of: str = "") -> Iterator[tuple[str, object]]:
    """What is known of a run's telemetry, each figure by its name."""
    for name, value in told.items():
        if isinstance(value, Mapping):
            yield from _in_lines(value, f"{of}{name}.")
        elif value not in (None, []):
            yield f"{of}{name}", "; ".join(map(str, value)) if isinstance(value, list) else value


def _error(attempt: Attempt) -> dict[str, str | None] | None:
    """Why it failed: the exception's class, or a word for the end; null for a success."""
    if attempt.success:
        return None
    tracked = attempt.tracked
    kind = tracked.error_type or ("files" if tracked.end == "success" else tracked.end)
    return {
        "Type": kind,
        "Message": tracked.error or f"the prompt's end is {tracked.end}",
        "NodeId": tracked.error_node,
    }
