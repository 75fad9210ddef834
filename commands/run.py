"""`run-recorder run`: a story to its scenes, and what proves that they are whole."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from ..client.comfy_client import ComfyClient
from ..client.errors import ServerError
from ..client.urls import DEFAULT_URL
from ..runner import preparing
from ..runner import run as runs
from ..runner.keyframes import KeyframeError
from ..runner.llm_settings import SettingError
from ..runner.patching import PatchError, read_mapping
from ..runner.plan import Plan, PlanError
from ..runner.policy import Given, Policy, PolicyError, resolve
from ..runner.preparing import PreparingError, Source
from ..runner.report import REPORT
from ..runner.report_template import ReportTemplateError, our_template, read_template
from ..runner.story import StoryError
from ..runner.validate import Findings, UncheckableError
from ..runner.workflow import WorkflowError, read_workflow
from ..telemetry.models.run_contract import Scene
from ..telemetry.process.settings import TOKEN
from ..telemetry.process.token import TokenError, token_of
from .output import BAD_USE, DONE, FAILED, INTERRUPTED, CommandError, fail, print_json, table
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
from .prompts import AsJson
from .server import Server, infos_of
from .terminal import say, status, tell

NEWS_SECONDS = 0.1
"""The line that is written over shows news at most so often."""
LASTING = ("begun", "done", "failed")
"""What is said of a scene and stays on the screen."""


@dataclass(slots=True)
class Asked:
    """What the command line asks for."""

    servers: list[str]
    source: Source
    workflow: Path | None
    runs_dir: Path
    mapping: Path | None = None
    resume: Path | None = None
    knobs: Given = field(default_factory=dict)
    fast_iteration: bool = False
    add_marker: bool = True
    fail_fast: bool = False
    allow_partial: bool = False
    trust_servers: bool = False
    report_template: Path | None = None
    """A studio's own; null for ours."""


def run(
    context: typer.Context,
    comfyui: Annotated[
        list[str] | None,
        typer.Option("--comfyui", envvar="COMFYUI_URL", help="A server; several may be given, and share the scenes."),
    ] = None,
    story: Annotated[Path | None, typer.Option(help="A story file, JSON or YAML.")] = None,
    idea: Annotated[str | None, typer.Option(help="What a story is to be written about.")] = None,
    workflow: Annotated[Path | None, typer.Option(help="The template, a graph in ComfyUI's API format.")] = None,
    mapping: Annotated[Path | None, typer.Option(help="Which field of a scene goes into which input.")] = None,
    scenes: Annotated[int, typer.Option(min=1, max=1000, help="How many scenes an idea is to have.")] = 3,
    seed: Annotated[int, typer.Option(help="The same seed makes the same story of an idea.")] = 0,
    runs_dir: Annotated[Path, typer.Option(help="Where the run's folder is made.")] = Path("runs"),
    resume: Annotated[Path | None, typer.Option(metavar="RUN_DIR", help="Go on with this run instead.")] = None,
    trust_servers: Annotated[
        bool,
        typer.Option("--trust-servers", help="With --resume: send the token also to servers that only RUN_DIR names."),
    ] = False,
    fast_iteration: Annotated[bool, typer.Option("--fast-iteration", help="Short waits.")] = False,
    llm: Annotated[
        str,
        typer.Option(help="`required`: a model that is set has to be there; `optional`: else a template."),
    ] = "required",
    skip_llm_healthcheck: Annotated[
        bool, typer.Option("--skip-llm-healthcheck", help="Don't ask the language model how it is.")
    ] = False,
    report_template: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A Jinja template for the run's report, in the place of ours.")
    ] = None,
    no_add_marker: Annotated[
        bool, typer.Option("--no-add-marker", help="Add no Write Done Marker to a graph without one.")
    ] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="The first scene that fails ends the run.")] = False,
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
    """Render every scene of a story, and leave a run's folder that validates; exit 0 if all succeeded, else 1."""
    if llm not in ("required", "optional"):
        fail("invalid_parameter", f"--llm is {llm!r}: required or optional is accepted")
    _check_use(resume=resume, story=story, idea=idea, workflow=workflow, mapping=mapping)
    given = Asked(
        servers=[Server(url).url for url in comfyui or []],
        source=Source(story, idea, scenes, seed, llm == "required", skip_llm_healthcheck),
        workflow=workflow,
        mapping=mapping,
        runs_dir=place("--runs-dir", runs_dir),
        resume=None if resume is None else place("--resume", resume),
        knobs=given_policy(context),
        fast_iteration=fast_iteration,
        add_marker=not no_add_marker,
        fail_fast=fail_fast,
        allow_partial=allow_partial,
        trust_servers=trust_servers,
        report_template=report_template,
    )
    with _ended_by_sigterm(), told_errors(given):
        return _run(given, as_json=as_json)


