"""Talks to a ComfyUI server that has our routes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, quote, urlencode, urlsplit
from urllib.request import Request, urlopen

from .output import BAD_USE, FAILED, CommandError

DEFAULT_URL = "http://127.0.0.1:8188"
LONGEST_POLL_SECONDS = 60.0
SILENCE_SECONDS = 60.0
"""A stream that says nothing for so long, not even that it lives, is taken for dead."""
MAX_LINE = 1024 * 1024
MAX_ANSWER = 256 * 1024 * 1024


class Server:
    """One server, by its URL. `RUN_RECORDER_TOKEN` is sent as bearer."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname or not _has_good_port(parts):
            raise CommandError("invalid_parameter", f"--comfyui: {url!r} is no http(s) URL, such as {DEFAULT_URL}")
        self.url = parts.geturl().rstrip("/")

    def get(self, *parts: str, query: Mapping[str, Any] | None = None, seconds: float = 30.0) -> tuple[int, Any]:
        """GET a path made of parts; status and JSON. Raises CommandError where nobody answers, or an error does."""
        return self._ask(Request(self._address(parts, query)), seconds)

    def _address(self, parts: tuple[str, ...], query: Mapping[str, Any] | None) -> str:
        path = "/".join(quote(part, safe="") for part in parts)
        given = {name: value for name, value in (query or {}).items() if value not in (None, [], ())}
        return f"{self.url}/{path}" + (f"?{urlencode(given, doseq=True)}" if given else "")

    @contextlib.contextmanager
    def stream(
        self, *parts: str, query: Mapping[str, Any] | None = None, after: str | None = None
    ) -> Iterator[Iterator[bytes]]:
        """GET server-sent events: the lines, as they come. Raises CommandError where nobody answers."""
        request = Request(self._address(parts, query), headers={"Accept": "text/event-stream"})
        if after is not None:
            request.add_header("Last-Event-ID", after)
        with self._opened(request, SILENCE_SECONDS) as response:
            yield self._lines(response)

    def _lines(self, response: Any) -> Iterator[bytes]:
        try:
            while line := response.readline(MAX_LINE):
                yield line
        except (OSError, http.client.HTTPException) as error:
            raise CommandError("unavailable", f"{self.url} went away ({error})") from None

    def post(self, path: str, data: Any, seconds: float = 30.0) -> tuple[int, Any]:
        """POST JSON; status and JSON."""
        body = json.dumps(data).encode()
        headers = {"Content-Type": "application/json"}
        return self._ask(Request(f"{self.url}/{path}", data=body, headers=headers, method="POST"), seconds)

    def _ask(self, request: Request, seconds: float) -> tuple[int, Any]:
        with self._opened(request, seconds) as response:
            return response.status, _json(response.read(MAX_ANSWER))

    def _opened(self, request: Request, seconds: float) -> Any:
        token = os.environ.get("RUN_RECORDER_TOKEN")
        if token:
            request.add_unredirected_header("Authorization", f"Bearer {token}")
        try:
            return urlopen(request, timeout=seconds)
        except HTTPError as error:
            raise _refusal(error, self.url) from None
        except (URLError, OSError, http.client.HTTPException) as error:
            why = getattr(error, "reason", None) or error
            raise CommandError("unavailable", f"no ComfyUI answers at {self.url} ({why})") from None

    def wait(self, prompt_id: str, timeout: float, run: int | None = None) -> tuple[bool, Any]:
        """Wait for a prompt's end, by long polls; whether it has ended, and the prompt."""
        deadline = time.monotonic() + timeout
        while True:
            left = max(0.0, deadline - time.monotonic())
            poll = min(left, LONGEST_POLL_SECONDS)
            query = {"timeout": poll, "run": run}
            status, prompt = self.get("telemetry", "prompts", prompt_id, "wait", query=query, seconds=poll + 30)
            if status == 200 or left <= poll:
                return status == 200, prompt


def infos_of(url: str) -> Callable[[], Mapping[str, Any]]:
    """What a server says of its node classes, once it is asked for. That raises CommandError."""

    def ask() -> Mapping[str, Any]:
        _, told = Server(url).get("object_info")
        return told if isinstance(told, dict) else {}

    return ask


def _has_good_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


def _json(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        raise CommandError("unavailable", "the answer is no JSON; is this a ComfyUI server?") from None


def _refusal(error: HTTPError, url: str) -> CommandError:
    try:
        told = json.loads(error.read(1_000_000))["error"]
        kind, message = str(told["type"]), str(told["message"])
    except (ValueError, KeyError, TypeError, OSError):
        hint = "; is Run Recorder installed there?" if error.code == 404 else ""
        return CommandError("unavailable", f"{url} answered {error.code}{hint}")
    return CommandError(kind, message, FAILED if error.code >= 500 else BAD_USE)
