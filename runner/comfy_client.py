"""One asynchronous client of a ComfyUI server, with or without our package on it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

from ..telemetry.contract import Prompt
from .web_socket import WebSocket

SECONDS = 30.0
CHUNK = 1024 * 1024
MOST_JSON = 256 * 1024 * 1024


class ServerError(Exception):
    """The server did not answer as a ComfyUI does. `kind` is a stable word."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class RefusedError(Exception):
    """ComfyUI refused the graph: final at once. The message names node, input and reason."""


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file that a prompt's outputs name."""

    filename: str
    subfolder: str
    node_id: str | None = None

    @property
    def relative(self) -> str:
        """Below the output folder, forward slashes."""
        return f"{self.subfolder}/{self.filename}".replace("\\", "/").lstrip("/")


@dataclass(frozen=True, slots=True)
class Stat:
    """A file's size in bytes, and its time as the server writes it."""

    bytes: int | None
    modified: str | None


class ComfyClient:
    """A server, by its URL. `RUN_RECORDER_TOKEN` is sent as bearer."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.client_id = uuid.uuid4().hex
        token = os.environ.get("RUN_RECORDER_TOKEN")
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._session: aiohttp.ClientSession | None = None
        self._stats: dict[str, Any] | None = None
        self._refused_parts: dict[str, str] = {}

    async def __aenter__(self) -> ComfyClient:
        timeout = aiohttp.ClientTimeout(total=None, connect=10, sock_read=SECONDS)
        self._session = aiohttp.ClientSession(headers=self.headers, timeout=timeout)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._session is not None:
            await self._session.close()

    @contextlib.asynccontextmanager
    async def _ask(self, method: str, path: str, **more: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None
        try:
            async with self._session.request(method, self.url + path, allow_redirects=False, **more) as answer:
                yield answer
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError) as error:
            raise ServerError("tls", f"{self.url}: no secure connection ({error})") from None
        except (aiohttp.ClientError, ConnectionError, asyncio.TimeoutError) as error:  # a full disk is none
            why = str(error) or type(error).__name__
            raise ServerError("unavailable", f"no ComfyUI answers at {self.url} ({why})") from None

    async def json(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        """Status and JSON; null where the body is none. Raises ServerError where nobody answers, and for 401."""
        async with self._ask(method, path, **more) as answer:
            if answer.status == 401:
                raise ServerError("unauthorized", f"{self.url} answered 401: is RUN_RECORDER_TOKEN right?")
            try:
                return answer.status, await answer.json(content_type=None)
            except ValueError:
                return answer.status, None

    def web_socket(self) -> WebSocket:
        """The socket of this client's prompts, not yet open."""
        assert self._session is not None
        return WebSocket(self._session, self.url, self.client_id)

    async def system_stats(self) -> dict[str, Any]:
        """What ComfyUI says of itself. Raises ServerError for what is no ComfyUI."""
        status, body = await self.json("GET", "/system_stats")
        if status != 200 or not isinstance(body, dict) or "devices" not in body:
            raise ServerError("not_comfyui", f"{self.url} is no ComfyUI (/system_stats answered {status})")
        self._stats = body
        return body

    async def stats_or_none(self) -> dict[str, Any] | None:
        """What it said of itself when it was last asked, else what it says now; null where it doesn't."""
        if self._stats is None:
            with contextlib.suppress(ServerError):
                await self.system_stats()
        return self._stats

    async def has_recorder(self) -> bool:
        """Whether the server has our routes."""
        status, body = await self.json("GET", "/telemetry/health")
        return status == 200 and isinstance(body, dict) and "version" in body

    async def node_classes(self) -> set[str]:
        """The names of all node classes; empty where the server doesn't say."""
        return set(await self.node_infos())

    async def node_infos(self) -> dict[str, Any]:
        """What the server says of its node classes, by name; empty where it doesn't say."""
        status, body = await self.json("GET", "/object_info")
        return body if status == 200 and isinstance(body, dict) else {}

    async def clock_skew(self) -> float | None:
        """How many seconds the server's clock is ahead of ours, to about a second; null where it doesn't say."""
        before = time.time()
        async with self._ask("GET", "/system_stats") as answer:
            said = answer.headers.get("Date")
        try:
            at = parsedate_to_datetime(said or "").timestamp()
        except (TypeError, ValueError):
            return None
        return at + 0.5 - (before + time.time()) / 2

    async def upload(self, name: str, content: bytes, subfolder: str) -> tuple[int, Any]:
        """Put a picture into the server's input folder, in the place of one of this name."""
        form = aiohttp.FormData()
        form.add_field("image", content, filename=name, content_type="application/octet-stream")
        for field, value in (("subfolder", subfolder), ("type", "input"), ("overwrite", "true")):
            form.add_field(field, value)
        return await self.json("POST", "/upload/image", data=form)

    async def submit(self, graph: Mapping[str, Any], prompt_id: str, extra_data: Mapping[str, Any]) -> str:
        """Queue a graph; the id that the server gave it, ours where it takes one. Raises RefusedError.

        After a lost answer the queue and the history are looked into before it is posted again.
        """
        body = {"prompt": graph, "prompt_id": prompt_id, "client_id": self.client_id, "extra_data": dict(extra_data)}
        try:
            return await self._post_prompt(body, prompt_id)
        except ServerError:
            if prompt_id in await self.queued() or await self.history(prompt_id) is not None:
                return prompt_id
            return await self._post_prompt(body, prompt_id)

    async def _post_prompt(self, body: dict[str, Any], prompt_id: str) -> str:
        status, told = await self.json("POST", "/prompt", json=body)
        if status == 400:
            raise RefusedError(refusal(told))
        if status != 200 or not isinstance(told, dict):
            raise ServerError("not_comfyui", f"{self.url} answered {status} to POST /prompt")
        given = str(told.get("prompt_id") or prompt_id)
        if told.get("node_errors"):
            self._refused_parts[given] = refusal({"error": "a part of the graph was refused", **told})
        return given

    def refused_part(self, prompt_id: str) -> str | None:
        """What ComfyUI refused of a graph whose other outputs it runs; null where nothing."""
        return self._refused_parts.get(prompt_id)

    async def queued(self) -> dict[str, int]:
        """The ids in the queue with their positions: 0 runs, then 1 and so on."""
        status, body = await self.json("GET", "/queue")
        if status != 200 or not isinstance(body, dict):
            raise ServerError("not_comfyui", f"{self.url} answered {status} to /queue")
        running = {str(item[1]): 0 for item in body.get("queue_running", [])}
        waiting = sorted(body.get("queue_pending", []), key=lambda item: item[0])
        return {str(item[1]): place for place, item in enumerate(waiting, 1)} | running

    async def history(self, prompt_id: str) -> dict[str, Any] | None:
        """A prompt's history; null where there is none, or not yet."""
        status, body = await self.json("GET", f"/history/{prompt_id}")
        if status != 200 or not isinstance(body, dict):
            raise ServerError("not_comfyui", f"{self.url} answered {status} to /history")
        entry = body.get(prompt_id)
        return entry if isinstance(entry, dict) else None

    async def wait(self, prompt_id: str, seconds: float) -> tuple[bool, Prompt] | None:
        """Whether a prompt has ended, and its record, by our route; null where that doesn't know it."""
        path = f"/telemetry/prompts/{prompt_id}/wait"
        status, body = await self.json("GET", path, params={"timeout": f"{seconds:g}"})
        return (status == 200, Prompt.model_validate(body)) if status in (200, 202) else None

    async def cancel(self, prompt_id: str) -> None:
        """Delete or interrupt one prompt of ours, whichever applies, and nothing else."""
        if (await self.queued()).get(prompt_id) != 0:
            await self.json("POST", "/queue", json={"delete": [prompt_id]})
        if (await self.queued()).get(prompt_id) == 0:
            await self.json("POST", "/interrupt", json={"prompt_id": prompt_id})

    async def stat(self, file: OutputFile) -> Stat | None:
        """Size and time of an output by `/view`; null where it isn't there."""
        async with self._ask("HEAD", "/view", params=_view(file)) as answer:
            if answer.status != 200:
                return None
            return Stat(answer.content_length, answer.headers.get("Last-Modified"))

    async def view(self, file: OutputFile, target: Path) -> Stat | None:
        """Write an output into a file; null where it isn't there.

        Raises ServerError where it comes in part, and OSError where it can't be written.
        """
        async with self._ask("GET", "/view", params=_view(file)) as answer:
            if answer.status != 200:
                return None
            size = 0
            with target.open("xb") as out:
                async for chunk in answer.content.iter_chunked(CHUNK):
                    size += len(chunk)
                    out.write(chunk)
            return Stat(size, answer.headers.get("Last-Modified"))


def _view(file: OutputFile) -> dict[str, str]:
    return {"filename": file.filename, "subfolder": file.subfolder, "type": "output"}


def refusal(told: Any) -> str:
    """Why a graph was refused, node by node."""
    if not isinstance(told, dict):
        return "the graph was refused"
    error = told.get("error")
    head = str(error.get("message", error)) if isinstance(error, dict) else str(error or "the graph was refused")
    nodes = told.get("node_errors")
    details = [
        _node_error(node_id, node.get("class_type", "?"), one)
        for node_id, node in (nodes.items() if isinstance(nodes, dict) else ())
        if isinstance(node, dict)
        for one in node.get("errors", [])
        if isinstance(one, dict)
    ]
    return "; ".join([head, *details])


def _node_error(node_id: str, class_type: str, error: Mapping[str, Any]) -> str:
    extra = error.get("extra_info")
    given = f", input {extra['input_name']}" if isinstance(extra, dict) and "input_name" in extra else ""
    return f"node {node_id} ({class_type}){given}: {error.get('message', '')} {error.get('details', '')}".strip()
