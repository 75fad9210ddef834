"""What ComfyUI's own routes are asked for, and whether it was a ComfyUI that answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .answers import SystemStats
from .errors import ServerError
from .limits import Kind
from .reading import Answer
from .request import Request, get, post


def system_stats(kind: Kind = "status") -> Request:
    """What ComfyUI says of itself and of its devices; of the kind `figures` where it is asked for these alone."""
    return get(kind, "system_stats")


def stats_of(url: str, answer: Answer) -> dict[str, Any]:
    """That, where it is a ComfyUI's. Raises ServerError for any other answer."""
    try:
        if answer.status != 200:
            raise ValueError
        SystemStats.model_validate(answer.value)
    except ValueError:  # pydantic's own is one
        told = f"answered {answer.status}" if answer.why is None else f"answered {answer.status}, which {answer.why}"
        raise ServerError("not_comfyui", f"{url} is no ComfyUI (/system_stats {told})") from None
    return answer.value  # type: ignore[no-any-return]  # the model has looked at it


def object_info() -> Request:
    """All node classes, by name: megabytes."""
    return get("object_info", "object_info")


def node_replacements() -> Request:
    """What stands in the place of classes that are no more; as large as `object_info` at most."""
    return get("object_info", "node_replacements")


def queue() -> Request:
    """The prompts that run and wait, with their graphs."""
    return get("queue", "queue")


def history(prompt_id: str) -> Request:
    """One prompt that has ended: an object with its id, or an empty one."""
    return get("history", "history", prompt_id)


def recent_history(count: int) -> Request:
    """The prompts that ended last, by id, oldest first."""
    return get("history", "history", query={"max_items": count})


def prompt(graph: Mapping[str, Any], prompt_id: str, client_id: str, extra_data: Mapping[str, Any]) -> Request:
    """Queue a graph under an id, for the web socket of a client."""
    body = {"prompt": graph, "prompt_id": prompt_id, "client_id": client_id, "extra_data": dict(extra_data)}
    return post("/prompt", body)


def delete(prompt_id: str) -> Request:
    """Take a prompt that waits out of the queue."""
    return post("/queue", {"delete": [prompt_id]})


def interrupt(prompt_id: str) -> Request:
    """Stop the prompt that runs, if it is this one."""
    return post("/interrupt", {"prompt_id": prompt_id})


def upload(form: Any) -> Request:
    """Put a picture into the input folder; `form` is aiohttp's."""
    return Request("POST", "/upload/image", "posted", more={"data": form})
