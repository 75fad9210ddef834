"""One scene: tries within its budget, each collected apart, and the best of them kept."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..client.comfy_client import ComfyClient
from ..client.errors import RefusedError, ServerError
from ..client.limits import MOST_TEXT
from ..client.prompt_figures import PromptFigures
from ..telemetry.files.temporaries import temporary_name
from ..telemetry.models.run_contract import SceneTelemetry
from ..telemetry.models.text import clean
from ..telemetry.record.refusals import FaultyNode
from .collect import Collector
from .collected import Collected
from .disk import output_folder
from .patching import OUR_NODE, under_another_prefix
from .policy import Policy
from .telemetry import scene_telemetry
from .track import Tracked, Tracker, now

FRAMES = "generated-frames"
RETRIED = ("error", "maxWait", "attemptLimit", "lost")
GIVEN_UP = ("maxWait", "attemptLimit")
"""The prompt may still be there, and nobody will collect it."""
MOST_NAMED, MOST_NAME = 10, 200
"""Files that an error names, and characters of each name."""
GONE_SECONDS = 30.0
"""How long an earlier prompt that was cancelled is waited for before the next try."""


@dataclass(slots=True)
class Attempt:
    """One try of a scene."""

    number: int
    prompt_id: str
    folder: Path
    tracked: Tracked = field(default_factory=Tracked)
    collected: Collected = field(default_factory=Collected)
    telemetry: SceneTelemetry | None = None
    success: bool = False
    requeue_reason: str | None = None
    refused_part: list[FaultyNode] = field(default_factory=list)
    """What ComfyUI refused of the graph, while it ran the rest."""


@dataclass(slots=True)
class Outcome:
    """All tries of a scene. `interrupted`: the runner was told to stop."""

    attempts: list[Attempt] = field(default_factory=list)
    refused: str | None = None
    interrupted: bool = False

    @property
    def best(self) -> Attempt:
        """The one that succeeded, else the one with most frames, else the latest."""
        return max(self.attempts, key=lambda one: (one.success, len(one.collected.files), one.number))


@dataclass(frozen=True, slots=True)
class SceneRun:
    """What is run, and where its files go."""

    graph: Mapping[str, Any]
    output: Path
    debug_folder: Path
    wait_for_marker: bool = False
    batch: Mapping[str, Any] = field(default_factory=dict)
    prefix: str | None = None
    """What every saver's prefix comes from, where that is ours: another try then saves under another."""
    keep_attempts: bool = False
    """Each try is collected into a folder that stays, `generated-frames-attempt-N`; else into a hidden one."""
    first: int = 1
    """The number of the first try here: more than 1 where there were others before."""
    last: int | None = None
    """The number of the last; null: as many as the budget gives."""
    known: str | None = None
    """The id of a prompt that the server has already: the first try follows it, and posts nothing."""
    allow_partial: bool = False
    """An output that the server refuses is a warning, and the others are run; else it is the end of the scene."""
    noted: Callable[[Attempt], None] | None = None
    """Told of each try before its prompt is posted, so that its id outlives this process."""


async def run_scene(
    client: ComfyClient,
    policy: Policy,
    scene: SceneRun,
    outcome: Outcome,
    say: Callable[[str], None],
    *,
    by_record: bool,
) -> None:
    """Try until it succeeds, is final, or the budget is spent. `outcome` is whole after a cancellation, too.

    `by_record`: the server has our routes.
    """
    last = scene.last if scene.last is not None else scene.first + policy["scene_retry_budget"]
    for number in range(scene.first, last + 1):
        attempt = Attempt(number, str(uuid.uuid4()), scene.output / _folder(scene, number))
        outcome.attempts.append(attempt)
        try:
            await _try(client, policy, scene, attempt, by_record, say)
        except RefusedError as error:
            outcome.refused = attempt.tracked.error = str(error)
            attempt.tracked.end = "refused"
            return
        except ServerError as error:
            attempt.tracked.end, attempt.tracked.error = "lost", str(error)
            attempt.tracked.trouble(str(error))
        except asyncio.CancelledError:
            outcome.interrupted = True
            raise
        _keep_one_history(outcome)
        if attempt.success or not _may_be_tried_again(scene, attempt):
            return
        word = "frames" if attempt.tracked.end == "success" else attempt.tracked.end
        attempt.requeue_reason = f"{word}: {attempt.tracked.error}"
        if number < last:
            say(f"attempt {number}: {attempt.requeue_reason}; trying again")
            await _until_gone(client, attempt.prompt_id)
        elif attempt.tracked.end in GIVEN_UP:
            with contextlib.suppress(ServerError):
                await client.cancel(attempt.prompt_id)


