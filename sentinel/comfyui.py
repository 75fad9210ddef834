"""A ComfyUI over HTTP: its own `/queue` and `/history`, and `/telemetry` where it has Run Recorder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..client import blocking, comfyui, recorder
from ..client.answers import History, Queue
from ..client.errors import ServerError
from ..client.limits import Limits
from ..client.request import Request
from ..client.urls import checked_url
from ..telemetry.markers.outputs import reported_files
from ..telemetry.models.base import MarkerStatus
from ..telemetry.models.prompt import Prompt
from ..telemetry.process.token import TokenError, bearer_of
from .evidence import (
    Answer,
    EndedPrompt,
    NamedFile,
    RunningPrompt,
    SilentError,
    ended_of,
    literals_of,
    marked_by,
    running_of,
)

RECENT = 8
"""How many ended prompts are asked for."""
BOUNDS = Limits(answer_seconds=10.0)


class HttpComfyUI:
    """One server. `RUN_RECORDER_TOKEN` is sent as bearer. Raises ValueError for what is no URL."""

    def __init__(self, url: str) -> None:
        self.url = checked_url(url)
        self._has_recorder: bool | None = None
        self._seen: dict[str, Mapping[str, Any]] = {}
        """The graphs of the prompts that run, by prompt."""

    @property
    def can_wait(self) -> bool:
        """Whether the server has Run Recorder; it is asked for it the first time."""
        if self._has_recorder is None:
            self._has_recorder = self._has_record()
        return self._has_recorder

    def ask(self) -> Answer:
        """What runs, and what has ended lately. Raises SilentError."""
        queue = self._get(comfyui.queue())
        running = tuple(self._running(queue))
        self._seen = {told.prompt_id: self._seen[told.prompt_id] for told in running}
        return Answer(running, tuple(self._recent()))

    def wait(self, running: RunningPrompt, seconds: float) -> EndedPrompt | None:
        """The prompt's end, where it comes within the time. Raises SilentError."""
        record = self._get(recorder.wait(running.prompt_id, seconds), may_be_unknown=True)
        if not isinstance(record, Mapping):
            return None
        return _of_record(record, self._seen.get(running.prompt_id, {}), running)

    def _running(self, queue: Any) -> Iterator[RunningPrompt]:
        told = Queue.model_validate(queue) if isinstance(queue, Mapping) else Queue()
        for prompt_id, graph in told.running_graphs():
            self._seen[prompt_id] = graph
            yield running_of(prompt_id, graph)

    def _recent(self) -> Iterator[EndedPrompt]:
        history = self._get(comfyui.recent_history(RECENT))
        for prompt_id, entry in history.items() if isinstance(history, Mapping) else ():
            ended = _of_history(str(prompt_id), entry)
            if ended is not None:
                yield ended

    def _has_record(self) -> bool:
        try:
            return isinstance(self._get(recorder.prompts({"limit": 1})), Mapping)
        except SilentError:
            return False

    def _get(self, request: Request, *, may_be_unknown: bool = False) -> Any:
        """The answer; null for a 404 where what is asked for may be unknown there. Raises SilentError."""
        try:
            answer = blocking.ask(self.url, request, headers=bearer_of(), bounds=BOUNDS)
        except (ServerError, TokenError) as error:
            raise SilentError(str(error)) from None
        if answer.status == 404 and may_be_unknown:
            return None
        if answer.status >= 300:
            raise SilentError(f"{self.url} answered {answer.status}")
        if answer.why is not None:
            raise SilentError(f"{self.url}: its answer {answer.why}")
        return answer.value


def _of_history(prompt_id: str, entry: Any) -> EndedPrompt | None:
    """An entry of `/history`; null for what is none."""
    try:
        told = History.model_validate(entry)
        graph = entry["prompt"][2]
    except (KeyError, TypeError, IndexError, ValueError):
        return None
    if not isinstance(entry.get("status"), Mapping):
        return None
    end, _ = told.status.end
    final: MarkerStatus = "error" if end == "success" and told.status.status_str != "success" else end
    graph = graph if isinstance(graph, Mapping) else {}
    nodes = told.status.messages.get("execution_cached", {}).get("nodes")
    cached = {str(node_id) for node_id in nodes} if isinstance(nodes, list) else set()
    literals = literals_of(graph)
    files = tuple(
        NamedFile(
            file.subfolder,
            file.filename,
            file.node_id,
            literals.get(file.node_id or ""),
            file.node_id in cached,
            not file.guessed,
        )
        for file in reported_files(told.outputs)
        if file.type in ("output", None)
    )
    return EndedPrompt(prompt_id, final, files, running_of(prompt_id, graph), marked_by(graph))


def _of_record(told: Mapping[str, Any], graph: Mapping[str, Any], running: RunningPrompt) -> EndedPrompt | None:
    """A prompt as `/telemetry` tells it; null while it has not ended. Raises SilentError for what is no record."""
    try:
        record = Prompt.model_validate(told)
    except ValueError:
        raise SilentError("what /telemetry answered is no record of a prompt") from None
    return ended_of(record, graph, running)
