"""A prompt's figures: by the record that a server has of it, else from outside, and never more than can be kept."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from run_recorder.client.comfy_client import ComfyClient
from run_recorder.client.prompt_figures import NO_RECORD, PromptFigures
from run_recorder.client.scene_figures import MOST_NOTES, from_record
from run_recorder.telemetry.models.gpu import Device, System
from run_recorder.telemetry.models.run_contract import SceneTelemetry
from run_recorder.telemetry.models.run_telemetry import telemetry_of

from .test_run_view import prompt

GIB = 1024**3
STATS = {"system": {}, "devices": [{"name": "cuda:0", "type": "cuda", "index": 0, "vram_total": GIB, "vram_free": 5}]}


class Server:
    """Tells the contract that a test gives it, and counts what it is asked for."""

    url: str

    def __init__(self) -> None:
        self.contract: Any = None
        self.status = 200
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if request.path.endswith("/contract"):
            return web.json_response(self.contract, status=self.status)
        return web.json_response(STATS) if request.path == "/system_stats" else web.Response(status=404)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    async with TestServer(app) as running:
        made.url = str(running.make_url("")).rstrip("/")
        yield made


def contract(change: Callable[[dict[str, Any]], object] = lambda _: None) -> dict[str, Any]:
    card = Device(index=0, name="card", type="cuda", vram_total_bytes=9 * GIB)
    card.vram_free_before_bytes, card.vram_free_after_bytes = 8 * GIB, 5 * GIB
    told = telemetry_of(prompt(devices=[card], system=System(ram_total_bytes=GIB))).model_dump(mode="json")
    change(told)
    return told


async def looked(server: Server, *, by_record: bool) -> PromptFigures:
    async with ComfyClient(server.url) as client:
        figures = PromptFigures(client, by_record=by_record)
        await figures.before()
        await figures.after("p")
    return figures


async def test_the_record_s_figures_are_taken_as_they_are_and_nothing_else_is_asked(server: Server) -> None:
    server.contract = contract()
    found = (await looked(server, by_record=True)).found
    told = SceneTelemetry.model_validate(server.contract)
    assert (found.gpu, found.system) == (told.GPU, told.System)
    assert (found.gpu.VramDelta, found.system.After) == (-3 * GIB, told.System.After)
    assert found.times == (told.QueueStart, told.QueueEnd, told.DurationSeconds)
    assert server.asked == ["/telemetry/prompts/p/contract"]


@pytest.mark.parametrize("status, told", [(404, {}), (401, {}), (500, None), (200, None), (200, {"GPU": 7})])
async def test_without_a_record_after_all_it_is_looked_from_outside_once(
    server: Server, status: int, told: Any
) -> None:
    server.status, server.contract = status, told
    found = (await looked(server, by_record=True)).found
    assert (found.gpu.VramFreeBefore, found.gpu.VramFreeAfter, found.times) == (None, 5, None)
    assert found.system.FallbackNotes == [NO_RECORD]
    assert server.asked.count("/system_stats") == 1


async def test_a_server_without_our_routes_is_looked_at_twice_and_asked_for_no_record(server: Server) -> None:
    found = (await looked(server, by_record=False)).found
    assert (found.gpu.VramFreeBefore, found.gpu.VramFreeAfter, found.gpu.VramDelta) == (5, 5, 0)
    assert not any("contract" in path for path in server.asked)
    assert server.asked.count("/system_stats") == 2


async def test_what_was_never_queued_is_looked_at_from_outside(server: Server) -> None:
    async with ComfyClient(server.url) as client:
        figures = PromptFigures(client, by_record=True)
        await figures.before()
        assert figures.found.gpu.Name == "unknown"
        await figures.never_queued()
    assert figures.found.gpu.VramFreeBefore == 5


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told["GPU"].update(VramTotal=10, VramFreeBefore=GIB),
        lambda told: told["GPU"].update(VramTotal=-1, VramFreeBefore=-1, VramFreeAfter=10**90),
        lambda told: told["System"].update(Before={"ram_total_bytes": "all"}, After={"x": "y" * 100}),
        lambda told: told.update(QueueStart="2026-01-02T00:00:00Z", QueueEnd="2026-01-01T00:00:00Z"),
        lambda told: told.update(QueueStart="yesterday"),
        lambda told: told["GPU"].update(Name="n" * 10_000),
        lambda told: told["System"].update(FallbackNotes=["a note"] * 1000),
    ],
)
def test_what_contradicts_itself_or_is_too_much_is_left_out(change: Callable[[dict[str, Any]], object]) -> None:
    found = from_record(SceneTelemetry.model_validate(contract(change)))
    gpu = found.gpu
    assert gpu.VramTotal is None or 0 <= (gpu.VramFreeBefore or 0) <= gpu.VramTotal
    assert (gpu.VramDelta is None) == (gpu.VramFreeBefore is None or gpu.VramFreeAfter is None)
    assert len(gpu.Name) <= 200 and len(found.system.FallbackNotes) <= MOST_NOTES
    assert found.system.After is None or "x" not in found.system.After
    assert found.times is None or found.times[2] >= 0