def _check_use(*, resume: Path | None, **rest: Any) -> None:
    """Which options stand together."""
    named = [f"--{name}" for name, value in rest.items() if value is not None]
    if resume is not None:
        if named:
            fail("invalid_parameter", f"{named[0]} beside --resume: a run goes on as it was begun")
        return
    if ("--story" in named) == ("--idea" in named):
        fail("invalid_parameter", "one of --story FILE and --idea TEXT is needed")
    if "--workflow" not in named:
        fail("invalid_parameter", "--workflow FILE is needed: the template of every scene's graph")


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """As by Ctrl-C: what was queued is cancelled, and the run's files are written."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def told_errors(given: Asked) -> Iterator[None]:
    """What a run raises, as a command's error. Raises CommandError."""
    try:
        yield
    except (PolicyError, SettingError, TokenError) as error:
        fail("invalid_parameter", str(error))
    except (WorkflowError, PatchError, KeyframeError, PlanError, ReportTemplateError, ServerError) as error:
        fail(error.kind, str(error))
    except StoryError as error:
        fail(error.kind, "; ".join(error.mistakes) or str(error))
    except PreparingError as error:
        fail(error.kind, str(error), error.exit_code)
    except UncheckableError as error:
        fail("io", str(error), FAILED)
    except OSError as error:
        raise CommandError("io", f"{error.filename or given.runs_dir}: {error.strerror or error}", BAD_USE) from None


def _run(given: Asked, *, as_json: bool) -> int:
    with going(given) as (begun, found):
        return _told(begun, found, as_json=as_json)


@contextlib.contextmanager
def going(given: Asked) -> Iterator[tuple[runs.Run, Findings]]:
    """Do a run, and lend it with what its validation found. Raises CommandError where it was interrupted."""
    try:
        begun, warnings = _interruptible(_begin(given))
    except _InterruptedError:
        raise CommandError("interrupted", "interrupted", INTERRUPTED) from None
    try:
        for line in warnings:
            tell(f"warning: {line}")
        tell(f"run {begun.folder.run_id} in {begun.folder.path}")
        yield begun, _whole(begun)
    finally:
        begun.close()


def _whole(begun: runs.Run) -> Findings:
    """Render, and write the run's files, as far as that goes. Raises CommandError that says how to go on."""
    hint = f"run-recorder run --resume {begun.folder.path}"
    try:
        try:
            with _progress(begun) as say:
                _interruptible(runs.render(begun, say))
        except _InterruptedError:
            runs.finish(begun)
            raise
        except Exception:
            with contextlib.suppress(OSError):  # what is there is kept and recorded, as far as the disk lets us
                runs.finish(begun)
            raise
        return runs.finish(begun)
    except _InterruptedError:
        raise CommandError("interrupted", f"interrupted; to go on: {hint}", INTERRUPTED) from None
    except OSError as error:
        where = f"{error.filename or begun.folder.path}: {error.strerror or error}"
        raise CommandError("io", f"{where}; what is rendered is kept, to go on: {hint}", BAD_USE) from None


class _InterruptedError(Exception):
    """Ctrl-C, or a signal to end."""


def _interruptible(work: Any) -> Any:
    try:
        return asyncio.run(work)
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise _InterruptedError from None


async def _begin(given: Asked) -> tuple[runs.Run, list[str]]:
    """A run that may start: its story is told, its graph is patched once, and a server has all that it needs."""
    template = our_template() if given.report_template is None else read_template(given.report_template)
    if given.resume is not None:
        begun = runs.resume(given.resume, lambda plan: _change(plan, given))
        begun.trusted = None if given.trust_servers else frozenset(given.servers)
    else:
        begun = await _new(given)
    begun.report_template = template
    try:
        if begun.succeeded:
            return begun, []  # its files are all that is left to be written
        answer = await preparing.answering(begun.plan.Servers, begun.client)
        return begun, [*_untold(begun), *await preparing.check_servers(begun, answer)]
    except BaseException:
        begun.close()
        raise


def _untold(begun: runs.Run) -> list[str]:
    """A note for each server that would get the token on the word of the run's folder alone."""
    if begun.trusted is None or token_of() is None:
        return []
    advice = "name it with --comfyui, or give --trust-servers"
    return [
        f"{TOKEN} is not sent to {url}, which only the run's folder names; {advice}"
        for url in begun.plan.Servers
        if url not in begun.trusted
    ]


