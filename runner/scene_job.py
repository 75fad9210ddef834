"""One scene of a run on one server: its tries, each noted before its prompt is posted, and its result."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..client.answers import History
from ..client.comfy_client import ComfyClient
from ..client.errors import ServerError
from ..telemetry.files.guarded_files import regular_status
from ..telemetry.models.run_contract import Scene, plain
from .attempts import Attempt, Outcome, SceneRun, run_scene
from .left_behind import SceneResult, read_result, read_tries
from .policy import Policy
from .run_folder import to_json, write_atomically
from .scene_record import SceneAsked, attempt_summary, history_path, scene_record, unrun_record

RESULT, TRIES = "result.json", "attempts.json"
THERE = ("queued", "running", "success")
"""Statuses of a record whose prompt is worth to be followed or collected."""
GONE = "the server takes no connection any more"
KILLED = "the runner was ended before this try was, and the server has no prompt of it that could be collected"


@dataclass(slots=True)
class SceneJob:
    """A scene to be done, or done. `folder` is its own, below the run's."""

    asked: SceneAsked
    policy: Policy
    folder: Path
    earlier: list[dict[str, Any]] = field(default_factory=list)
    """Tries of processes before this one, and those on servers that have gone; in the metadata's form."""
    open_try: dict[str, Any] | None = None
    """The newest of them, whose end nobody has seen."""
    record: Scene | None = None
    """Null until it has ended."""
    before: Scene | None = None
    """What an earlier process made of it: not a success."""
    losses: int = 0
    trouble: str | None = None
    """What a server said when the scene couldn't even be begun there."""

    @property
    def name(self) -> str:
        """The scene's id."""
        return self.asked.scene_id

    @property
    def pinned(self) -> str | None:
        """The server that has its prompt, perhaps; null where none has."""
        return self.open_try["Server"] if self.open_try else None

    @property
    def done(self) -> bool:
        """Whether it has succeeded."""
        return self.record is not None and bool(self.record.Success)

    def load(self) -> None:
        """Read what an earlier process left: a success whose files are all there is not done again.

        Raises PlanError for what no runner left.
        """
        result = read_result(self.folder / RESULT, self.folder.parent, self.name)
        if result is not None and result.Scene.Success and _whole(self.folder.parent, result):
            self.record = result.Scene
            return
        self.before = result.Scene if result is not None and not result.Scene.Success else None
        self.earlier = list(result.Scene.AttemptSummaries) if result is not None else []
        known = {one.get("PromptId") for one in self.earlier}
        tries = [one for one in read_tries(self.folder / TRIES, self.folder.parent) if one["PromptId"] not in known]
        if tries:
            self.open_try = tries[-1]
        elif result is not None and result.Scene.Success:
            self.open_try = next(
                reversed(self.earlier), None
            )  # it succeeded, and files are missing: they may still be had
        self.earlier += tries

    async def run(self, client: ComfyClient, graph: SceneRun, *, by_record: bool, say: Callable[[str], None]) -> None:
        """Do it. Where this is cancelled, what was tried is kept, and no result is written. Raises OSError."""
        outcome, losses = Outcome(), self.losses
        scene = await self._with_numbers(client, graph, by_record)
        try:
            await run_scene(client, self.policy, scene, outcome, say, by_record=by_record)
        except BaseException:
            self._keep(outcome, client.url, lost=self.losses > losses)
            raise
        self._finish(outcome, client.url)

    async def _with_numbers(self, client: ComfyClient, scene: SceneRun, by_record: bool) -> SceneRun:
        """The scene's tries go on where earlier ones stopped; a prompt that the server has is taken over."""
        known = None
        open_try, self.open_try = self.open_try, None
        here = open_try is not None and open_try["Server"] == client.url
        if open_try is not None and here and await is_there(client, open_try["PromptId"], by_record):
            known = str(open_try["PromptId"])
            self.earlier = [one for one in self.earlier if one["PromptId"] != known]
        numbers = [int(one["Attempt"]) for one in self.earlier]
        first = int(open_try["Attempt"]) if known and open_try else max(numbers, default=0) + 1
        return SceneRun(
            graph=scene.graph,
            output=self.folder,
            debug_folder=self.folder,
            batch=scene.batch,
            prefix=scene.prefix,
            keep_attempts=True,
            first=first,
            known=known,
            allow_partial=scene.allow_partial,
            noted=lambda attempt: self._note(attempt, client.url),
        )

    def _note(self, attempt: Attempt, url: str) -> None:
        tries = [one for one in read_tries(self.folder / TRIES, self.folder.parent) if one["Attempt"] != attempt.number]
        tries.append(_open(attempt.number, attempt.prompt_id, url))
        write_atomically(self.folder / TRIES, to_json(tries))

    def _finish(self, outcome: Outcome, url: str) -> None:
        best = outcome.best
        frames = {}
        for name in best.collected.files:
            with contextlib.suppress(OSError):
                frames[name] = (best.folder / name).stat().st_size
        if best.tracked.history is not None:
            write_atomically(self.folder.parent / history_path(self.name), to_json(best.tracked.history))
        if best.telemetry is not None and best.telemetry.DoneMarkerPath:
            best.telemetry.DoneMarkerPath = _below(self.folder.parent, best.telemetry.DoneMarkerPath)
        folder = best.folder.relative_to(self.folder.parent).as_posix() if best.folder.is_dir() else None
        record = scene_record(self.asked, self.policy, outcome, frames=len(frames), folder=folder, server=url)
        self.record = self._with_earlier(record)
        result = SceneResult(Files=frames, Scene=self.record)
        document = {**result.model_dump(mode="json", exclude={"Scene"}), "Scene": plain(self.record)}
        write_atomically(self.folder / RESULT, to_json(document))

    def _with_earlier(self, record: Scene) -> Scene:
        """The record over all tries, and of the best of them: an earlier process may have got further."""
        tries = [*self.earlier, *record.AttemptSummaries]
        if self.before is not None and not record.Success and (self.before.FrameCount or 0) > (record.FrameCount or 0):
            record = self.before
        return record.model_copy(
            update={"AttemptSummaries": tries, "AttemptsRun": len(tries), "Requeued": len(tries) > 1}
        )

    def _keep(self, outcome: Outcome, url: str, *, lost: bool) -> None:
        """It has not ended: its tries are remembered, and the newest may be taken over."""
        self.earlier += [attempt_summary(attempt, self.asked, url) for attempt in outcome.attempts]
        if outcome.attempts:
            self.open_try = self.earlier[-1]
            if lost:
                self.open_try |= {"End": "lost", "Error": GONE, "RequeueReason": f"lost: {GONE}"}

    def end(self, why: str) -> None:
        """It will not be done now: a record says why. No result is written, so a resumed run does it."""
        record = self.before or unrun_record(self.asked, self.policy, why)
        self.record = record.model_copy(
            update={
                "Errors": list(dict.fromkeys([*record.Errors, why])),
                "AttemptSummaries": self.earlier,
                "AttemptsRun": len(self.earlier),
                "Requeued": len(self.earlier) > 1,
            }
        )


