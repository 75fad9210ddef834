"""Many prompts in one go: is each of them in the store with the right status, and does memory stay flat?

Posts prompts that succeed, fail and are deleted from the queue, on a host with us and on a bare one (the control), and
asks the store for every id afterwards. Prints what was lost (0 is the only good figure), and resident memory over the
bare host's along the way.

    python benchmarks/soak.py [--kind embedded|real] [--prompts 10000]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.graphs import Graph, saved  # noqa: E402
from tests.hosts import Host  # noqa: E402

LIBRARIES = "import alembic.command, alembic.config, filelock, psutil, pydantic, sqlalchemy.orm\n"
"""What a real ComfyUI has loaded anyway; both hosts load it, so that memory is compared and not libraries."""
WAITING = 40
"""Prompts in the queue at a time."""
TENTHS = 10
LIMIT_MIB, GROWTH_MIB = 30.0, 5.0


def failing(number: int) -> Graph:
    """A node that raises, before a saver."""
    graph = Graph()
    broken = graph.add("ProbeFail", source=graph.image(), message=f"number {number}")
    graph.save(broken, f"soak/f{number}")
    graph.marker()
    return graph


def without_ours(graph: Graph) -> Graph:
    """The same graph for a host that doesn't know our node: another output node stands in its place."""
    for node in graph.values():
        if node["class_type"] == "WriteDoneMarker":
            node.update(class_type="ProbeSleepNoProgress", inputs={"seconds": 0, "salt": 0})
    return graph


def graph_for(host: Host, number: int, bad: bool = False) -> Graph:
    """A prompt with a marker; on a bare host with as many nodes, so that ComfyUI's own history is as large."""
    graph = failing(number) if bad else saved(f"soak/{number % 50}/a{number}", marker={})
    return graph if host.recorder else without_ours(graph)


async def post(session: aiohttp.ClientSession, graph: Graph) -> str:
    """Queue a prompt; its id."""
    async with session.post("/prompt", json={"prompt": graph}) as answer:
        return str((await answer.json())["prompt_id"])


async def room(session: aiohttp.ClientSession, most: int) -> None:
    """Wait until the queue is short."""
    while True:
        async with session.get("/prompt") as answer:
            if (await answer.json())["exec_info"]["queue_remaining"] <= most:
                return
        await asyncio.sleep(0.02)


async def post_and_delete(session: aiohttp.ClientSession, host: Host, expected: dict[str, str], number: int) -> None:
    """A prompt that is taken out of the queue while another one runs."""
    slow = Graph()
    slow.slow(0.2)
    expected[await post(session, slow)] = "success"
    victim = await post(session, graph_for(host, number))
    async with session.post("/queue", json={"delete": [victim]}):
        expected[victim] = "cancelled"


async def work(host: Host, prompts: int) -> tuple[dict[str, str], list[float], float]:
    """Run all; the status that each id must have, resident MiB after each tenth, and seconds."""
    expected: dict[str, str] = {}
    memory: list[float] = []
    process = psutil.Process(host.pid)
    begun = time.monotonic()
    async with aiohttp.ClientSession(host.url) as session:
        for number in range(prompts):
            bad = number % 10 == 7
            expected[await post(session, graph_for(host, number, bad))] = "error" if bad else "success"
            if number % WAITING == WAITING - 1:
                await post_and_delete(session, host, expected, number)
                await room(session, WAITING // 4)
            if (number + 1) % (prompts // TENTHS) == 0:
                await room(session, 0)
                memory.append(process.memory_info().rss / 2**20)
        await room(session, 0)
    return expected, memory, time.monotonic() - begun


async def recorded(host: Host) -> dict[str, str]:
    """The status of every prompt that the store has."""
    found: dict[str, str] = {}
    cursor: str | None = ""
    async with aiohttp.ClientSession(host.url) as session:
        while cursor is not None:
            query: dict[str, Any] = {"limit": 500, **({"cursor": cursor} if cursor else {})}
            async with session.get("/telemetry/prompts", params=query) as answer:
                page = await answer.json()
            found.update((item["prompt_id"], item["status"]) for item in page["items"])
            cursor = page["next_cursor"]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=("embedded", "real"), default="embedded")
    parser.add_argument("--prompts", type=int, default=10_000)
    given = parser.parse_args()
    figures: dict[str, list[float]] = {}
    seconds: dict[str, float] = {}
    for name in ("bare", "with us"):
        with tempfile.TemporaryDirectory() as folder:
            libraries = Path(folder) / "libraries"
            libraries.mkdir()
            (libraries / "__init__.py").write_text(LIBRARIES + "NODE_CLASS_MAPPINGS = {}\n", "utf-8")
            host = Host(given.kind, Path(folder), packs=[libraries], recorder=name == "with us").start()
            try:
                expected, figures[name], seconds[name] = asyncio.run(work(host, given.prompts))
                found = asyncio.run(recorded(host)) if host.recorder else {}
                health = host.health() if host.recorder else None
            finally:
                host.stop()
    wrong = {
        prompt_id: found.get(prompt_id) for prompt_id, status in expected.items() if found.get(prompt_id) != status
    }
    over = [ours - bare for bare, ours in zip(figures["bare"], figures["with us"], strict=True)]
    sys.stdout.write(
        f"{len(expected)} prompts ({dict(Counter(expected.values()))}): {len(wrong)} missing or with another status, "
        f"{health['store']['dropped']} dropped, problems {[problem['what'] for problem in health['problems']]}\n"
        f"seconds: bare {seconds['bare']:.0f}, with us {seconds['with us']:.0f} "
        f"({seconds['with us'] / seconds['bare']:.2f})\n"
        f"MiB over bare after each tenth: {', '.join(f'{one:.1f}' for one in over)}\n"
    )
    growth = over[-1] - over[TENTHS // 2 - 1]
    good = not wrong and not health["store"]["dropped"] and over[-1] <= LIMIT_MIB and growth <= GROWTH_MIB
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
