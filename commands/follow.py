"""`run-recorder prompts follow`: what happens, as it happens."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from ..client import recorder
from ..client.limits import BOUNDS, MOST_TEXT
from ..client.parsing import UnreadableError, parse
from ..telemetry.models.text import clean
from .output import DONE, CommandError, status_exit_code
from .server import MOST_EVENT_ID, Server, Told
from .terminal import print_document, say, stdout_is_gone, tell

RETRY_SECONDS = 1.0
MOST_CHARACTERS = BOUNDS["events"].most_bytes
"""Of one event's data; a longer one is passed over."""


def parse_events(lines: Iterable[bytes]) -> Iterator[tuple[str | None, str, str]]:
    """Server-sent events as id, event and data, by the HTML standard's rules; what is malformed is passed over."""
    identity: str | None = None
    kind = "message"
    data: list[str] = []
    size = 0
    for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line:
            if data and size <= MOST_CHARACTERS:
                yield identity, kind, "\n".join(data)
            kind, data, size = "message", [], 0
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id" and "\0" not in value:
            identity = value
        elif name == "event":
            kind = value or "message"
        elif name == "data":
            size += len(value)
            if size <= MOST_CHARACTERS:
                data.append(value)


def follow(server: Server, prompt_id: str | None, after: str | None, *, as_json: bool, until_finished: bool) -> int:
    """Print events until interrupted, or until the prompt that is asked for has ended. Reconnects by itself."""
    tried = False
    while True:
        try:
            with server.stream(recorder.events(prompt_id), after) as lines:
                tried = True
                if until_finished and after is None and prompt_id is not None and next(lines, None) is not None:
                    ended, prompt = server.wait(prompt_id, 0)  # what ends from now on is told by the stream
                    if ended:
                        return print_end(prompt, as_json=as_json)
                for identity, kind, data in parse_events(lines):
                    after = identity or after
                    event = _told(identity, kind, data)
                    print_event(event, as_json=as_json)
                    if until_finished and kind == "prompt.finished":
                        return 0 if event.get("status") == "success" else 1
        except BrokenPipeError:  # whoever reads our output has seen enough
            stdout_is_gone()
            return DONE
        except CommandError as error:
            if not tried or error.kind not in ("unavailable",):
                raise
        tell("the connection is gone; trying again")
        time.sleep(RETRY_SECONDS)


def print_end(prompt: Told, *, as_json: bool) -> int:
    """Tell the end of a prompt that ended before the stream began; the exit code."""
    read = prompt.read
    told = {name: read[name] for name in ("prompt_id", "status")}
    refused = {"refused": len(read["refused"])} if read["refused"] else {}
    print_event({"id": None, "event": "prompt.finished", "at": read["ended_at"], **told, **refused}, as_json=as_json)
    return status_exit_code(read["status"])


def _told(identity: str | None, kind: str, data: str) -> dict[str, Any]:
    try:
        told = parse(data.encode("utf-8", "replace"))
    except UnreadableError:
        told = {"data": clean(data, MOST_TEXT)}
    number = int(identity) if identity is not None and identity.isdecimal() and len(identity) <= MOST_EVENT_ID else None
    return {"id": number, "event": kind, **(told if isinstance(told, dict) else {"data": told})}


def print_event(event: dict[str, Any], *, as_json: bool) -> None:
    """One event, as a line."""
    if as_json:
        print_document(event, in_one_line=True)
        return
    rest = {name: value for name, value in event.items() if name not in ("id", "event", "at", "prompt_id")}
    words = " ".join(f"{name}={value}" for name, value in rest.items() if value is not None)
    say(f"{event.get('at') or ''} {event.get('prompt_id') or ''} {event['event']} {words}".strip())
