"""Collecting: nothing outside the destination, and no marker that doesn't speak of these files."""

import asyncio
import errno
import hashlib
import io
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from run_recorder.client.comfy_client import ComfyClient, refusal
from run_recorder.client.errors import ServerError
from run_recorder.client.outputs import OutputFile
from run_recorder.runner import marker_belief, marker_wait
from run_recorder.runner.collect import Collector
from run_recorder.runner.collected import Collected
from run_recorder.runner.marker_belief import disbelief
from run_recorder.runner.policy import resolve
from run_recorder.telemetry.models.marker import DoneMarker, MarkerFile

NOW = "2026-11-01T10:20:30.000Z"


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A server that has whatever file is asked for, and is no ComfyUI."""

    async def view(request: web.Request) -> web.Response:
        if request.query["filename"].startswith("missing"):
            return web.Response(status=404)
        return web.Response(body=b"frame", headers={"Last-Modified": "Sun, 01 Nov 2026 10:20:30 GMT"})

    app = web.Application()
    app.router.add_get("/view", view)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


HOSTILE = [
    ("../a.png", ""),
    ("a.png", "../.."),
    ("..\\a.png", "x"),
    ("a.png", "x/../../.."),
    ("a\0.png", ""),
    ("", "x"),
    ("..", "x"),
    ("C:\\a.png", ""),
]


@pytest.mark.parametrize(("filename", "subfolder"), HOSTILE)
async def test_a_hostile_name_is_refused_and_writes_nothing(
    url: str, filename: str, subfolder: str, tmp_path: Path
) -> None:
    destination = tmp_path / "deep" / "in"
    async with ComfyClient(url) as client:
        named = [OutputFile(filename, subfolder), OutputFile("good.png", "x")]
        got = await Collector(client, resolve({}), destination, tmp_path / "debug").collect("p", named, [], False)
    assert (got.files, len(got.refused), got.missing) == (["x/good.png"], 1, [])
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [destination / "x" / "good.png"]


@pytest.mark.skipif(not hasattr(Path, "symlink_to"), reason="links")
async def test_a_link_that_leads_out_is_not_followed(url: str, tmp_path: Path) -> None:
    destination, outside = tmp_path / "in", tmp_path / "outside"
    destination.mkdir()
    outside.mkdir()
    (destination / "x").symlink_to(outside, target_is_directory=True)
    async with ComfyClient(url) as client:
        collector = Collector(client, resolve({}), destination, tmp_path)
        got = await collector.collect("p", [OutputFile("a.png", "x")], [], False)
    assert (got.files, list(outside.iterdir())) == ([], [])


async def test_a_file_named_by_two_nodes_is_collected_once_with_its_time(url: str, tmp_path: Path) -> None:
    async with ComfyClient(url) as client:
        named = [OutputFile("a.png", "x", "1"), OutputFile("a.png", "x", "2")]
        got = await Collector(client, resolve({}), tmp_path, tmp_path).collect("p", named, [], False)
    assert got.files == ["x/a.png"]
    assert time.gmtime((tmp_path / "x" / "a.png").stat().st_mtime)[:6] == (2026, 11, 1, 10, 20, 30)


async def test_what_will_not_fit_is_said_after_the_first_file(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    named = [OutputFile(f"a{number}.png", "") for number in range(4)]
    async with ComfyClient(url) as client:
        collector = Collector(client, resolve({}), tmp_path / "in", tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=14))
        with pytest.raises(OSError, match="no room: 3 more files") as raised:
            await collector.collect("p", named, [], False)
        assert raised.value.errno == errno.ENOSPC
        assert [path.name for path in (tmp_path / "in").iterdir()] == ["a0.png"]
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=15))
        assert len((await collector.collect("p", named, [], False)).files) == 4


async def test_a_disk_that_is_full_is_not_taken_for_a_server_that_is_not_there(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def write(self, _data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda *_: Full())
    async with ComfyClient(url) as client:
        with pytest.raises(OSError, match="No space left"):
            await asyncio.wait_for(
                Collector(client, resolve({}), tmp_path, tmp_path).collect("p", [OutputFile("a.png", "")], [], False),
                20,
            )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("due", [False, True], ids=["no marker", "a marker due"])
async def test_frames_are_waited_for_no_longer_than_is_given(url: str, tmp_path: Path, due: bool) -> None:
    waits = ("post_execution_timeout_seconds", "done_marker_timeout_seconds", "stability_seconds", "stability_retries")
    given = dict.fromkeys(waits, (600, "option"))
    policy = resolve({**given, "frame_wait_timeout_seconds": (1, "option")})  # type: ignore[arg-type]
    async with ComfyClient(url) as client:
        collector = Collector(client, policy, tmp_path, tmp_path)
        named = [OutputFile("missing.png", ""), OutputFile("a.png", "")]
        got = await asyncio.wait_for(collector.collect("p", named, ["missing.done"], due), 120)
    assert (got.files, got.missing, got.forced) == (["a.png"], ["missing.png"], due)


async def test_what_is_no_comfyui_is_said_to_be_none(url: str) -> None:
    async with ComfyClient(url) as client:
        with pytest.raises(ServerError, match="is no ComfyUI") as raised:
            await client.system_stats()
    assert raised.value.kind == "not_comfyui"


def marker(**changes: object) -> DoneMarker:
    told = {"Timestamp": NOW, "FrameCount": 1, "Status": "success", "PromptId": "p"}
    told["Files"] = [MarkerFile(Name="a.png", Bytes=5, Modified=NOW)]
    return DoneMarker.model_validate(told | changes)


def test_a_marker_of_this_prompt_and_these_files_is_believed(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"frame")
    assert disbelief(marker(), "p", tmp_path) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"PromptId": "another"},
        {"PromptId": None},
        {"Status": "error"},
        {"Status": "running"},
        {"FrameCount": 2},
        {"Files": [MarkerFile(Name="a.png", Bytes=4, Modified=NOW)]},
        {"Files": [MarkerFile(Name="b.png", Bytes=5, Modified=NOW)]},
        {"Files": [MarkerFile(Name="../a.png", Bytes=5, Modified=NOW)]},
        {"Files": [MarkerFile(Name="a.png", Bytes=5, Modified=NOW, Sha256="0" * 64)]},
    ],
)
def test_any_other_marker_is_not_believed(changes: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"frame")
    assert disbelief(marker(**changes), "p", tmp_path) != ""


@pytest.mark.parametrize("told", [None, [], {}, {"error": "no"}, {"error": {}, "node_errors": {"1": None}}])
def test_a_refusal_of_any_shape_is_a_sentence(told: object) -> None:
    assert isinstance(refusal(told), str)


async def test_a_film_is_hashed_in_pieces_and_off_the_event_loop(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []
    sizes: list[int] = []
    real = marker_belief.copy_regular

    def seen(path: Path, write: Callable[[bytes], object], most: int) -> int:
        def piece(chunk: bytes) -> None:
            threads.append(threading.current_thread())
            sizes.append(len(chunk))
            write(chunk)

        return real(path, piece, most)

    monkeypatch.setattr(marker_belief, "copy_regular", seen)
    film = b"film" * 1_000_000
    (tmp_path / "a.mp4").write_bytes(film)
    listed = MarkerFile(Name="a.mp4", Bytes=len(film), Modified=NOW, Sha256=hashlib.sha256(film).hexdigest())
    marker = DoneMarker(
        Timestamp=NOW,
        FrameCount=1,
        Latest=NOW,
        SchemaVersion=1,
        Status="success",
        PromptId="p",
        Producer="node",
        Cached=False,
        Files=[listed],
        Notes=[],
    )
    async with ComfyClient(url) as client:
        collector = Collector(client, resolve({}), tmp_path, tmp_path)
        monkeypatch.setattr(marker_wait, "read_marker", lambda _path: marker)
        got = Collected(files=["a.mp4"])
        assert await collector._marker.look_at("a.done", "p", [], got) == ""
    assert threads and threading.current_thread() not in threads
    assert max(sizes) <= 1024 * 1024


@pytest.mark.parametrize("first", [0, 1])
async def test_a_name_that_stands_for_frames_is_all_of_them(first: int, tmp_path: Path) -> None:
    """A saver reports `AD_00001.%03d.png`; no route lists a folder, so the numbers are asked for as far as they go."""
    there = {f"AD_00001.{number:03}.png" for number in range(first, first + 5)} | {"AD_00001.009.png", "b_%d.png"}

    async def view(request: web.Request) -> web.Response:
        is_there = request.query["filename"] in there and request.query["subfolder"] == "v"
        return web.Response(body=b"frame") if is_there else web.Response(status=404)

    app = web.Application()
    app.router.add_get("/view", view)
    async with TestServer(app) as server, ComfyClient(str(server.make_url(""))) as client:
        named = [OutputFile("AD_00001.%03d.png", "v", "2"), OutputFile("b_%d.png", "v"), OutputFile("c_%d.png", "v")]
        policy = resolve({"post_execution_timeout_seconds": (1, "cli"), "history_poll_interval_seconds": (1, "cli")})
        got = await Collector(client, policy, tmp_path / "in", tmp_path).collect("p", named, [], False)
    expected = [f"v/AD_00001.{number:03}.png" for number in range(first, first + 5)]
    assert (got.files, got.missing, got.refused) == ([*expected, "v/b_%d.png"], ["v/c_%d.png"], [])
