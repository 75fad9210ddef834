"""One asynchronous client of a ComfyUI server, with or without our package on it."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import aiohttp
from pydantic import ValidationError

from ..telemetry.models.prompt import Prompt
from ..telemetry.models.run_contract import SceneTelemetry
from ..telemetry.process.token import bearer_of
from ..telemetry.record.refusals import FaultyNode
from . import comfyui, recorder
from .answers import History, Posted, Queue, Uploaded
from .errors import RefusedError, ServerError
from .files import Files, input_place, seconds_of
from .http import Http
from .limits import Limits
from .reading import Answer
from .request import Request, object_of
from .web_socket import WebSocket


class ComfyClient:
    """A server, by its URL. `RUN_RECORDER_TOKEN` is sent as bearer, unless `trusted` is false.

    Raises TokenError for a token that no header can carry.
    """

    def __init__(self, url: str, bounds: Limits | None = None, *, trusted: bool = True) -> None:
        self.client_id = uuid.uuid4().hex
        self.headers = bearer_of() if trusted else {}
        self._http = Http(url, self.headers, bounds)
        self.url = self._http.url
        self.files = Files(self._http)
        self._stats: dict[str, Any] | None = None
        self._refused_parts: dict[str, list[FaultyNode]] = {}

    async def __aenter__(self) -> ComfyClient:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def ask(self, request: Request) -> Answer:
        """Status and JSON. Raises ServerError where nobody answers, and for 401."""
        answer = await self._http.answer(request)
        if answer.status == 401:
            raise ServerError("unauthorized", f"{self.url} answered 401: is RUN_RECORDER_TOKEN right?")
        return answer

    async def _object(self, request: Request) -> dict[str, Any]:
        """The object that a route has to answer with. Raises ServerError."""
        return object_of(self.url, request, await self.ask(request))

    def web_socket(self) -> WebSocket:
        """The socket of this client's prompts, not yet open."""
        return WebSocket(self._http.session, self.url, self.client_id)

    # ------------------------------------------------------------ the server

    async def system_stats(self) -> dict[str, Any]:
        """What ComfyUI says of itself. Raises ServerError for what is no ComfyUI."""
        self._stats = comfyui.stats_of(self.url, await self.ask(comfyui.system_stats()))
        return self._stats

    async def stats_or_none(self) -> dict[str, Any] | None:
        """What it said of itself when it was last asked, else what it says now; null where it doesn't."""
        if self._stats is None:
            with contextlib.suppress(ServerError):
                await self.system_stats()
        return self._stats

    async def has_recorder(self) -> bool:
        """Whether the server has our routes."""
        answer = await self.ask(recorder.health())
        return answer.status == 200 and isinstance(answer.value, dict) and "version" in answer.value

    async def node_classes(self) -> set[str]:
        """The names of all node classes; empty where the server doesn't say."""
        return set(await self.node_infos())

    async def node_infos(self) -> dict[str, Any]:
        """What the server says of its node classes, by name; empty where it doesn't say, or says more than is taken."""
        return await self._told_of_nodes(comfyui.object_info())

    async def replacements(self) -> dict[str, Any]:
        """What the server puts in the place of classes that it no longer has; empty where it doesn't say.

        Raises ServerError where nobody answers.
        """
        return await self._told_of_nodes(comfyui.node_replacements())

    async def _told_of_nodes(self, request: Request) -> dict[str, Any]:
        try:
            answer = await self.ask(request)
        except ServerError as error:
            if error.kind in ("too_large", "too_slow", "bad_answer"):
                return {}
            raise
        return answer.value if answer.status == 200 and isinstance(answer.value, dict) else {}

    async def clock_skew(self) -> float | None:
        """How many seconds the server's clock is ahead of ours, to about a second; null where it doesn't say."""
        before, request = time.time(), comfyui.system_stats()
        async with self._http.ask(request.method, request.path, request.kind) as asked:
            said = asked.headers.get("Date")
        at = seconds_of(said)
        return None if at is None else at + 0.5 - (before + time.time()) / 2

    async def upload(self, name: str, content: bytes, subfolder: str) -> str:
        """Put a picture into the server's input folder, in the place of one of this name; what it is called there.

        Raises ServerError.
        """
        form = aiohttp.FormData()
        form.add_field("image", content, filename=name, content_type="application/octet-stream")
        for field, value in (("subfolder", subfolder), ("type", "input"), ("overwrite", "true")):
            form.add_field(field, value)
        told = Uploaded.model_validate(await self._object(comfyui.upload(form)))
        if not told.name:
            raise ServerError("bad_answer", f"{self.url}: its answer to POST /upload/image names no picture")
        return f"{told.subfolder}/{told.name}" if told.subfolder else told.name

    async def has_input(self, value: str) -> bool:
        """Whether a file is there that an input for uploads names: `name`, `folder/name`, `name [output]`, ...

        Raises ServerError.
        """
        system = (await self.stats_or_none() or {}).get("system")
        on_windows = isinstance(system, dict) and system.get("os") in ("nt", "win32")
        place = input_place(value.replace("\\", "/") if on_windows else value)
        if place is None:
            return False
        return ".." in place["filename"] or await self.files.is_there(place)  # /view tells of no name with ..

    # ------------------------------------------------------------ prompts

    async def submit(self, graph: Mapping[str, Any], prompt_id: str, extra_data: Mapping[str, Any]) -> str:
        """Queue a graph; the id that the server gave it, ours where it takes one. Raises RefusedError and ServerError.

        After a lost answer the queue and the history are looked into before it is posted again.
        """
        request = comfyui.prompt(graph, prompt_id, self.client_id, extra_data)
        try:
            return await self._post_prompt(request, graph, prompt_id)
        except ServerError:
            if prompt_id in await self.queued() or await self.history(prompt_id) is not None:
                return prompt_id
            return await self._post_prompt(request, graph, prompt_id)

    async def _post_prompt(self, request: Request, graph: Mapping[str, Any], prompt_id: str) -> str:
        answer = await self.ask(request)
        if answer.status == 400:
            raise RefusedError(refusal(answer.value))
        told = Posted.model_validate(object_of(self.url, request, answer))
        if told.prompt_id is None and told.error is not None:
            raise RefusedError(told.refusal())
        given = told.prompt_id or prompt_id
        if told.node_errors:
            self._refused_parts[given] = told.refused(graph)
        return given

    def refused_part(self, prompt_id: str) -> list[FaultyNode]:
        """The nodes that ComfyUI refused of a graph whose other outputs it runs; nothing where it runs all."""
        return self._refused_parts.get(prompt_id, [])

    async def queued(self) -> dict[str, int]:
        """The ids in the queue with their positions: 0 runs, then 1 and so on. Raises ServerError."""
        return Queue.model_validate(await self._object(comfyui.queue())).places()

    async def history(self, prompt_id: str) -> dict[str, Any] | None:
        """A prompt's history, to be read by `History`; null where there is none, or not yet. Raises ServerError."""
        body = await self._object(comfyui.history(prompt_id))
        entry = body.get(prompt_id)
        if entry is None:
            return None
        try:
            History.model_validate(entry)
        except ValidationError:
            raise ServerError("bad_answer", f"{self.url}: what its /history has of the prompt is no object") from None
        return entry  # type: ignore[no-any-return]  # the model has looked at it

    async def wait(self, prompt_id: str, seconds: float) -> tuple[bool, Prompt] | None:
        """Whether a prompt has ended, and its record, by our route; null where that doesn't know it.

        Raises ServerError.
        """
        answer = await self.ask(recorder.wait(prompt_id, seconds))
        if answer.status not in (200, 202):
            return None
        return answer.status == 200, recorder.record_of(self.url, prompt_id, answer)

    async def contract(self, prompt_id: str) -> SceneTelemetry | None:
        """A prompt's record as the run contract has it; null where the server has none, or none that can be read.

        Raises ServerError.
        """
        answer = await self.ask(recorder.contract(prompt_id))
        try:
            return SceneTelemetry.model_validate(answer.value) if answer.status == 200 else None
        except ValidationError:
            return None

    async def cancel(self, prompt_id: str) -> None:
        """Delete or interrupt one prompt of ours, whichever applies, and nothing else. Raises ServerError."""
        if (await self.queued()).get(prompt_id) != 0:
            await self.ask(comfyui.delete(prompt_id))
        if (await self.queued()).get(prompt_id) == 0:
            await self.ask(comfyui.interrupt(prompt_id))


def refusal(told: Any) -> str:
    """Why a graph was refused, node by node."""
    return Posted.model_validate(told if isinstance(told, dict) else {}).refusal()