def _open(number: int, prompt_id: str, server: str) -> dict[str, Any]:
    return {
        "Attempt": number,
        "PromptId": prompt_id,
        "Frames": 0,
        "DurationSeconds": None,
        "Server": server,
        "End": "unknown",
        "Success": False,
        "RequeueReason": KILLED,
        "Error": KILLED,
    }


def _whole(run: Path, result: SceneResult) -> bool:
    """Whether all its files are there, with their sizes."""
    if result.Scene.GeneratedFramesDir is None:
        return False
    folder = run / result.Scene.GeneratedFramesDir
    try:
        return all(regular_status(folder / name, run).st_size == size for name, size in result.Files.items())
    except OSError:
        return False


def _below(folder: Path, path: str) -> str:
    """A path as it is below the run's folder, so that a run can be moved; as it was where it isn't below."""
    try:
        return Path(path).resolve().relative_to(folder.resolve()).as_posix()
    except (ValueError, OSError):
        return path


async def is_there(client: ComfyClient, prompt_id: str, by_record: bool) -> bool:
    """Whether a server has a prompt that waits, runs or has succeeded. Raises ServerError."""
    if by_record:
        with contextlib.suppress(ServerError):
            told = await client.wait(prompt_id, 0)
            if told is not None:
                return told[1].status in THERE
    if prompt_id in await client.queued():
        return True
    entry = await client.history(prompt_id)
    return entry is not None and History.model_validate(entry).status.status_str in (None, "success")
