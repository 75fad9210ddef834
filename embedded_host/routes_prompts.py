"""The routes that queue, list, interrupt and forget prompts."""

from __future__ import annotations

import json
import logging
import time
import uuid
from typing import Any

from aiohttp import web

from . import execution, nodes
from .prompt_queue import QueueItem
from .server import PromptServer, new_prompt_id

# What a graph's API nodes are paid with: kept apart in the queue, never shown.
SENSITIVE_KEYS = ("auth_token_comfy_org", "api_key_comfy_org")


class PromptRoutes:
    """/prompt, /queue, /history, /interrupt, /free and the cancelling of jobs."""

    def __init__(self, server: PromptServer) -> None:
        self._server = server
        self._queue = server.prompt_queue

    def table(self) -> list[web.RouteDef]:
        """The routes."""
        return [
            web.get("/prompt", self.left),
            web.post("/prompt", self.post_prompt),
            web.get("/queue", self.get_queue),
            web.post("/queue", self.post_queue),
            web.get("/history", self.get_history),
            web.get("/history/{prompt_id}", self.get_history_of),
            web.post("/history", self.post_history),
            web.post("/interrupt", self.interrupt),
            web.post("/free", self.free),
            web.post("/api/jobs/{job_id}/cancel", self.cancel),
        ]

    async def left(self, request: web.Request) -> web.Response:
        """How many prompts run or wait."""
        return web.json_response(self._server.get_queue_info())

    async def post_prompt(self, request: web.Request) -> web.Response:
        """Check a graph and queue it; 200 as soon as one of its outputs is good."""
        logging.info("got prompt")
        wish = _fields(self._server.trigger_on_prompt(await request.json()))
        number = self._server.next_number(wish)
        if "prompt" not in wish:
            return _refused("no_prompt", "No prompt provided", "No prompt provided")
        if (prompt_id := _prompt_id(wish.get("prompt_id"))) is None:
            details = "prompt_id must be a UUID in canonical lowercase hyphenated form, or be left out"
            return _refused("invalid_prompt_id", "prompt_id must be a valid UUID", details)
        prompt = wish["prompt"]
        good, error, outputs, errors = await execution.validate_prompt(
            prompt_id, prompt, wish.get("partial_execution_targets")
        )
        if not good:
            logging.warning("invalid prompt: %s", error)
            return web.json_response({"error": error, "node_errors": errors}, status=400)
        extra_data, sensitive = _extra_data(wish)
        self._queue.put((number, prompt_id, prompt, extra_data, outputs, sensitive))
        return web.json_response({"prompt_id": prompt_id, "number": number, "node_errors": errors})

    async def get_queue(self, request: web.Request) -> web.Response:
        """The prompts that run and wait."""
        running, pending = self._queue.get_current_queue_volatile()
        return web.json_response({"queue_running": _shown(running), "queue_pending": _shown(pending)})

    async def post_queue(self, request: web.Request) -> web.Response:
        """Drop all that wait, or some."""
        wish = _fields(await request.json())
        if wish.get("clear"):
            self._queue.wipe_queue()
        for prompt_id in wish.get("delete", []):
            self._queue.delete_queue_item(_is(prompt_id))
        return web.Response()

    async def get_history(self, request: web.Request) -> web.Response:
        """Those that have ended."""
        query = request.rel_url.query
        limit = int(query["max_items"]) if "max_items" in query else None
        offset = int(query.get("offset", -1))
        return web.json_response(self._queue.get_history(max_items=limit, offset=offset))

    async def get_history_of(self, request: web.Request) -> web.Response:
        """One that has ended; ``{}`` for any other."""
        return web.json_response(self._queue.get_history(prompt_id=request.match_info["prompt_id"]))

    async def post_history(self, request: web.Request) -> web.Response:
        """Forget all that have ended, or some."""
        wish = _fields(await request.json())
        if wish.get("clear"):
            self._queue.wipe_history()
        for prompt_id in wish.get("delete", []):
            self._queue.delete_history_item(prompt_id)
        return web.Response()

    async def interrupt(self, request: web.Request) -> web.Response:
        """Stop the running prompt; with a ``prompt_id`` only if it is that one."""
        try:
            wish = await request.json()
        except json.JSONDecodeError:
            wish = {}
        if prompt_id := wish.get("prompt_id"):
            self._queue.interrupt_if_running(prompt_id)
        else:
            nodes.interrupt_processing()
        return web.Response()

    async def free(self, request: web.Request) -> web.Response:
        """Ask the worker to forget results and models."""
        wish = await request.json()
        for flag in ("unload_models", "free_memory"):
            if wish.get(flag):
                self._queue.set_flag(flag, wish[flag])
        return web.Response()

    async def cancel(self, request: web.Request) -> web.Response:
        """Interrupt or drop one prompt, whichever fits; false where there is nothing to do."""
        prompt_id = request.match_info["job_id"]
        cancelled = self._queue.interrupt_if_running(prompt_id)
        if not cancelled and any(map(_is(prompt_id), self._queue.get_current_queue_volatile()[1])):
            cancelled = self._queue.delete_queue_item(_is(prompt_id))
        return web.json_response({"cancelled": cancelled})


def _fields(body: Any) -> dict[str, Any]:
    """A request's fields; a body of another shape has none."""
    return body if isinstance(body, dict) else {}


def _is(prompt_id: str) -> Any:
    return lambda item: item[1] == prompt_id


def _shown(items: list[QueueItem]) -> list[QueueItem]:
    return [item[:5] for item in items]


def _refused(kind: str, message: str, details: str) -> web.Response:
    error = {"type": kind, "message": message, "details": details, "extra_info": {}}
    return web.json_response({"error": error, "node_errors": {}}, status=400)


def _prompt_id(given: Any) -> str | None:
    """The id that a prompt gets: its own, or a new one; None where its own won't do."""
    if given is None:
        return new_prompt_id()
    try:
        return given if isinstance(given, str) and str(uuid.UUID(given)) == given else None
    except ValueError:
        return None


def _extra_data(wish: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What came with the graph, and apart from it what is secret."""
    extra: dict[str, Any] = wish.get("extra_data", {})
    if "client_id" in wish:
        extra["client_id"] = wish["client_id"]
    sensitive = {key: extra.pop(key) for key in SENSITIVE_KEYS if key in extra}
    extra["create_time"] = int(time.time() * 1000)
    return extra, sensitive