async def _new(given: Asked) -> runs.Run:
    policy = resolve(given.knobs, fast_iteration=given.fast_iteration)
    assert given.workflow is not None
    template = read_workflow(given.workflow, infos_of((given.servers or [DEFAULT_URL])[0]))
    mapping = read_mapping(given.mapping) if given.mapping is not None else None
    servers = given.servers or [DEFAULT_URL]
    told = await preparing.tell_story(given.source)
    place = given.source.file.parent if given.source.file is not None else Path()
    preparing.try_scenes(template, told.story, mapping, place)
    await preparing.answering(servers, lambda url: ComfyClient(url, policy.limits()))
    plan = Plan(
        Servers=servers,
        Knobs=dict(policy.values),
        Sources=dict(policy.sources),
        AddMarker=given.add_marker,
        FailFast=given.fail_fast,
        AllowPartial=given.allow_partial,
        Story=told.summary,
    )
    return runs.begin(given.runs_dir, plan, told.story, template, given.mapping, place)


def _change(plan: Plan, given: Asked) -> None:
    """What is given anew beats what the run was begun with. Raises PolicyError."""
    plan.Servers = given.servers or plan.Servers
    plan.FailFast = plan.FailFast or given.fail_fast
    plan.AllowPartial = plan.AllowPartial or given.allow_partial
    knobs: dict[str, Any] = {}
    for name, (value, source) in given.knobs.items():
        old = plan.Knobs.get(name), plan.Sources.get(name, "default")
        if value is not None:
            knobs[name] = value, source
        elif not (given.fast_iteration and old[1] == "default"):
            knobs[name] = old
    policy: Policy = resolve(knobs, fast_iteration=given.fast_iteration)
    plan.Knobs, plan.Sources = dict(policy.values), dict(policy.sources)


@contextlib.contextmanager
def _progress(begun: runs.Run) -> Iterator[Callable[[str, str], None]]:
    """Scenes as they begin and end on lines of their own, the rest on one that is written over."""
    scenes = len(begun.jobs)
    done, said = sum(job.done for job in begun.jobs), 0.0
    with status(f"{done} of {scenes} scenes") as show:

        def say(who: str, what: str) -> None:
            nonlocal done, said
            done += what == "done"
            if what in LASTING or " on " not in who:
                tell(f"{who}: {what}")
            if time.monotonic() - said >= NEWS_SECONDS:
                said = time.monotonic()
                show(f"{done} of {scenes} scenes; {who}: {what}")

        yield say


def _told(begun: runs.Run, found: Findings, *, as_json: bool) -> int:
    if begun.report_trouble is not None:
        tell(f"warning: {begun.report_trouble}")
    if as_json:
        print_json(run_document(begun, found))
    else:
        show_run(begun, found)
    return DONE if begun.succeeded and found.passed else FAILED


def run_document(begun: runs.Run, found: Findings) -> dict[str, Any]:
    """A run as one JSON document."""
    return {
        "RunId": begun.folder.run_id,
        "RunDir": str(begun.folder.path),
        "Success": begun.succeeded and found.passed,
        "Scenes": [_scene(job.record) for job in begun.jobs if job.record is not None],
        "Report": str(begun.folder.path / REPORT),
        "Archive": str(begun.folder.archive),
        "Validation": {"Passed": found.passed, "Errors": found.errors, "Warnings": found.warnings},
        "Error": _error(begun, found),
    }


def _error(begun: runs.Run, found: Findings) -> dict[str, str | None] | None:
    """Why it failed, in a sentence; each scene has its own reasons. Null for a success."""
    failed = [job.record for job in begun.jobs if job.record is not None and not job.record.Success]
    if failed:
        first = f"{failed[0].SceneId}: {'; '.join(failed[0].Errors) or 'it has not succeeded'}"
        message = f"{len(failed)} of {len(begun.jobs)} scenes have not succeeded; {first}"
        return {"Type": "scenes", "Message": message, "NodeId": None}
    if found.errors:
        return {"Type": "validation", "Message": "; ".join(found.errors), "NodeId": None}
    return None


def _scene(scene: Scene) -> dict[str, Any]:
    names = ("SceneId", "Success", "FrameCount", "AttemptsRun", "DurationSeconds", "GeneratedFramesDir", "Errors")
    return {name: getattr(scene, name) for name in names}


def show_run(begun: runs.Run, found: Findings) -> None:
    """A run's scenes as a table, where its report is, and what the validation says."""
    scenes = [job.record for job in begun.jobs if job.record is not None]
    rows = [{**_scene(scene), "Success": "yes" if scene.Success else "; ".join(scene.Errors)} for scene in scenes]
    columns = {"SceneId": "scene", "Success": "succeeded", "FrameCount": "frames", "AttemptsRun": "tries"}
    table(str(begun.folder.path), rows, {**columns, "DurationSeconds": "seconds"})
    say(f"report: {begun.folder.path / REPORT}")
    say(f"run-summary validation: {'PASS' if found.passed else 'FAIL'}")
    for line in found.errors:
        say(f"ERROR: {line}")
    if not begun.succeeded:
        tell(f"to go on: run-recorder run --resume {begun.folder.path}")
