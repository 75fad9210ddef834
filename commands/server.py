"""Talks to a ComfyUI server that has our routes."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from ..client import blocking, comfyui, recorder
from ..client.answers import text_of
from ..client.errors import ServerError
from ..client.events import asked_after
from ..client.parsing import EMPTY
from ..client.reading import Answer
from ..client.request import Request
from ..client.urls import checked_url
from ..telemetry.models.base import Model
from ..telemetry.models.prompt import Prompt, PromptPage
from ..telemetry.process.token import TokenError, bearer_of
from .output import BAD_USE, FAILED, CommandError

LONGEST_POLL_SECONDS = 60.0
MOST_LOOKED_AT, MOST_NAMED = 500, 3
"""Prompts that are looked through for the beginning of an id; those of several that are named."""
Answered = TypeVar("Answered")
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MOST_KIND = 60
"""Characters of a server's word for its error."""


class Told(NamedTuple):
    """An answer that one of our models accepts."""

    as_it_came: Any
    """For `--json`; what the model has a default for may be missing."""
    read: dict[str, Any]
    """For people: all fields of the model, and no others."""


class Server:
    """One server, by its URL. `RUN_RECORDER_TOKEN` is sent as bearer. Raises CommandError for what is no URL."""

    def __init__(self, url: str) -> None:
        try:
            self.url = checked_url(url)
        except ValueError as error:
            raise CommandError("invalid_parameter", f"--comfyui: {error}") from None

    def record(self, model: type[Model], request: Request) -> Told:
        """Ask for what one of our models describes. Raises CommandError."""
        _, told = self.ask(request)
        return checked(model, told, self.url)

    def by_ids(self, given: Sequence[str], ask: Callable[..., Answered]) -> Answered:
        """Ask for prompts by their ids; where one is not known, by the ids that begin so. Raises CommandError."""
        try:
            return ask(*given)
        except CommandError as error:
            if error.kind != "not_found":
                raise
            whole = [self._whole_id(one) for one in given]
            if whole == list(given):
                raise
        return ask(*whole)

    def _whole_id(self, given: str) -> str:
        """The id of the one prompt whose id begins so; else what was given. Raises CommandError where several do."""
        if _UUID.fullmatch(given):
            return given
        page = self.record(PromptPage, recorder.prompts({"q": given, "limit": MOST_LOOKED_AT})).read
        found = list(dict.fromkeys(one["prompt_id"] for one in page["items"] if one["prompt_id"].startswith(given)))
        if given in found or not found:
            return given
        if len(found) > 1 or page["next_cursor"] is not None:
            named = ", ".join(found[:MOST_NAMED]) + (" and others" if len(found) > MOST_NAMED else "")
            why = (
                f"{len(found)} prompts begin with {given!r} ({named})" if len(found) > 1 else f"{given!r} is too short"
            )
            raise CommandError("invalid_parameter", f"{why}: give more of the id")
        return str(found[0])

    @contextlib.contextmanager
    def stream(self, request: Request, after: str | None = None) -> Iterator[Iterator[bytes]]:
        """Ask for server-sent events: the lines, as they come. Raises CommandError where nobody answers."""
        headers = {**_bearer(), **asked_after(after)}
        with _told(), blocking.lines(self.url, request, headers=headers) as (no, lines):
            if no is not None:
                raise _refusal(no, self.url)
            yield lines

    def ask(self, request: Request) -> tuple[int, Any]:
        """Status and JSON. Raises CommandError where nobody answers, or an error does."""
        with _told():
            answer = blocking.ask(self.url, request, headers=_bearer())
        if not 200 <= answer.status < 300:
            raise _refusal(answer, self.url)
        if answer.why is not None and answer.why != EMPTY:
            raise CommandError("unavailable", f"the answer of {self.url} {answer.why}; is this a ComfyUI server?")
        return answer.status, answer.value

    def wait(self, prompt_id: str, timeout: float, run: int | None = None) -> tuple[bool, Told]:
        """Wait for a prompt's end, by long polls; whether it has ended, and the prompt."""
        deadline = time.monotonic() + timeout
        while True:
            left = max(0.0, deadline - time.monotonic())
            poll = min(left, LONGEST_POLL_SECONDS)
            status, prompt = self.ask(recorder.wait(prompt_id, poll, run))
            told = checked(Prompt, prompt, self.url)
            if status == 200 or left <= poll:
                return status == 200, told


def infos_of(url: str) -> Callable[[], Mapping[str, Any]]:
    """What a server says of its node classes, once it is asked for. That raises CommandError."""

    def ask() -> Mapping[str, Any]:
        _, told = Server(url).ask(comfyui.object_info())
        return told if isinstance(told, dict) else {}

    return ask


def checked(model: type[Model], told: Any, url: str) -> Told:
    """The answer, where the model accepts it; else CommandError with the first field that is wrong."""
    try:
        return Told(told, model.model_validate(told).model_dump())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise CommandError(
            "unavailable", f"{url} did not answer as Run Recorder does: {where}: {first['msg']}"
        ) from None


def _bearer() -> dict[str, str]:
    try:
        return bearer_of()
    except TokenError as error:
        raise CommandError("invalid_parameter", str(error)) from None


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What a server does wrong, as a command's error."""
    try:
        yield
    except ServerError as error:
        kind = error.kind if error.kind in ("tls", "unauthorized") else "unavailable"
        raise CommandError(kind, str(error)) from None


def _refusal(answer: Answer, url: str) -> CommandError:
    """An error that a server answered with, in its own words where they are ours."""
    error = answer.value.get("error") if isinstance(answer.value, dict) else None
    kind, message = (text_of(error.get(name)) if isinstance(error, dict) else None for name in ("type", "message"))
    if kind is None or message is None:
        hint = "; is Run Recorder installed there?" if answer.status == 404 else ""
        return CommandError("unavailable", f"{url} answered {answer.status}{hint}")
    return CommandError(kind[:MOST_KIND], message, FAILED if answer.status >= 500 else BAD_USE)
