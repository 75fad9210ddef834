"""The server's output folder on this machine: found by its command line, believed only by proof."""

import asyncio
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
from run_recorder.client.comfy_client import ComfyClient
from run_recorder.client.outputs import OutputFile
from run_recorder.runner import proof
from run_recorder.runner.collect import Collector
from run_recorder.runner.disk import is_time_of, output_folder
from run_recorder.runner.policy import resolve
from run_recorder.runner.proof import PART

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


def test_a_servers_time_is_that_of_the_file_rounded_either_way(tmp_path: Path) -> None:
    path = tmp_path / "one"
    path.write_bytes(b"frame")
    os.utime(path, (100, 100.5))
    told = [is_time_of(seconds, path.stat()) for seconds in (99.0, 100.0, 101.0, 102.0, None)]
    assert told == [False, True, True, False, False]


# ---------------------------------------------------------------- collecting


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[str, Path, list[str]]]:
    """A server with ten frames: its address, its folder, and what it was asked for, with `+` for a part of it."""
    folder = tmp_path / "server"
    (folder / "shot").mkdir(parents=True)
    for number in range(10):
        (folder / "shot" / f"a{number}.png").write_bytes((b"frame %d" % number) * (1 if number == 3 else PART))
        os.utime(folder / "shot" / f"a{number}.png", ns=(1, 1_700_000_000_400_000_001 + number))
    asked: list[str] = []

    async def view(request: web.Request) -> web.StreamResponse:
        asked.append(request.query["filename"] + "+" * ("Range" in request.headers))
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


async def test_of_each_file_a_part_is_asked_for_and_the_rest_is_copied(server: Any, tmp_path: Path) -> None:
    url, folder, asked = server
    names = await collected(url, tmp_path / "got", folder)
    assert names == [file.relative for file in NAMED]
    assert sorted(asked) == [f"a{number}.png" + "+" * (number != 3) for number in range(10)], (
        "the small one comes whole"
    )
    for name in names:
        one, other = tmp_path / "got" / name, folder / name
        assert (one.read_bytes(), one.stat().st_mtime_ns) == (other.read_bytes(), other.stat().st_mtime_ns)
    assert not list((tmp_path / "got").rglob(".*"))


async def test_another_servers_folder_is_not_believed(server: Any, tmp_path: Path) -> None:
    url, folder, asked = server
    shutil.copytree(folder, tmp_path / "other")
    for path in (tmp_path / "other").rglob("*.png"):
        path.write_bytes(path.read_bytes().replace(b"frame", b"FRAME"))
        os.utime(path, (time.time(), 1_700_000_000))
    names = await collected(url, tmp_path / "got", tmp_path / "other")
    assert len([one for one in asked if "+" not in one]) == 10
    assert all((tmp_path / "got" / name).read_bytes().startswith(b"frame") for name in names)


async def test_what_is_not_on_the_disk_is_fetched(server: Any, tmp_path: Path) -> None:
    url, folder, asked = server
    shutil.copytree(folder, tmp_path / "part")
    (tmp_path / "part" / "shot" / "a7.png").unlink()
    assert len(await collected(url, tmp_path / "got", tmp_path / "part")) == 10
    assert sorted(one for one in asked if "+" not in one) == ["a3.png", "a7.png"]
    assert (tmp_path / "got" / "shot" / "a7.png").read_bytes() == b"frame 7" * PART


async def test_several_are_fetched_at_a_time_and_their_order_is_the_outputs(server: Any, tmp_path: Path) -> None:
    url, _folder, asked = server
    assert await collected(url, tmp_path / "got", None) == [file.relative for file in NAMED]
    assert sorted(asked) == sorted(file.filename for file in NAMED), "no part of any is asked for"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="links and pipes")
@pytest.mark.parametrize("what", ["a link to a secret", "a link to a device", "a pipe", "a folder that is a link"])
async def test_what_is_no_file_of_the_folder_is_never_opened(server: Any, tmp_path: Path, what: str) -> None:
    url, folder, _asked = server
    disk, secret = tmp_path / "disk", tmp_path / "secret"
    shutil.copytree(folder, disk)
    secret.write_bytes(b"secret!" * PART)
    if what == "a folder that is a link":
        (disk / "shot").rename(tmp_path / "moved")
        (disk / "shot").symlink_to(tmp_path / "moved", target_is_directory=True)
    else:
        for number in range(10):
            path = disk / "shot" / f"a{number}.png"
            path.unlink()
            if what == "a pipe":
                os.mkfifo(path)
            else:
                path.symlink_to(secret if "secret" in what else "/dev/zero")
    names = await asyncio.wait_for(collected(url, tmp_path / "got", disk), 20)
    assert len(names) == 10
    for name in names:
        assert (tmp_path / "got" / name).read_bytes() == (folder / name).read_bytes()


async def test_a_file_that_the_server_does_not_have_is_not_copied(server: Any, tmp_path: Path) -> None:
    """The first ones are the server's own; one of the same size and time as another of it is not."""
    url, folder, _asked = server
    shutil.copytree(folder, tmp_path / "disk")
    told = (folder / "shot" / "a8.png").stat()
    path = tmp_path / "disk" / "shot" / "a8.png"
    path.write_bytes(b"SECRET!" * PART)
    os.utime(path, ns=(told.st_atime_ns, told.st_mtime_ns))
    await collected(url, tmp_path / "got", tmp_path / "disk")
    assert b"SECRET" not in (tmp_path / "got" / "shot" / "a8.png").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="modes")
async def test_a_copy_has_no_wider_rights_than_its_source(server: Any, tmp_path: Path) -> None:
    url, folder, asked = server
    (folder / "shot" / "a5.png").chmod(0o600)
    await collected(url, tmp_path / "got", folder)
    assert "a5.png" not in asked, "it was copied"
    assert (tmp_path / "got" / "shot" / "a5.png").stat().st_mode & 0o777 == 0o600


async def test_a_file_larger_than_there_is_room_for_is_not_begun(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder, _asked = server
    monkeypatch.setattr(proof, "room", lambda _: 1000)
    with pytest.raises(OSError, match="no room"):
        await collected(url, tmp_path / "got", folder)
    assert not list((tmp_path / "got").rglob("*.png"))
