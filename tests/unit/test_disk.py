"""The server's output folder on this machine: found by its command line, believed only by proof."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from run_recorder.runner.collect import Collector
from run_recorder.runner.comfy_client import ComfyClient, OutputFile
from run_recorder.runner.disk import copy_with_times, is_same_file, output_folder
from run_recorder.runner.policy import resolve

LOCAL = "http://127.0.0.1:8188"


def said(*argv: str) -> dict[str, Any]:
    return {"system": {"argv": list(argv)}, "devices": []}


def test_the_command_line_says_where(tmp_path: Path) -> None:
    for name in ("out", "base/output", "ComfyUI/output"):
        (tmp_path / name).mkdir(parents=True)
    main = str(tmp_path / "ComfyUI" / "main.py")
    base = ("--base-directory", str(tmp_path / "base"))
    assert output_folder(LOCAL, said(main, "--output-directory", str(tmp_path / "out"), *base)) == tmp_path / "out"
    assert output_folder(LOCAL, said(main, f"--output-directory={tmp_path / 'out'}")) == tmp_path / "out"
    assert output_folder(LOCAL, said(main, *base)) == tmp_path / "base" / "output"
    assert output_folder(LOCAL, said(main)) == tmp_path / "ComfyUI" / "output"


@pytest.mark.parametrize("stats", [None, {}, {"system": {}}, {"system": {"argv": []}}, {"system": {"argv": [1]}}])
def test_a_server_that_does_not_say_has_no_folder(stats: Any) -> None:
    assert output_folder(LOCAL, stats) is None


def test_a_server_elsewhere_has_no_folder_here(tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    assert output_folder("http://203.0.113.7:8188", said(str(tmp_path / "main.py"))) is None


def test_a_relative_path_counts_from_where_the_server_was_started(tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    code = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        found = output_folder(f"http://127.0.0.1:{port}", said("main.py"))
        server.kill()
    if found is None:
        pytest.skip("this system doesn't tell whose a port is")
    assert found.samefile(tmp_path / "output")
    assert output_folder("http://127.0.0.1:9", said("main.py")) is None


def test_only_the_same_bytes_and_time_are_the_same_file(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"frame")
    other.write_bytes(b"frame")
    os.utime(other, (100, 100))
    assert is_same_file(one, other, 100.0)
    assert not is_same_file(one, other, 101.0)
    os.utime(other, (100, 100.5))
    assert is_same_file(one, other, 100.0) and is_same_file(one, other, 101.0), "rounded either way"
    assert not is_same_file(one, other, 102.0)
    os.utime(other, (100, 100))
    assert not is_same_file(one, other, None)
    other.write_bytes(b"framE")
    os.utime(other, (100, 100))
    assert not is_same_file(one, other, 100.0)
    assert not is_same_file(one, tmp_path / "none", 100.0)


def test_a_copy_has_its_times_to_the_nanosecond(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_bytes(b"x" * 3_000_000)
    os.utime(source, ns=(1_600_000_000_123_456_789, 1_600_000_001_987_654_321))
    assert copy_with_times(source, tmp_path / "b") == 3_000_000
    assert (tmp_path / "b").stat().st_mtime_ns == source.stat().st_mtime_ns


# ---------------------------------------------------------------- collecting


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[str, Path, list[str]]]:
    """A server with ten frames: its address, its folder, and what it was asked for."""
    folder = tmp_path / "server"
    (folder / "shot").mkdir(parents=True)
    for number in range(10):
        (folder / "shot" / f"a{number}.png").write_bytes(b"frame %d" % number)
        os.utime(folder / "shot" / f"a{number}.png", ns=(1, 1_700_000_000_400_000_001 + number))
    asked: list[str] = []

    async def view(request: web.Request) -> web.StreamResponse:
        asked.append(request.query["filename"])
        path = folder / request.query["subfolder"] / request.query["filename"]
        return web.FileResponse(path) if path.is_file() else web.Response(status=404)

    app = web.Application()
    app.router.add_get("/view", view)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", folder, asked
    await runner.cleanup()


NAMED = [OutputFile(f"a{number}.png", "shot") for number in range(10)]


async def collected(url: str, target: Path, disk: Path | None) -> list[str]:
    async with ComfyClient(url) as client:
        return (await Collector(client, resolve({}), target, target, disk).collect("p", NAMED, [], False)).files


async def test_one_file_is_fetched_and_the_rest_are_copied(server: Any, tmp_path: Path) -> None:
    url, folder, asked = server
    names = await collected(url, tmp_path / "got", folder)
    assert names == [file.relative for file in NAMED]
    assert asked == ["a0.png"]
    for name in names:
        one, other = tmp_path / "got" / name, folder / name
        assert (one.read_bytes(), one.stat().st_mtime_ns) == (other.read_bytes(), other.stat().st_mtime_ns)
    assert not list((tmp_path / "got").rglob(".*"))


async def test_another_servers_folder_is_not_believed(server: Any, tmp_path: Path) -> None:
    url, folder, asked = server
    shutil.copytree(folder, tmp_path / "other")
    for path in (tmp_path / "other").rglob("*.png"):
        path.write_bytes(b"FRAME 0")
        os.utime(path, (time.time(), 1_700_000_000))
    names = await collected(url, tmp_path / "got", tmp_path / "other")
    assert len(asked) == 10
    assert all((tmp_path / "got" / name).read_bytes().startswith(b"frame") for name in names)


async def test_what_is_not_on_the_disk_is_fetched(server: Any, tmp_path: Path) -> None:
    url, folder, asked = server
    shutil.copytree(folder, tmp_path / "part")
    (tmp_path / "part" / "shot" / "a7.png").unlink()
    assert len(await collected(url, tmp_path / "got", tmp_path / "part")) == 10
    assert asked == ["a0.png", "a7.png"]
    assert (tmp_path / "got" / "shot" / "a7.png").read_bytes() == b"frame 7"


async def test_several_are_fetched_at_a_time_and_their_order_is_the_outputs(server: Any, tmp_path: Path) -> None:
    url, _folder, asked = server
    assert await collected(url, tmp_path / "got", None) == [file.relative for file in NAMED]
    assert sorted(asked) == sorted(file.filename for file in NAMED)