def _keep_one_history(outcome: Outcome) -> None:
    """Of a scene's tries only the best one's is written; each may have megabytes."""
    for attempt in outcome.attempts:
        if attempt is not outcome.best:
            attempt.tracked.history = None


def _folder(scene: SceneRun, number: int) -> str:
    return f"{FRAMES}-attempt-{number}" if scene.keep_attempts else f"{temporary_name()}-attempt-{number}"


def _may_be_tried_again(scene: SceneRun, attempt: Attempt) -> bool:
    """Too few files after a success come from the cache again, unless they may be saved under another prefix."""
    if attempt.tracked.end == "success":
        return scene.prefix is not None and not attempt.collected.refused and not attempt.refused_part
    return attempt.tracked.end in RETRIED


def _graph(scene: SceneRun, number: int) -> Mapping[str, Any]:
    """The graph of a try. ComfyUI answers an unchanged one from its cache, and writes nothing."""
    if scene.prefix is None or number == 1:
        return scene.graph
    return under_another_prefix(scene.graph, scene.prefix, prefix_of_try(scene.prefix, number))


def prefix_of_try(prefix: str, number: int) -> str:
    """Under which a try saves, where the prefix is ours."""
    return prefix if number == 1 else f"{prefix}-attempt-{number}"


async def _try(
    client: ComfyClient, policy: Policy, scene: SceneRun, attempt: Attempt, by_record: bool, say: Callable[[str], None]
) -> None:
    figures = PromptFigures(client, by_record=by_record)
    await figures.before()
    start, began = now(), time.monotonic()
    try:
        await _track_and_collect(client, policy, scene, attempt, by_record, say, figures)
    except asyncio.CancelledError:
        attempt.tracked.error = attempt.tracked.error or "the runner was interrupted"
        with contextlib.suppress(ServerError):
            await client.cancel(attempt.prompt_id)
            await figures.of_record(attempt.prompt_id)
        raise
    except RefusedError as error:
        attempt.tracked.error = str(error)
        await figures.never_queued()
        raise
    except OSError as error:
        attempt.tracked.error = f"the files could not be collected: {error.strerror or error}"
        raise
    finally:
        if scene.allow_partial:
            attempt.collected.notes += [f"refused: {one}" for one in attempt.refused_part[:MOST_NAMED]]
        times = figures.found.times or (start, now(), time.monotonic() - began)
        attempt.telemetry = scene_telemetry(policy, attempt.tracked, attempt.collected, figures.found, times)


async def _track_and_collect(
    client: ComfyClient,
    policy: Policy,
    scene: SceneRun,
    attempt: Attempt,
    by_record: bool,
    say: Callable[[str], None],
    figures: PromptFigures,
) -> None:
    """The figures from after the end and the history are asked for while files are collected."""
    extra = {"run_recorder": {**scene.batch, "attempt": attempt.number, "policy": dict(policy.values)}}
    tracker = Tracker(client, policy, say)
    try:
        if not by_record:
            await tracker.listen()
        await _post(client, scene, attempt, extra)
        tracked = attempt.tracked = await tracker.follow(attempt.prompt_id, by_record)
    finally:
        await tracker.close()
    beside = (
        asyncio.ensure_future(tracker.keep_history(attempt.prompt_id, tracked)),
        asyncio.ensure_future(figures.after(attempt.prompt_id)),
    )
    try:
        if tracked.end in ("success", "error", "interrupted"):
            say("collecting")
            await _collect(client, policy, scene, attempt)
    finally:
        await asyncio.gather(*beside)
    attempt.success = _is_success(policy, attempt)


