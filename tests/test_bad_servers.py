"""`run-recorder queue` and servers that are none, or stop to be one: an exit code, a stable word, nothing half-made."""

import asyncio
import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from run_recorder.cli import main
from run_recorder.client import limits
from run_recorder.runner.validate import validate_run

GRAPH = {"1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 1}}}
STATS = {"system": {"comfyui_version": "0.0.0"}, "devices": []}
Handler = Callable[[web.Request], Any]


class Server:
    """An aiohttp server on a thread of its own."""

    def __init__(self, handler: Handler, context: ssl.SSLContext | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._handler, self._context = handler, context
        self.port = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(10)

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._context)
        self._loop.run_until_complete(site.start())
        self.port = runner.addresses[0][1]
        self._started.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    running: list[Server] = []

    def begin(handler: Handler, context: ssl.SSLContext | None = None) -> Server:
        running.append(Server(handler, context))
        return running[-1]

    yield begin
    for server in running:
        server.stop()


@pytest.fixture
def queued(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Run the command; its exit code, and its document."""
    workflow = tmp_path / "graph.json"
    workflow.write_text(json.dumps(GRAPH))

    def run(url: str, *more: str) -> tuple[int, dict[str, Any]]:
        where = ["--output", str(tmp_path / "out"), "--runs-dir", str(tmp_path / "runs")]
        code = main(["queue", str(workflow), "--comfyui", url, *where, "--json", *more])
        return code, json.loads(capfd.readouterr().out)

    return run


def nothing_made(tmp_path: Path) -> bool:
    return not (tmp_path / "out").exists() and not (tmp_path / "runs").exists()


async def hangs(_request: web.Request) -> web.Response:
    await asyncio.sleep(60)
    return web.Response()


def test_a_server_that_never_answers(start: Any, queued: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SILENCE_SECONDS", 0.5)
    code, told = queued(start(hangs).url)
    assert (code, told["error"]["type"]) == (2, "unavailable")
    assert nothing_made(tmp_path)


def test_a_server_that_answers_at_first_and_then_never(
    start: Any, queued: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_first(request: web.Request) -> web.Response:
        if request.path == "/system_stats":
            return web.json_response(STATS)
        if request.path == "/object_info":
            return web.json_response({"EmptyImage": {}})
        if request.path == "/telemetry/health":
            return web.Response(status=404)
        return await hangs(request)

    monkeypatch.setattr(limits, "SILENCE_SECONDS", 0.5)
    monkeypatch.setattr("run_recorder.runner.attempts.GONE_SECONDS", 1.0)
    code, told = queued(start(at_first).url, "--scene-retry-budget", "1")
    assert (code, told["Success"]) == (1, False)
    assert told["Telemetry"]["HistoryExitReason"] == "unknown"
    (folder,) = [path for path in (tmp_path / "runs").iterdir() if path.is_dir()]
    found = validate_run(folder)
    assert [line for line in found.errors if "Total frames" not in line] == [], "it fails for having no frame alone"
    metadata = json.loads((folder / "artifact-metadata.json").read_text())
    assert metadata["Scenes"][0]["AttemptsRun"] == 2
    assert "no ComfyUI answers" in metadata["Scenes"][0]["Errors"][0]
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    "answer, kind",
    [
        (web.Response(status=401), "unauthorized"),
        (web.Response(text="<html>Welcome</html>", content_type="text/html"), "not_comfyui"),
        (web.json_response({"hello": 1}), "not_comfyui"),
        (web.Response(status=500), "not_comfyui"),
        (web.Response(status=302, headers={"Location": "/login"}), "not_comfyui"),
    ],
    ids=["401", "a page", "other JSON", "500", "a redirect"],
)
def test_what_is_no_comfyui_or_asks_for_a_token(
    start: Any, queued: Any, tmp_path: Path, answer: web.Response, kind: str
) -> None:
    async def always(_request: web.Request) -> web.Response:
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    code, told = queued(start(always).url)
    assert (code, told["error"]["type"]) == (2, kind)
    assert nothing_made(tmp_path)


def test_a_port_where_nobody_listens(queued: Any, tmp_path: Path) -> None:
    code, told = queued("http://127.0.0.1:9")
    assert (code, told["error"]["type"]) == (2, "unavailable")
    assert nothing_made(tmp_path)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "http://", "127.0.0.1:port"])
def test_an_address_that_is_none(queued: Any, tmp_path: Path, url: str) -> None:
    code, told = queued(url)
    assert (code, told["error"]["type"]) == (2, "invalid_parameter")
    assert nothing_made(tmp_path)


def test_a_server_that_speaks_no_tls(start: Any, queued: Any, tmp_path: Path) -> None:
    url = start(hangs).url.replace("http:", "https:")
    code, told = queued(url)
    assert (code, told["error"]["type"]) == (2, "tls")
    assert nothing_made(tmp_path)


def test_a_certificate_that_nobody_vouches_for(start: Any, queued: Any, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    subprocess.run([openssl, *made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    code, told = queued(start(hangs, context).url)
    assert (code, told["error"]["type"]) == (2, "tls")
    assert nothing_made(tmp_path)
