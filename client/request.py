"""What is asked of a server, as data: the asynchronous and the blocking client send the same, and take as much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from .errors import ServerError
from .limits import Kind
from .reading import Answer


@dataclass(frozen=True, slots=True)
class Request:
    """One question. Its kind says how many bytes and seconds its answer is given."""

    method: str
    path: str
    """With its query, as it goes over the wire."""
    kind: Kind
    wait_seconds: float = 0.0
    """How long the server is asked to wait before it answers."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What goes with it: `json`, or `data`."""

    @property
    def shown(self) -> str:
        """As a message has it."""
        return self.path.split("?", 1)[0] if self.method == "GET" else f"{self.method} {self.path}"


def get(kind: Kind, *parts: str, query: Mapping[str, Any] | None = None, wait_seconds: float = 0.0) -> Request:
    """GET a path of these parts, whatever they hold; what is null or an empty list is left out of the query."""
    return Request("GET", path_of(parts, query), kind, wait_seconds)


def post(path: str, body: Mapping[str, Any]) -> Request:
    """POST an object as JSON."""
    return Request("POST", path, "posted", more={"json": body})


def path_of(parts: tuple[str, ...], query: Mapping[str, Any] | None = None) -> str:
    """Parts as a path, each quoted, and a query behind it."""
    path = "/".join(quote(part, safe="", errors="replace") for part in parts)
    given = {name: value for name, value in (query or {}).items() if value not in (None, [], ())}
    return f"/{path}" + (f"?{urlencode(given, doseq=True, errors='replace')}" if given else "")


def object_of(url: str, request: Request, answer: Answer) -> dict[str, Any]:
    """The object that a route of ComfyUI's has to answer with. Raises ServerError."""
    if answer.status != 200 or not isinstance(answer.value, dict):
        raise no_comfyui(url, request, answer)
    return answer.value


def no_comfyui(url: str, request: Request, answer: Answer) -> ServerError:
    """What is wrong with an answer that ComfyUI would not give."""
    if answer.status != 200:
        return ServerError("not_comfyui", f"{url} answered {answer.status} to {request.shown}")
    why = answer.why or "is no object, as ComfyUI's is"
    return ServerError("bad_answer", f"{url}: its answer to {request.shown} {why}")
