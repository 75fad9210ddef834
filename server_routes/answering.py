"""What every route has around it: the check of its parameters, the token, the header, and errors as JSON."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web
from multidict import MultiMapping
from pydantic import BaseModel, ValidationError

from ..telemetry.models.text import kept_id
from ..telemetry.process.settings import TOKEN
from ..telemetry.record.errors import NotReadyError
from ..telemetry.version import VERSION
from .host_check import HostCheck
from .route import PREFIX, ApiError, Call, Route, answer, internal, invalid

if TYPE_CHECKING:
    from ..comfyui_host import Host

Result = TypeVar("Result")
HEADER = "X-Run-Recorder-Version"
MAX_PART = 200
"""Characters of a part of a path: an id or a name."""
MAX_QUERY = 8192
"""Characters; aiohttp itself takes no more in a request's first line."""
READY_SECONDS, READY_PAUSE_SECONDS = 30.0, 0.05
_POOL = ThreadPoolExecutor(max_workers=4, thread_name_prefix="run-recorder-read")


async def on_thread(function: Callable[..., Result], *args: Any) -> Result:
    """Run something that may touch the disk on a thread of ours, not on the server's event loop."""
    return await asyncio.get_running_loop().run_in_executor(_POOL, function, *args)


class OneThread:
    """For what takes long and much memory: one at a time, on a thread of its own; no other route waits for it."""

    def __init__(self, name: str, most_waiting: int) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._most = most_waiting
        self._waiting = 0

    async def run(self, function: Callable[..., Result], *args: Any) -> Result:
        """Run something in its turn. Raises ApiError 503 where too many wait already."""
        if self._waiting >= self._most:
            raise ApiError(503, "unavailable", "too many of these are asked for at once; ask again in a moment")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)
        finally:
            self._waiting -= 1


class Answering:
    """Makes aiohttp handlers of routes."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._hosts = HostCheck(host.listens_on_loopback_only, host.problems, host.settings.allowed_hosts)

    def handler(self, route: Route) -> Callable[[web.Request], Any]:
        """The handler of a route."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                response = await self._answer(route, request)
                if not route.public:
                    self._host.recording.store_condition.read()
            except ApiError as error:
                response = answer(error.answer, error.status)
                response.headers.update(error.headers)
            except (web.HTTPException, ConnectionError):
                raise
            except Exception as error:  # noqa: BLE001  whatever went wrong, the client gets JSON
                response = self._failed(route, error)
            if not response.prepared:
                response.headers[HEADER] = VERSION
                response.headers.setdefault("Cache-Control", "no-store")
            return response

        handle.__name__ = f"run_recorder_{route.handler.__name__}"
        return handle

    def _failed(self, route: Route, error: Exception) -> web.Response:
        """503 where the store can't be read now; 500, with the fault's id, for a fault of ours."""
        if _is_away(error):
            self._host.recording.store_condition.unread(error)
            return answer(ApiError(503, "unavailable", "the store can't be read now").answer, 503)
        what = f"route {route.method} {PREFIX}{route.path}"
        fault = self._host.problems.report(what, "a fault of this package", error, passing=True)
        return answer(internal(fault.id if fault is not None else None).answer, 500)

    async def _answer(self, route: Route, request: web.Request) -> web.StreamResponse:
        self._hosts.check(request)
        if not route.public and not is_authorized(request, self._host.settings.token):
            raise ApiError(401, "unauthorized", f"give {TOKEN} as 'Authorization: Bearer <token>'")
        path = dict(request.match_info)
        for name, part in path.items():
            if len(part) > MAX_PART:
                raise invalid(
                    name, f"{name} has {len(part)} characters; at most {MAX_PART} are accepted{_hint(name, part)}"
                )
            if name == "prompt_id":
                path[name] = kept_id(part)
        query = parsed(route.parameters, request)
        if not self._host.recording.ready.is_set() and not route.public:
            await self._until_ready()
        return await route.handler(Call(request, self._host, path, query))

    async def _until_ready(self) -> None:
        """Wait, a while, for the store to be looked for; without a thread, so that health is answered meanwhile."""
        deadline = time.monotonic() + READY_SECONDS
        while not self._host.recording.ready.is_set() and time.monotonic() < deadline:  # noqa: ASYNC110  a thread sets it
            await asyncio.sleep(READY_PAUSE_SECONDS)


def _is_away(error: Exception) -> bool:
    """Whether an error says that the store gives no answer now."""
    if isinstance(error, (NotReadyError, TimeoutError)):
        return True
    from ..telemetry.store.faults import is_no_answer  # needs SQLAlchemy, which is there once anything was asked

    return is_no_answer(error)


def _hint(name: str, part: str) -> str:
    return f"; a prompt that was posted with it is recorded under {kept_id(part)!r}" if name == "prompt_id" else ""


def is_authorized(request: web.Request, token: str | None) -> bool:
    """Whether the request bears the token, where one is set. Compared in constant time."""
    if token is None:
        return True
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    return kind.lower() == "bearer" and hmac.compare_digest(_bytes(given.strip()), _bytes(token))


def _bytes(text: str) -> bytes:
    """What came over the wire, whatever it was."""
    return text.encode("utf-8", "surrogateescape")


def parsed(model: type[BaseModel], request: web.Request) -> BaseModel:
    """The query as the route's parameters. Raises ApiError 400 that names the parameter, what was given and why not."""
    if len(request.query_string) > MAX_QUERY:
        raise invalid("query", f"the query has more than {MAX_QUERY} characters")
    try:
        return model.model_validate(_values(model, request.query))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "query"
        raise invalid(name, _explain(model, name, first)) from None


def _values(model: type[BaseModel], query: MultiMapping[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in query:
        values = query.getall(name)
        known = model.model_fields.get(name)
        many = known is not None and "tuple" in str(known.annotation)
        if len(values) > 1 and not many and known is not None:
            raise invalid(name, f"{name} was given {len(values)} times; once is accepted")
        found[name] = tuple(values) if many else values[0]
    return found


def _explain(model: type[BaseModel], name: str, error: Any) -> str:
    if error["type"] == "extra_forbidden":
        accepted = ", ".join(model.model_fields) or "none"
        return f"{name} is no parameter of this route; accepted: {accepted}"
    field = model.model_fields.get(name)
    about = f" ({field.description.rstrip('.')})" if field is not None and field.description else ""
    if error["type"] == "missing":
        return f"{name} is required{about}"
    said = str(error["msg"]).removeprefix("Value error, ")
    return f"{name}{about}: {said}; given: {str(error['input'])[:100]!r}"
