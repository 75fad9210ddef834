"""What a route is: everything that its handler, its checks and its documentation are made from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from ..telemetry.models.errors import ErrorAnswer, ErrorBody

if TYPE_CHECKING:
    from ..comfyui_host import Host


PREFIX = "/telemetry"
"""Of every path."""
JSON = "application/json"


class Parameters(BaseModel):
    """Base of the query parameters of a route: an unknown one is an error, so that a misspelt filter is not ignored."""

    model_config = ConfigDict(extra="forbid")


class NoParameters(Parameters):
    """For a route that takes none."""


class AnyParameters(BaseModel):
    """For what is no route: whatever is given is not looked at."""


class ApiError(Exception):
    """An answer that is an error."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self.answer = ErrorAnswer(error=ErrorBody(type=kind, message=message, field=field))  # type: ignore[arg-type]


def not_found(what: str, field: str | None = None) -> ApiError:
    """404."""
    return ApiError(404, "not_found", what, field)


def internal(fault_id: str | None) -> ApiError:
    """500, for a fault of ours."""
    error = ApiError(500, "internal", f"a fault of Run Recorder; ComfyUI's log has it as fault {fault_id}")
    error.answer.error.id = fault_id
    return error


def conflict(why: str) -> ApiError:
    """409."""
    return ApiError(409, "conflict", why)


def invalid(field: str, why: str) -> ApiError:
    """400, naming the parameter."""
    return ApiError(400, "invalid_parameter", why, field)


@dataclass(frozen=True, slots=True)
class Call:
    """One request, checked."""

    request: web.Request
    host: Host
    path: Mapping[str, str]
    query: Any
    """The route's parameters, an instance of its `parameters`."""


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One method on one path."""

    method: str
    path: str
    """Below `PREFIX`; `{name}` stands for one part."""
    summary: str
    handler: Handler
    parameters: type[BaseModel] = NoParameters
    answers: Mapping[int, type[BaseModel] | None] = field(default_factory=dict)
    """Status to model; null for an answer without a body."""
    errors: tuple[int, ...] = ()
    body: type[BaseModel] | None = None
    """What a request has to send, as JSON; null where nothing."""
    public: bool = False
    """True where a token is not asked for."""
    media_types: tuple[str, ...] = (JSON,)
    """Of an answer that no model describes."""


def answer(model: BaseModel, status: int = 200) -> web.Response:
    """A model as JSON."""
    return answer_bytes(model.model_dump_json().encode("utf-8"), status)


def answer_bytes(body: bytes, status: int = 200) -> web.Response:
    """JSON that is made already."""
    return web.Response(body=body, status=status, content_type="application/json", charset="utf-8")
