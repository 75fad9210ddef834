"""Server-sent events: what is told, in which order, and how a reader resumes."""

import asyncio
import contextlib
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from .graphs import saved, slow_then_saved
from .hosts import CLI, Host


class Listener:
    """Reads events on a thread of its own, from the moment that the server has answered."""

    def __init__(self, host: Host, query: str = "", after: int | None = None) -> None:
        self.events: list[dict[str, Any]] = []
        self.seen: list[tuple[str, bool]] = []
        self._host = host
        self._url = f"{host.url}/telemetry/events{query}"
        self._headers = {} if after is None else {"Last-Event-ID": str(after)}
        self._ready = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def _run(self) -> None:
        with contextlib.suppress(aiohttp.ClientError):  # the server was killed
            asyncio.run(self._read())

    async def _read(self) -> None:
        async with aiohttp.ClientSession() as session, session.get(self._url, headers=self._headers) as answer:
            assert answer.status == 200, await answer.text()
            assert answer.headers["X-Run-Recorder-Version"]
            event: dict[str, Any] = {}
            while not self._stop.is_set():
                try:
                    line = (await asyncio.wait_for(answer.content.readline(), 0.2)).decode().rstrip("\r\n")
                except asyncio.TimeoutError:
                    continue
                self._ready.set()
                name, _, value = line.partition(": ")
                if name == "data":
                    event |= json.loads(value)
                elif name in ("id", "event"):
                    event[name] = value
                elif not line and event:
                    if event["event"] == "marker.written":
                        self.seen.append((event["path"], self._host.path(event["path"]).exists()))
                    self.events.append(event)
                    event = {}

    def until(self, kind: str, prompt_id: str, seconds: float = 20) -> list[dict[str, Any]]:
        """The prompt's events, once one of that kind has come."""

        def there() -> list[dict[str, Any]]:
            of_prompt = [event for event in self.events if event.get("prompt_id") == prompt_id]
            return of_prompt if any(event["event"] == kind for event in of_prompt) else []

        return list(self._host.until(there, seconds))

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)


@pytest.fixture
def listen(host: Host) -> Any:
    listeners: list[Listener] = []

    def start(query: str = "", after: int | None = None) -> Listener:
        listeners.append(Listener(host, query, after))
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.stop()


Listen = Callable[..., Listener]


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["event"] for event in events]


def test_a_prompts_life_is_told_in_order_and_its_marker_is_there_when_it_is_told(
    host: Host, folder: str, listen: Listen
) -> None:
    listener = listen()
    prompt_id = host.queue(slow_then_saved(f"{folder}/a", 1.0))
    events = listener.until("prompt.finished", prompt_id)
    told = kinds(events)
    assert told[:2] == ["prompt.queued", "prompt.started"]
    assert told[-2:] == ["marker.written", "prompt.finished"]
    assert events[-1]["status"] == "success"
    assert events[-2]["path"] == f"{folder}/a.done"
    assert (f"{folder}/a.done", True) in listener.seen
    numbers = [int(event["id"]) for event in events]
    assert numbers == sorted(set(numbers))
    slow = [event for event in events if event.get("node_id") == "slow"]
    assert kinds(slow)[0] == "node.started" and kinds(slow)[-1] == "node.finished"
    steps = [event for event in slow if event["event"] == "node.progress"]
    assert 2 <= len(steps) <= 7, "at most five a second"
    assert steps[-1]["max"] == 20
    assert host.record(prompt_id)["status"] == "success"


def test_a_filter_tells_one_prompt_only(host: Host, folder: str, listen: Listen) -> None:
    first = host.queue(slow_then_saved(f"{folder}/a", 0.5))
    listener = listen(f"?prompt_id={first}")
    host.queue(saved(f"{folder}/b"))
    listener.until("prompt.finished", first)
    assert {event["prompt_id"] for event in listener.events} == {first}


def test_a_reader_resumes_where_it_was(host: Host, folder: str, listen: Listen) -> None:
    listener = listen()
    first = host.queue(saved(f"{folder}/a", marker={}))
    events = listener.until("prompt.finished", first)
    middle = int(events[2]["id"])
    second = host.queue(saved(f"{folder}/b", marker={}))
    listener.until("prompt.finished", second)
    resumed = listen(after=middle)
    resumed.until("prompt.finished", second)
    expected = [event["id"] for event in listener.events if int(event["id"]) > middle]
    assert [event["id"] for event in resumed.events][: len(expected)] == expected


