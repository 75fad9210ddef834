"""Scenes on several servers: each once, none lost, whatever the servers do."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from run_recorder.runner import pool
from run_recorder.runner.pool import Pool, Verdict, until_gone


@dataclass
class Scene:
    name: str
    losses: int = 0
    pinned: str | None = None


@dataclass
class Servers:
    """Servers that do what a test says, and what was done on them."""

    did: list[tuple[str, str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    back: list[str] = field(default_factory=list)

    def pool(
        self,
        names: list[str],
        scenes: list[Scene],
        act: Callable[[str, str], object] = lambda server, scene: None,
        seconds: Callable[[str], float] = lambda server: 0.0,
        patience: float = 0.2,
        fail_fast: bool = False,
    ) -> Pool:
        async def work(server: str, scene: pool.Work) -> Verdict:
            await asyncio.sleep(seconds(server))
            self.did.append((server, scene.name))
            return "failed" if act(server, scene.name) == "failed" else "done"

        async def up(server: str) -> bool:
            return server not in self.down

        async def again(server: str) -> None:
            self.back.append(server)

        def say(who: str, what: str) -> None:
            self.said.append(f"{who}: {what}")

        return Pool(names, scenes, work, up, again, say, patience=patience, fail_fast=fail_fast)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "PROBE_SECONDS", 0.01)

    async def never(url: str) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(pool, "until_gone", never)


def _scenes(count: int) -> list[Scene]:
    return [Scene(f"scene-{number:03}") for number in range(1, count + 1)]


async def test_one_server_does_them_in_their_order() -> None:
    servers = Servers()
    await servers.pool(["a"], _scenes(4)).run()
    assert [name for _, name in servers.did] == [scene.name for scene in _scenes(4)]


async def test_several_do_each_once_and_none_waits_for_a_slow_one() -> None:
    servers = Servers()
    seconds = {"a": 0.001, "b": 0.001, "slow": 0.4}
    await servers.pool(["a", "b", "slow"], _scenes(40), seconds=seconds.__getitem__).run()
    assert sorted(name for _, name in servers.did) == [scene.name for scene in _scenes(40)]
    assert sum(server == "slow" for server, _ in servers.did) <= 2


async def test_a_failure_stops_nothing_unless_it_is_to() -> None:
    servers = Servers()
    await servers.pool(["a"], _scenes(3), lambda server, scene: "failed").run()
    assert len(servers.did) == 3
    servers = Servers()
    one = servers.pool(["a"], _scenes(3), lambda server, scene: "failed", fail_fast=True)
    await one.run()
    assert len(servers.did) == 1
    assert one.why is not None and "scene-001 failed" in one.why
    assert [scene.name for scene in one.left] == ["scene-002", "scene-003"]


async def test_a_scene_goes_to_the_server_that_has_its_prompt() -> None:
    servers = Servers()
    scenes = _scenes(6)
    scenes[4].pinned = "b"
    await servers.pool(["a", "b"], scenes, seconds=lambda server: 0.01).run()
    assert ("b", "scene-005") in servers.did


async def test_where_that_server_is_away_another_takes_it() -> None:
    servers = Servers(down={"b"})
    scenes = _scenes(2)
    scenes[0].pinned = "b"
    await servers.pool(["a", "b"], scenes).run()
    assert sorted(servers.did) == [("a", "scene-001"), ("a", "scene-002")]


async def test_a_server_that_comes_back_works_again() -> None:
    servers = Servers(down={"b"})
    one = servers.pool(["a", "b"], _scenes(20), seconds=lambda server: 0.02)
    task = asyncio.create_task(one.run())
    await asyncio.sleep(0.1)
    servers.down.clear()
    await task
    assert servers.back == ["b"]
    assert any(server == "b" for server, _ in servers.did)
    assert "b: doesn't answer: waiting for it" in servers.said


async def test_where_no_server_answers_it_ends_after_its_patience_and_says_why() -> None:
    servers = Servers(down={"a", "b"})
    one = servers.pool(["a", "b"], _scenes(3), patience=0.1)
    await asyncio.wait_for(one.run(), 20)
    assert one.why == "no server is left that answers"
    assert len(one.left) == 3 and servers.did == []


async def test_a_server_that_has_gone_hands_its_scene_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(url: str) -> None:
        if url != "b":
            await asyncio.Event().wait()
        servers.down.add("b")

    monkeypatch.setattr(pool, "until_gone", gone)
    servers = Servers()
    scenes = _scenes(5)
    await servers.pool(["a", "b"], scenes, seconds=lambda server: 0.05).run()
    assert sorted(name for _, name in servers.did) == [scene.name for scene in _scenes(5)]
    assert {server for server, _ in servers.did} == {"a"}
    assert sum(scene.losses for scene in scenes) == 1


async def test_the_scene_under_which_every_server_goes_is_given_up_and_the_rest_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The servers come back each time, so nothing but the scene is to blame."""
    current: dict[str, str] = {}

    async def gone(url: str) -> None:
        while current.get(url) != "scene-002":
            await asyncio.sleep(0.001)

    monkeypatch.setattr(pool, "until_gone", gone)
    servers = Servers()
    scenes = _scenes(4)
    done: list[str] = []

    async def work(server: str, scene: pool.Work) -> Verdict:
        current[server] = scene.name
        try:
            await asyncio.sleep(0.05)
            done.append(scene.name)
            return "done"
        finally:
            current.pop(server)

    plain = servers.pool(["a"], scenes)
    plain._work = work
    await asyncio.wait_for(plain.run(), 20)
    assert done == ["scene-001", "scene-003", "scene-004"]
    assert scenes[1].losses == pool.MOST_LOSSES


async def test_a_fault_ends_all_and_an_interrupt_too() -> None:
    def broken(server: str, scene: str) -> object:
        raise OSError("the disk is full")

    servers = Servers()
    with pytest.raises(OSError, match="disk is full"):
        await servers.pool(["a", "b"], _scenes(4), broken).run()
    servers = Servers()
    task = asyncio.create_task(servers.pool(["a"], _scenes(2), seconds=lambda server: 60.0).run())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert servers.did == []


async def test_a_server_that_takes_no_connection_has_gone_and_a_silent_one_has_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "GONE_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(200)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(until_gone(url), 0.6)
    await asyncio.wait_for(until_gone(url), 20)


@pytest.mark.parametrize("later", range(6))
async def test_a_watch_that_is_no_longer_wanted_ends_whatever_happens_in_that_moment(
    monkeypatch: pytest.MonkeyPatch, later: int
) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()

    class Connection:
        def close(self) -> None:
            pass

    async def connect(*_: object) -> tuple[None, Connection]:
        asked.set()
        await answered.wait()
        return None, Connection()

    monkeypatch.setattr(pool, "PROBE_SECONDS", 0.0)
    monkeypatch.setattr(asyncio, "open_connection", connect)
    watching = asyncio.create_task(until_gone("http://127.0.0.1:1"))
    await asked.wait()
    answered.set()
    for _ in range(later):
        await asyncio.sleep(0)
    watching.cancel()
    await asyncio.wait({watching}, timeout=1)
    assert watching.cancelled()
