"""`run-recorder prompts follow`: what happens, as it happens."""

from __future__ import annotations

import time
from typing import Any

from ..client import recorder
from ..client.events import event_document, parse_events
from .output import DONE, CommandError, status_exit_code
from .server import Server, Told
from .terminal import print_document, say, stdout_is_gone, tell

RETRY_SECONDS = 1.0


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
                    event = event_document(identity, kind, data)
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


def print_event(event: dict[str, Any], *, as_json: bool) -> None:
    """One event, as a line."""
    if as_json:
        print_document(event, in_one_line=True)
        return
    rest = {name: value for name, value in event.items() if name not in ("id", "event", "at", "prompt_id")}
    words = " ".join(f"{name}={value}" for name, value in rest.items() if value is not None)
    say(f"{event.get('at') or ''} {event.get('prompt_id') or ''} {event['event']} {words}".strip())