def test_a_cancelled_prompt_is_told_to_be_finished(host: Host, folder: str, listen: Listen) -> None:
    listener = listen()
    running = host.queue(slow_then_saved(f"{folder}/a", 1.0))
    waiting = host.queue(saved(f"{folder}/b"))
    host.delete_queued(waiting)
    events = listener.until("prompt.finished", waiting)
    assert kinds(events) == ["prompt.queued", "prompt.finished"]
    assert events[-1]["status"] == "cancelled"
    host.wait(running)


@pytest.mark.parametrize("given", ["x", "-1", "1.5", "9" * 30])
def test_a_resume_from_what_is_no_number_is_refused(host: Host, given: str) -> None:
    reply = host.request("GET", "/telemetry/events", headers={"Last-Event-ID": given})
    assert reply.status == 400
    assert reply.body["error"]["field"] == "Last-Event-ID"


def test_numbers_grow_over_a_restart_and_ends_are_not_missed(start_host: Callable[..., Host]) -> None:
    host = start_host()
    first = host.run(saved("shot/a", marker={}))["prompt_id"]
    listener = Listener(host, after=0)
    before = listener.until("prompt.finished", first)
    last = int(before[1]["id"])
    running = host.queue(slow_then_saved("shot/b", 30))
    host.until_running(running, "slow")
    time.sleep(0.5)  # what is in memory only, a kill may cost
    host.kill()
    listener.stop()
    host.start()
    resumed = Listener(host, after=last)
    try:
        events = resumed.until("prompt.finished", running)
        assert events[-1]["status"] == "abandoned"
        assert kinds(events)[-2:] == ["marker.written", "prompt.finished"]
        assert "prompt.finished" in kinds([e for e in resumed.events if e.get("prompt_id") == first])
        numbers = [int(event["id"]) for event in resumed.events]
        assert numbers == sorted(set(numbers)) and numbers[0] > last
    finally:
        resumed.stop()


def test_a_slow_reader_is_cut_off_and_costs_the_others_nothing(host: Host, folder: str, listen: Listen) -> None:
    if host.kind == "real":
        pytest.skip("the same code serves both hosts; many prompts take long here")
    listener = listen()
    before = {problem["what"] for problem in host.health()["problems"]}
    with socket.create_connection(("127.0.0.1", host.port)) as sleeper:
        sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sleeper.sendall(b"GET /telemetry/events HTTP/1.1\r\nHost: x\r\n\r\n")
        for number in range(150):
            prompt_id = host.queue(saved(f"{folder}/a{number}", marker={}))
        listener.until("prompt.finished", prompt_id, 60)
    assert {problem["what"] for problem in host.health()["problems"]} == before


def test_the_command_follows_a_prompt_to_its_end(host: Host, folder: str) -> None:
    prompt_id = host.queue(slow_then_saved(f"{folder}/a", 1.0))
    host.until_running(prompt_id)
    started = time.monotonic()
    done = subprocess.run(
        [*CLI, "prompts", "follow", prompt_id, "--json", "--comfyui", host.url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 20
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["event"] == "prompt.finished" and events[-1]["status"] == "success"
    assert {event["prompt_id"] for event in events} == {prompt_id}


def test_a_reader_of_the_command_s_output_that_has_seen_enough_ends_it(host: Host, folder: str) -> None:
    follower = subprocess.Popen(
        [*CLI, "prompts", "follow", "--json", "--after", "0", "--comfyui", host.url], stdout=subprocess.PIPE
    )
    assert follower.stdout is not None
    try:
        host.run(saved(f"{folder}/a"))
        assert json.loads(follower.stdout.readline())["event"]
        follower.stdout.close()
        for number in range(20):
            host.run(saved(f"{folder}/b{number}"))
            if follower.poll() is not None:
                break
        assert follower.wait(20) == 0
    finally:
        follower.kill()
        follower.wait()
