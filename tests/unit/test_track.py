"""Tracking without our routes: what the web socket is worth, and what happens when it breaks."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from run_recorder.client.comfy_client import ComfyClient
from run_recorder.runner import track
from run_recorder.runner.policy import Policy, resolve
from run_recorder.runner.track import Tracked, Tracker

IMAGE = {"filename": "a_00001_.png", "subfolder": "shot", "type": "output"}
HISTORY = {"status": {"status_str": "success", "messages": []}, "outputs": {"3": {"images": [IMAGE]}}}
LONG = 60
"""Seconds between two polls: whoever ends sooner was told."""


class Comfy:
    """A server that tells what a test has it tell; by default the prompt runs, and has no history."""

    url: str

    def __init__(self) -> None:
        self.history: dict[str, Any] = {}
        self.running = ["p"]
        self.asked = 0
        self.before_first_answer: Any = None
        self.sockets: list[web.WebSocketResponse] = []
        self.accepts = True
        self.connected = asyncio.Event()

    async def connect(self, request: web.Request) -> web.StreamResponse:
        if not self.accepts:
            return web.Response(status=403)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        self.connected.set()
        async for _ in socket:
            pass
        return socket

    async def ask_history(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.asked == 1 and self.before_first_answer is not None:
            await self.before_first_answer()
        entry = self.history.get(request.match_info["id"])
        return web.json_response({request.match_info["id"]: entry} if entry else {})

    async def ask_queue(self, _: web.Request) -> web.Response:
        return web.json_response({"queue_running": [[0, one] for one in self.running], "queue_pending": []})

    async def tell(self, kind: str, **data: Any) -> None:
        await self.connected.wait()
        await self.sockets[-1].send_json({"type": kind, "data": {"prompt_id": "p", **data}})

    def end(self) -> None:
        self.history["p"], self.running = HISTORY, []


@pytest.fixture
async def comfy() -> AsyncIterator[Comfy]:
    server = Comfy()
    app = web.Application()
    app.router.add_get("/ws", server.connect)
    app.router.add_get("/history/{id}", server.ask_history)
    app.router.add_get("/queue", server.ask_queue)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


def policy(**knobs: int) -> Policy:
    return resolve({name: (value, "option") for name, value in knobs.items()})


async def follow(comfy: Comfy, given: Policy, then: Any = None, said: list[str] | None = None) -> Tracked:
    """Follow prompt `p`; `then` is awaited once its history has been asked for the first time."""
    async with ComfyClient(comfy.url) as client:
        tracker = Tracker(client, given, (said if said is not None else []).append)
        await tracker.listen()
        task = asyncio.create_task(tracker.follow("p", by_record=False))
        try:
            while not comfy.asked:
                await asyncio.sleep(0.01)
            if then is not None:
                await then()
            return await asyncio.wait_for(task, 20)
        finally:
            task.cancel()
            await tracker.close()


async def test_the_end_is_told_and_not_polled_for(comfy: Comfy) -> None:
    async def then() -> None:
        comfy.end()
        await comfy.tell("execution_success", timestamp=1_700_000_000_000)

    told = await follow(comfy, policy(history_poll_interval_seconds=LONG), then)
    assert (told.end, [one.relative for one in told.files]) == ("success", ["shot/a_00001_.png"])
    assert told.requests == 2
    assert told.history_errors == []


async def test_an_older_server_tells_only_that_nothing_runs_any_more(comfy: Comfy) -> None:
    async def then() -> None:
        comfy.end()
        await comfy.tell("executing", node=None)

    told = await follow(comfy, policy(history_poll_interval_seconds=LONG), then)
    assert (told.end, told.requests) == ("success", 2)


async def test_a_history_that_comes_a_moment_after_the_end_is_waited_for(comfy: Comfy) -> None:
    async def then() -> None:
        comfy.running = []
        await comfy.tell("execution_success")
        while comfy.asked < 2:
            await asyncio.sleep(0.01)
        comfy.end()

    told = await follow(comfy, policy(history_poll_interval_seconds=LONG), then)
    assert (told.end, told.requests, told.history_errors) == ("success", 3, [])


@pytest.mark.parametrize("older", [False, True], ids=["told how", "told that nothing runs"])
async def test_an_end_that_is_heard_while_the_history_is_first_asked_is_asked_for_soon_again(
    comfy: Comfy, older: bool
) -> None:
    """Not after the usual interval, a minute: the history has it a moment after the socket told."""

    async def end_first() -> None:
        if older:
            await comfy.tell("executing", node=None)
        else:
            comfy.running = []
            await comfy.tell("execution_success")
        await asyncio.sleep(0.1)  # so that it is heard before this first answer is

    async def then() -> None:
        while comfy.asked < 2:
            await asyncio.sleep(0.01)
        comfy.end()

    comfy.before_first_answer = end_first
    told = await follow(comfy, policy(history_poll_interval_seconds=LONG), then)
    assert (told.end, told.requests) == ("success", 3)


async def test_a_history_that_never_comes_is_made_up_for_by_the_socket(comfy: Comfy) -> None:
    async def then() -> None:
        comfy.running = []
        await comfy.tell("executed", node="3", output={"images": [IMAGE]})
        await comfy.tell("execution_success", timestamp=1_700_000_000_000)

    told = await follow(comfy, policy(history_poll_interval_seconds=1, post_execution_timeout_seconds=1), then)
    assert (told.end, [one.relative for one in told.files]) == ("success", ["shot/a_00001_.png"])
    assert told.success_at == "2023-11-14T22:13:20.000Z"
    assert "as the web socket told" in told.history_errors[0]


async def test_an_error_and_its_node_are_told(comfy: Comfy) -> None:
    async def then() -> None:
        comfy.running = []
        await comfy.tell("execution_error", node_id="4", node_type="KSampler", exception_message="out of memory\n")

    told = await follow(comfy, policy(history_poll_interval_seconds=1, history_max_attempts=2), then)
    assert (told.end, told.error) == ("error", "node 4 (KSampler): out of memory")


@pytest.mark.parametrize("how", ["refused", "breaks"])
async def test_without_a_socket_the_history_is_polled(comfy: Comfy, how: str) -> None:
    comfy.accepts = how != "refused"

    async def then() -> None:
        if how == "breaks":
            await comfy.connected.wait()
            await comfy.sockets[-1].close()
        comfy.end()

    told = await follow(comfy, policy(history_poll_interval_seconds=1), then)
    assert (told.end, told.history_errors) == ("success", [])


async def test_a_prompt_that_gets_on_is_not_given_up(comfy: Comfy) -> None:
    said: list[str] = []

    async def then() -> None:
        for step in range(6):
            await comfy.tell("progress", node="7", value=step, max=6)
            await asyncio.sleep(0.5)
        comfy.end()
        await comfy.tell("execution_success")

    told = await follow(comfy, policy(history_poll_interval_seconds=1, max_wait_seconds=2), then, said)
    assert told.end == "success"
    assert any(sentence.startswith("running: node 7, ") for sentence in said)


async def test_one_that_doesn_t_is_given_up(comfy: Comfy) -> None:
    told = await follow(comfy, policy(history_poll_interval_seconds=1, max_wait_seconds=1))
    assert told.end == "maxWait"


async def test_what_is_no_news_is_passed_over(comfy: Comfy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(track, "SOON_SECONDS", 0.01)

    async def then() -> None:
        await comfy.connected.wait()
        socket = comfy.sockets[-1]
        for text in ("no json", "[1]", '{"type": "executed"}', '{"data": {"prompt_id": 7}}', "[" * 100_000):
            await socket.send_str(text)
        await socket.send_bytes(b"\0\0\0\1picture")
        await comfy.tell("executed", node="3", output="none")
        await comfy.tell("execution_success", prompt_id="another")
        comfy.end()
        await comfy.tell("execution_success")

    told = await follow(comfy, policy(history_poll_interval_seconds=LONG), then)
    assert (told.end, told.requests) == ("success", 2)