async def _collect(client: ComfyClient, policy: Policy, scene: SceneRun, attempt: Attempt) -> None:
    tracked = attempt.tracked
    ours = any(isinstance(node, dict) and node.get("class_type") == OUR_NODE for node in scene.graph.values())
    due = tracked.end == "success" and (ours or tracked.marker_due or scene.wait_for_marker)
    due = due and (bool(tracked.files) or not attempt.refused_part)  # nothing was saved, so nothing is marked
    disk = await asyncio.to_thread(output_folder, client.url, await client.stats_or_none())
    collector = Collector(client, policy, attempt.folder, scene.debug_folder, disk)
    await collector.collect(attempt.prompt_id, tracked.files, tracked.marker_paths, due, attempt.collected)


async def _post(client: ComfyClient, scene: SceneRun, attempt: Attempt, extra: Mapping[str, Any]) -> None:
    """Queue the graph, unless the server has its prompt already; the id is noted before."""
    if scene.known is not None and attempt.number == scene.first:
        attempt.prompt_id = scene.known
        return
    if scene.noted is not None:
        scene.noted(attempt)
    given = await client.submit(_graph(scene, attempt.number), attempt.prompt_id, extra)
    attempt.refused_part = client.refused_part(given)
    if given != attempt.prompt_id:  # a server that takes no id of ours
        attempt.prompt_id = given
        if scene.noted is not None:
            scene.noted(attempt)
    if attempt.refused_part and not scene.allow_partial:
        with contextlib.suppress(ServerError):  # what it would run of it is not what was asked for
            await client.cancel(given)
        raise RefusedError(_refusal(attempt.refused_part))


def _refusal(nodes: Sequence[FaultyNode]) -> str:
    """What was refused of a graph that the server would run in part."""
    more = len(nodes) - MOST_NAMED
    told = "; ".join(str(one) for one in nodes[:MOST_NAMED]) + (f"; and {more} more nodes" if more > 0 else "")
    return clean(f"a part of the graph was refused: {told}", MOST_TEXT)


def _is_success(policy: Policy, attempt: Attempt) -> bool:
    tracked, collected = attempt.tracked, attempt.collected
    if tracked.end != "success":
        return False
    count, floor = len(collected.files), policy["frame_floor"]
    if collected.missing:
        why = f" ({collected.trouble})" if collected.trouble else ""
        tracked.error = f"files are missing: {_some(collected.missing, ', ')}{why}"
    elif collected.refused:
        tracked.error = f"names of files that are not accepted: {_some(collected.refused, '; ')}"
    elif count < floor:
        why = f"; {_refusal(attempt.refused_part)}" if attempt.refused_part else ""
        tracked.error = f"{count} files, the floor is {floor}{why}"
    return tracked.error is None


def _some(names: Sequence[str], between: str) -> str:
    """The first of them, each cut, and how many more there are."""
    more = len(names) - MOST_NAMED
    told = between.join(clean(name, MOST_NAME) for name in names[:MOST_NAMED])
    return f"{told}{between}and {more} more" if more > 0 else told


async def _until_gone(client: ComfyClient, prompt_id: str) -> None:
    """Cancel an earlier try, and see that it is gone."""
    deadline = time.monotonic() + GONE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(ServerError):
            await client.cancel(prompt_id)
            if prompt_id not in await client.queued():
                return
        await asyncio.sleep(0.5)
