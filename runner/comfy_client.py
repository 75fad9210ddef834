"""One asynchronous client of a ComfyUI server, with or without our package on it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import aiohttp
from pydantic import ValidationError

from ..client import limits
from ..client.answers import History, OutputFile, Posted, Queue, SystemStats, Uploaded
from ..client.errors import ServerError
from ..client.http import Answer, Http
from ..client.limits import Kind, Limits
from ..telemetry.models.prompt import Prompt
from ..telemetry.process.token import bearer_of
from ..telemetry.record.refusals import FaultyNode
from .web_socket import WebSocket

__all__ = ["ComfyClient", "OutputFile", "Piece", "RefusedError", "ServerError", "Stat"]
LEFT_FREE, LEFT_SHARE = 100 * limits.MIB, 10
"""Of a disk's free bytes no server's file is written into so many, nor into the tenth of them where that is less."""
LOOK_BYTES = 64 * limits.MIB
"""After so many the free room is looked at again."""


class RefusedError(Exception):
    """ComfyUI refused the graph: final at once. The message names node, input and reason."""


@dataclass(frozen=True, slots=True)
class Stat:
    """A file's size in bytes, and its time as the server writes it."""

    bytes: int | None
    modified: str | None


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file, and the size of the whole in bytes and its time, as the server says them."""

    data: bytes
    whole: int
    modified: str | None


class ComfyClient:
    """A server, by its URL. `RUN_RECORDER_TOKEN` is sent as bearer, unless `trusted` is false.

    Raises TokenError for a token that no header can carry.
    """

    def __init__(self, url: str, bounds: Limits | None = None, *, trusted: bool = True) -> None:
        self.client_id = uuid.uuid4().hex
        self.headers = bearer_of() if trusted else {}
        self._http = Http(url, self.headers, bounds)
        self.url = self._http.url
        self._stats: dict[str, Any] | None = None
        self._refused_parts: dict[str, list[FaultyNode]] = {}

    async def __aenter__(self) -> ComfyClient:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def json(self, method: str, path: str, kind: Kind, **more: Any) -> Answer:
        """Status and JSON. Raises ServerError where nobody answers, and for 401."""
        answer = await self._http.json(method, path, kind, **more)
        if answer.status == 401:
            raise ServerError("unauthorized", f"{self.url} answered 401: is RUN_RECORDER_TOKEN right?")
        return answer

    async def _object(self, method: str, path: str, kind: Kind, **more: Any) -> dict[str, Any]:
        """The object that a route has to answer with. Raises ServerError."""
        answer = await self.json(method, path, kind, **more)
        if answer.status != 200 or not isinstance(answer.value, dict):
            raise self._no_comfyui(answer, method, path)
        return answer.value

    def _no_comfyui(self, answer: Answer, method: str, path: str) -> ServerError:
        asked = path.split("?", 1)[0] if method == "GET" else f"{method} {path}"
        if answer.status != 200:
            return ServerError("not_comfyui", f"{self.url} answered {answer.status} to {asked}")
        why = answer.why or "is no object, as ComfyUI's is"
        return ServerError("bad_answer", f"{self.url}: its answer to {asked} {why}")

    def web_socket(self) -> WebSocket:
        """The socket of this client's prompts, not yet open."""
        return WebSocket(self._http.session, self.url, self.client_id)

    # ------------------------------------------------------------ the server

    async def system_stats(self) -> dict[str, Any]:
        """What ComfyUI says of itself. Raises ServerError for what is no ComfyUI."""
        answer = await self.json("GET", "/system_stats", "status")
        try:
            if answer.status != 200:
                raise ValueError
            SystemStats.model_validate(answer.value)
        except ValueError:  # pydantic's own is one
            told = (
                f"answered {answer.status}" if answer.why is None else f"answered {answer.status}, which {answer.why}"
            )
            raise ServerError("not_comfyui", f"{self.url} is no ComfyUI (/system_stats {told})") from None
        self._stats = answer.value
        return answer.value  # type: ignore[no-any-return]  # the model has looked at it

    async def stats_or_none(self) -> dict[str, Any] | None:
        """What it said of itself when it was last asked, else what it says now; null where it doesn't."""
        if self._stats is None:
            with contextlib.suppress(ServerError):
                await self.system_stats()
        return self._stats

    async def has_recorder(self) -> bool:
        """Whether the server has our routes."""
        answer = await self.json("GET", "/telemetry/health", "health")
        return answer.status == 200 and isinstance(answer.value, dict) and "version" in answer.value

    async def node_classes(self) -> set[str]:
        """The names of all node classes; empty where the server doesn't say."""
        return set(await self.node_infos())

    async def node_infos(self) -> dict[str, Any]:
        """What the server says of its node classes, by name; empty where it doesn't say, or says more than is taken."""
        return await self._told_of_nodes("/object_info")

    async def replacements(self) -> dict[str, Any]:
        """What the server puts in the place of classes that it no longer has; empty where it doesn't say.

        Raises ServerError where nobody answers.
        """
        return await self._told_of_nodes("/node_replacements")

    async def _told_of_nodes(self, path: str) -> dict[str, Any]:
        try:
            answer = await self.json("GET", path, "object_info")
        except ServerError as error:
            if error.kind in ("too_large", "too_slow", "bad_answer"):
                return {}
            raise
        return answer.value if answer.status == 200 and isinstance(answer.value, dict) else {}

    async def clock_skew(self) -> float | None:
        """How many seconds the server's clock is ahead of ours, to about a second; null where it doesn't say."""
        before = time.time()
        async with self._http.ask("GET", "/system_stats", "status") as asked:
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
        told = Uploaded.model_validate(await self._object("POST", "/upload/image", "posted", data=form))
        if not told.name:
            raise ServerError("bad_answer", f"{self.url}: its answer to POST /upload/image names no picture")
        return f"{told.subfolder}/{told.name}" if told.subfolder else told.name

    # ------------------------------------------------------------ prompts

    async def submit(self, graph: Mapping[str, Any], prompt_id: str, extra_data: Mapping[str, Any]) -> str:
        """Queue a graph; the id that the server gave it, ours where it takes one. Raises RefusedError and ServerError.

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
        answer = await self.json("POST", "/prompt", "posted", json=body)
        if answer.status == 400:
            raise RefusedError(refusal(answer.value))
        if answer.status != 200 or not isinstance(answer.value, dict):
            raise self._no_comfyui(answer, "POST", "/prompt")
        told = Posted.model_validate(answer.value)
        if told.prompt_id is None and told.error is not None:
            raise RefusedError(told.refusal())
        given = told.prompt_id or prompt_id
        if told.node_errors:
            self._refused_parts[given] = told.refused(body["prompt"])
        return given

    def refused_part(self, prompt_id: str) -> list[FaultyNode]:
        """The nodes that ComfyUI refused of a graph whose other outputs it runs; nothing where it runs all."""
        return self._refused_parts.get(prompt_id, [])

    async def queued(self) -> dict[str, int]:
        """The ids in the queue with their positions: 0 runs, then 1 and so on. Raises ServerError."""
        return Queue.model_validate(await self._object("GET", "/queue", "queue")).places()

    async def history(self, prompt_id: str) -> dict[str, Any] | None:
        """A prompt's history, to be read by `History`; null where there is none, or not yet. Raises ServerError."""
        body = await self._object("GET", f"/history/{_part(prompt_id)}", "history")
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
        path = f"/telemetry/prompts/{_part(prompt_id)}/wait"
        answer = await self.json("GET", path, "wait", wait_seconds=seconds, params={"timeout": f"{seconds:g}"})
        if answer.status not in (200, 202):
            return None
        try:
            record = Prompt.model_validate(answer.value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            why = answer.why or f"is no record: {'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise ServerError("bad_answer", f"{self.url}: its answer to /telemetry/prompts {why}") from None
        if record.prompt_id != prompt_id:
            raise ServerError("bad_answer", f"{self.url}: its record is of another prompt, {record.prompt_id}")
        return answer.status == 200, record

    async def cancel(self, prompt_id: str) -> None:
        """Delete or interrupt one prompt of ours, whichever applies, and nothing else. Raises ServerError."""
        if (await self.queued()).get(prompt_id) != 0:
            await self.json("POST", "/queue", "posted", json={"delete": [prompt_id]})
        if (await self.queued()).get(prompt_id) == 0:
            await self.json("POST", "/interrupt", "posted", json={"prompt_id": prompt_id})

    # ------------------------------------------------------------ files

    async def stat(self, file: OutputFile) -> Stat | None:
        """Size and time of an output by `/view`; null where it isn't there. Raises ServerError."""
        async with self._http.ask("HEAD", "/view", "stat", params=_view(file), headers=_AS_IT_IS) as asked:
            if asked.status != 200:
                return None
            return Stat(asked.size, asked.headers.get("Last-Modified"))

    async def has_input(self, value: str) -> bool:
        """Whether a file is there that an input for uploads names: `name`, `folder/name`, `name [output]`, ...

        Raises ServerError.
        """
        system = (await self.stats_or_none() or {}).get("system")
        on_windows = isinstance(system, dict) and system.get("os") in ("nt", "win32")
        place = input_place(value.replace("\\", "/") if on_windows else value)
        if place is None:
            return False
        if ".." in place["filename"]:
            return True  # /view tells of no such name
        async with self._http.ask("HEAD", "/view", "stat", params=place, headers=_AS_IT_IS) as asked:
            return asked.status == 200

    async def piece(self, file: OutputFile, start: int, length: int) -> Piece | None:
        """Some bytes of an output; null where it isn't there, or the server sends no parts. Raises ServerError."""
        headers = {**_AS_IT_IS, "Range": f"bytes={start}-{start + length - 1}"}
        async with self._http.ask("GET", "/view", "piece", params=_view(file), headers=headers) as asked:
            span, _, whole = asked.headers.get("Content-Range", "").partition("/")
            if asked.status != 206 or span != f"bytes {start}-{start + length - 1}" or not whole.isdecimal():
                return None
            return Piece(await asked.body(), int(whole[:20]), asked.headers.get("Last-Modified"))

    async def view(self, file: OutputFile, target: Path, most_bytes: int | None = None) -> Stat | None:
        """Write an output into a new file; null where it isn't there.

        Raises ServerError where it comes in part, or is larger than `most_bytes` or than there is room for, and
        OSError where it can't be written.
        """
        async with self._http.ask("GET", "/view", "file", params=_view(file), headers=_AS_IT_IS) as asked:
            if asked.status != 200:
                return None
            room = await asyncio.to_thread(_Room, target, file, asked.size, most_bytes)
            with target.open("xb") as out:
                async for piece in asked.pieces():
                    room.take(len(piece))
                    out.write(piece)
            return Stat(room.taken, asked.headers.get("Last-Modified"))


class _Room:
    """How much of a file that a server sends is written: what it said itself, and what is free."""

    def __init__(self, target: Path, file: OutputFile, said: int | None, most: int | None) -> None:
        self._target = target
        self._name = file.relative[:MOST_NAME]
        self._most = most
        self._free = room(target.parent)
        self._looked = 0
        self.taken = 0
        if said is not None:
            self._check(said, self._free)

    def take(self, count: int) -> None:
        """Raises ServerError where it is too much."""
        self.taken += count
        if self.taken - self._looked > LOOK_BYTES:
            self._free = self.taken + room(self._target.parent)
            self._looked = self.taken
        self._check(self.taken, self._free)

    def _check(self, count: int, free: int) -> None:
        if self._most is not None and count > self._most:
            raise ServerError("too_large", f"{self._name} has more than {self._most} bytes")
        if count > free:
            raise ServerError("too_large", f"{self._name} has {count} bytes or more, and {free} are free for it")


def room(folder: Path) -> int:
    """Bytes that a server's file may take of the disk of a folder."""
    free = shutil.disk_usage(folder).free
    return free - min(LEFT_FREE, free // LEFT_SHARE)


MOST_NAME = 200
"""Characters of a file's name in a message."""
_AS_IT_IS = {"Accept-Encoding": "identity"}


def _part(prompt_id: str) -> str:
    """An id as a part of a path, whatever it holds."""
    return quote(prompt_id, safe="")


def _view(file: OutputFile) -> dict[str, str]:
    return {"filename": file.filename, "subfolder": file.subfolder, "type": "output"}


def input_place(value: str) -> dict[str, str] | None:
    """What `/view` is asked for a file as a node's input names it; null for what leads out of ComfyUI's folders.

    Behind the name stands the folder where it isn't the input folder, in brackets and with a space before it: ComfyUI
    takes one character more than the brackets away, whatever it is.
    """
    kind = next((kind for kind in ("output", "input", "temp") if value.endswith(f"[{kind}]")), None)
    name = value[: -len(kind) - 3] if kind else value
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or not parts or "\0" in name:
        return None
    return {"filename": parts[-1], "subfolder": "/".join(parts[:-1]), "type": kind or "input"}


def seconds_of(date: str | None) -> float | None:
    """A header's date in seconds since 1970; null for what is none."""
    with contextlib.suppress(TypeError, ValueError, OverflowError, IndexError):
        return parsedate_to_datetime(date or "").timestamp()
    return None


def refusal(told: Any) -> str:
    """Why a graph was refused, node by node."""
    return Posted.model_validate(told if isinstance(told, dict) else {}).refusal()
