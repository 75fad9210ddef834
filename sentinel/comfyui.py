"""A ComfyUI over HTTP: its own `/queue` and `/history`, and `/telemetry` where it has Run Recorder."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, cast
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from ..telemetry.contract import MarkerStatus
from ..telemetry.outputs import reported_files
from .evidence import FINAL, Answer, Ended, Named, Running, SilentError, literals_of, marked_by, running_of

RECENT = 8
"""How many ended prompts are asked for."""
ANSWER_SECONDS = 10.0
MAX_ANSWER = 256 * 1024 * 1024


def checked_url(url: str) -> str:
    """A server's URL without a slash at its end. Raises ValueError."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no http(s) URL, such as http://127.0.0.1:8188")
    return parts.geturl().rstrip("/")


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
            self._has_recorder = self._answers("/telemetry/prompts?limit=1")
        return self._has_recorder

    def ask(self) -> Answer:
        """What runs, and what has ended lately. Raises SilentError."""
        queue = self._get("/queue")
        running = tuple(self._running(queue))
        self._seen = {told.prompt_id: self._seen[told.prompt_id] for told in running}
        return Answer(running, tuple(self._recent()))

    def wait(self, running: Running, seconds: float) -> Ended | None:
        """The prompt's end, where it comes within the time. Raises SilentError."""
        record = self._get(f"/telemetry/prompts/{quote(running.prompt_id, safe='')}/wait?timeout={seconds:g}")
        graph = self._seen.get(running.prompt_id, {})
        return (
            _of_record(record, literals_of(graph), running, marked_by(graph)) if isinstance(record, Mapping) else None
        )

    def _running(self, queue: Any) -> Iterator[Running]:
        items = queue.get("queue_running") if isinstance(queue, Mapping) else None
        for item in items if isinstance(items, list) else ():
            if isinstance(item, list) and len(item) > 2 and isinstance(item[2], Mapping):
                self._seen[str(item[1])] = item[2]
                yield running_of(str(item[1]), item[2])

    def _recent(self) -> Iterator[Ended]:
        history = self._get(f"/history?max_items={RECENT}")
        for prompt_id, entry in history.items() if isinstance(history, Mapping) else ():
            ended = _of_history(str(prompt_id), entry)
            if ended is not None:
                yield ended

    def _answers(self, path: str) -> bool:
        try:
            return isinstance(self._get(path), Mapping)
        except SilentError:
            return False

    def _get(self, path: str) -> Any:
        request = Request(self.url + path)
        token = os.environ.get("RUN_RECORDER_TOKEN")
        if token:
            request.add_unredirected_header("Authorization", f"Bearer {token}")
        try:
            with urlopen(request, timeout=ANSWER_SECONDS) as response:
                return json.loads(response.read(MAX_ANSWER))
        except HTTPError as error:
            with error:
                if error.code == 404 and path.startswith("/telemetry/prompts/"):
                    return None
                raise SilentError(f"{self.url} answered {error.code}") from None
        except (URLError, OSError, http.client.HTTPException, ValueError) as error:
            raise SilentError(f"no ComfyUI answers at {self.url} ({getattr(error, 'reason', None) or error})") from None


def _of_history(prompt_id: str, entry: Any) -> Ended | None:
    """An entry of `/history`."""
    try:
        status, messages = entry["status"], entry["status"].get("messages") or ()
        graph = entry["prompt"][2]
    except (KeyError, TypeError, IndexError, AttributeError):
        return None
    told = {message[0]: message[1] for message in messages if isinstance(message, list) and len(message) > 1}
    if "execution_interrupted" in told:
        final: MarkerStatus = "interrupted"
    elif "execution_error" in told:
        final = "error"
    else:
        final = "success" if status.get("status_str") == "success" else "error"
    graph = graph if isinstance(graph, Mapping) else {}
    cached = {str(node_id) for node_id in (told.get("execution_cached") or {}).get("nodes") or ()}
    outputs = entry.get("outputs") if isinstance(entry.get("outputs"), Mapping) else {}
    literals = literals_of(graph)
    files = tuple(
        Named(
            file.subfolder,
            file.filename,
            file.node_id,
            literals.get(file.node_id or ""),
            file.node_id in cached,
            not file.guessed,
        )
        for file in reported_files(outputs)
        if file.type in ("output", None)
    )
    return Ended(prompt_id, final, files, running_of(prompt_id, graph), marked_by(graph))


def _of_record(
    record: Mapping[str, Any], literals: Mapping[str, str], running: Running | None, marked: tuple[str, ...]
) -> Ended | None:
    """A prompt as `/telemetry` tells it; null while it has not ended."""
    final = FINAL.get(str(record.get("status")))
    if final is None:
        return None
    files = tuple(
        Named(
            file.get("subfolder") or "",
            file["filename"],
            file.get("node_id"),
            literals.get(file.get("node_id") or ""),
            bool(file.get("cached")),
        )
        for file in record.get("outputs") or ()
        if file.get("type") == "output"
    )
    number = cast("int", record.get("run_number") or 1)
    return Ended(str(record["prompt_id"]), final, files, running, marked, number)
