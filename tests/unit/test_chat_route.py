"""The chat route, with the `openai` package and without: what goes over the wire, and what is taken of an answer."""

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from run_recorder.client import limits
from run_recorder.client.chat_route import ChatRoute
from run_recorder.client.errors import ServerError
from run_recorder.client.http import Http

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": False, "seed": 2**63 - 1}


class Server:
    """Answers every POST with one status and body, or without an end; keeps what it was asked."""

    def __init__(self) -> None:
        self.status, self.body, self.is_endless = 200, b'{"choices": []}', False
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(server.status)
                for name, value in server.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(server.body)
                try:
                    while server.is_endless:
                        self.wfile.write(b"[" * 65536)
                except OSError:
                    pass

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/chat/completions"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(autouse=True, params=["by the package", "without it"])
def package(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is the same whether the openai package is there or not."""
    if request.param == "without it":
        monkeypatch.setitem(sys.modules, "openai", None)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


async def ask(url: str) -> Any:
    async with Http(url, whom="language model") as http, ChatRoute(http) as route:
        return await route.ask(BODY)


async def test_nothing_of_the_environment_or_of_this_machine_is_told(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID"):
        monkeypatch.setenv(f"OPENAI_{name}", "of-the-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9")
    await ask(server.url + "?a=1&a=2")
    ((path, headers, body),) = server.asked
    assert path == "/v1/chat/completions?a=1&a=2"
    assert headers.keys() <= {"host", "accept", "accept-encoding", "user-agent", "content-type", "content-length"}
    assert "of-the-environment" not in str(headers)
    assert json.loads(body) == BODY, "a seed to its last digit"


async def test_a_logon_of_the_url_is_sent(server: Server) -> None:
    await ask(server.url.replace("//", "//jane:secret@"))
    assert server.asked[0][1]["authorization"].startswith("Basic ")


@pytest.mark.parametrize("status", [200, 302, 404, 500, 503])
async def test_every_status_comes_as_it_is_and_is_asked_for_once(server: Server, status: int) -> None:
    server.status, server.body, server.headers = status, b"[" * 100_000, {"Location": "http://127.0.0.1:9/"}
    answer = await ask(server.url)
    assert (answer.status, answer.text, answer.is_stream) == (status, "[" * 100_000, False)
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [200, 500])
async def test_no_more_is_read_than_of_any_story(server: Server, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(limits.BOUNDS, "story", limits.Bound(limits.MIB, 30.0, 0))  # type: ignore[misc]
    server.status, server.is_endless = status, True
    with pytest.raises(ServerError, match="more than 1048576 bytes") as raised:
        await ask(server.url)
    assert raised.value.kind == "too_large"


async def test_nobody_there_is_said_as_elsewhere() -> None:
    with pytest.raises(ServerError, match=r"no language model answers at http://127\.0\.0\.1:9/v1") as raised:
        await ask("http://127.0.0.1:9/v1/chat/completions")
    assert raised.value.kind == "unavailable"
