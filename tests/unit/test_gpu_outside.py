"""What is seen of a server from outside its process: by which step, and with which notes."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from run_recorder.client.errors import ServerError
from run_recorder.client.outside import NO_VRAM, Outside, system_stats
from run_recorder.client.urls import is_local

from ..fakes import GIB, fake_smi

SMI = "0, GPU-1, 00000000:01:00.0, NVIDIA GeForce RTX 4090, 24564, 22000, 3, 41, 21.52"
MEBIBYTE = 1024 * 1024
NOT_JSON = b"<html>a proxy's page</html>"


class Server:
    """A server that answers as told; what a path has no answer for is 404."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, float]] = []
        self.headers: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append((self.path, time.monotonic()))
                server.headers.append(self.headers["Authorization"])
                answer = server.answers.get(self.path)
                if isinstance(answer, list):
                    answer = answer.pop(0) if len(answer) > 1 else answer[0]
                status = 404 if answer is None else answer if isinstance(answer, int) else 200
                body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def times(self, path: str) -> int:
        return sum(asked == path for asked, _ in self.asked)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def no_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fake_smi(tmp_path / "bin", f'echo "{SMI}"')
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def stats(**device: Any) -> dict[str, Any]:
    told = {"name": "cuda:0 RTX", "type": "cuda", "index": 0, **device}
    return {"system": {"ram_total": 64 * GIB, "ram_free": 40 * GIB}, "devices": [told]}


def ours(**device: Any) -> dict[str, Any]:
    known = {"name": "RTX", "type": "cuda", "index": 0, "in_use": True, "vram_total_bytes": 24 * GIB}
    devices = [{"name": "Other", "in_use": False, "vram_total_bytes": 1, "vram_free_bytes": 1}]
    devices.insert(0, {**known, "vram_free_bytes": 20 * GIB, **device})
    system = {"ram_total_bytes": 64 * GIB, "ram_free_bytes": 32 * GIB}
    return {"devices": devices, "system": system, "telemetry_source": "nvml+torch", "fallback_notes": ["a note"]}


def look(server: Server, when: Any = "before", **more: Any) -> Any:
    return Outside(server.url, sleep=lambda seconds: None, **more).look(when)


# --- our own route


def test_our_own_route_comes_first_and_its_notes_are_taken_over(server: Server, no_smi: None) -> None:
    server.answers = {"/telemetry/gpu": ours(), "/system_stats": stats(vram_total=1, vram_free=1)}
    seen = Outside(server.url, {"Authorization": "Bearer t"}).look("before")
    assert (seen.step, seen.telemetry_source, seen.notes) == ("/telemetry/gpu", "nvml+torch", ["a note"])
    assert (seen.device.name, seen.device.vram_free_bytes) == ("RTX", 20 * GIB)
    assert server.headers == ["Bearer t"]
    assert server.times("/system_stats") == 0


def test_on_a_processor_our_route_gives_the_hosts_memory(server: Server, no_smi: None) -> None:
    cpu = {"devices": [{"name": "cpu", "type": "cpu", "in_use": True}], "fallback_notes": ["device cpu has none"]}
    server.answers = {"/telemetry/gpu": {**cpu, "system": {"ram_total_bytes": 64 * GIB, "ram_free_bytes": 32 * GIB}}}
    seen = look(server)
    assert (seen.device.vram_total_bytes, seen.device.vram_free_bytes) == (64 * GIB, 32 * GIB)
    assert seen.notes == ["device cpu has none"]


@pytest.mark.parametrize(
    "answer",
    [404, 401, 500, NOT_JSON, {"devices": []}, {"devices": 3}, ours(vram_free_bytes=None), ours(vram_free_bytes=-1)],
)
def test_a_server_without_our_route_or_with_a_broken_one_adds_no_note(
    server: Server, no_smi: None, answer: Any
) -> None:
    server.answers = {"/telemetry/gpu": answer, "/system_stats": stats(vram_total=24 * GIB, vram_free=20 * GIB)}
    seen = look(server)
    assert (seen.step, seen.notes) == ("/system_stats", [])
    assert seen.device.vram_free_bytes == 20 * GIB


# --- /system_stats


@pytest.mark.parametrize("names", [("vram_total", "vram_free"), ("vramTotal", "vramFree"), ("VRAM_Total", "VRAM_Free")])
def test_both_spellings_of_the_vram_fields_are_taken(server: Server, no_smi: None, names: tuple[str, str]) -> None:
    total, free = names
    server.answers = {"/system_stats": stats(**{total: 24 * GIB, free: 21 * GIB})}
    seen = look(server)
    assert (seen.device.vram_total_bytes, seen.device.vram_free_bytes) == (24 * GIB, 21 * GIB)
    assert (seen.device.name, seen.device.type, seen.device.index) == ("cuda:0 RTX", "cuda", 0)
    assert seen.system.ram_free_bytes == 40 * GIB
    assert seen.notes == []


def test_it_is_tried_three_times_half_a_second_apart(server: Server, no_smi: None) -> None:
    server.answers = {"/system_stats": [500, 503, stats(vram_total=GIB, vram_free=GIB)]}
    paused: list[float] = []
    seen = Outside(server.url, sleep=paused.append).look("before")
    assert (seen.step, seen.notes, paused) == ("/system_stats", [], [0.5, 0.5])
    assert server.times("/system_stats") == 3


def test_after_three_tries_nvidia_smi_is_used_and_the_note_says_so(server: Server, smi: None) -> None:
    server.answers = {"/system_stats": 500}
    for when in ("before", "after"):
        seen = look(server, when)
        assert seen.notes == [f"/system_stats unavailable {when} execution; used nvidia-smi fallback"]
        assert (seen.step, seen.telemetry_source) == ("nvidia-smi", "nvidia-smi")
        assert (seen.device.vram_total_bytes, seen.device.vram_free_bytes) == (24564 * MEBIBYTE, 22000 * MEBIBYTE)
        assert seen.device.name == "NVIDIA GeForce RTX 4090"
    assert server.times("/system_stats") == 6


@pytest.mark.parametrize("when", ["before", "after"])
def test_nothing_anywhere_is_one_note_and_no_device(no_smi: None, when: Any) -> None:
    seen = Outside("http://127.0.0.1:9", sleep=lambda seconds: None).look(when)
    assert seen.notes == [f"/system_stats unavailable {when} execution"]
    assert (seen.device, seen.system, seen.step) == (None, None, None)


def test_without_an_execution_the_notes_do_not_speak_of_one(no_smi: None) -> None:
    assert Outside("http://127.0.0.1:9", sleep=lambda seconds: None).look().notes == ["/system_stats unavailable"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_answer_without_vram_falls_back_to_nvidia_smi_and_keeps_the_system(
    server: Server, smi: None, when: Any
) -> None:
    server.answers = {"/system_stats": stats()}
    seen = look(server, when)
    assert seen.notes == [f"/system_stats returned no VRAM {when} execution; used nvidia-smi fallback"]
    assert seen.device.vram_free_bytes == 22000 * MEBIBYTE
    assert seen.system.ram_total_bytes == 64 * GIB
    assert server.times("/system_stats") == 1


def test_an_answer_without_vram_and_no_nvidia_smi_keeps_what_there_is(server: Server, no_smi: None) -> None:
    server.answers = {"/system_stats": stats()}
    seen = look(server)
    assert seen.notes == [NO_VRAM.format(when=" before execution")]
    assert (seen.device.name, seen.device.vram_total_bytes) == ("cuda:0 RTX", None)


@pytest.mark.parametrize("bad", ["24000", True, -1, float("nan"), 1e300, None, [], {}])
def test_a_broken_figure_never_becomes_a_number(server: Server, no_smi: None, bad: Any) -> None:
    server.answers = {"/system_stats": stats(vram_total=bad, vram_free=GIB)}
    assert look(server).device.vram_total_bytes is None


def test_more_free_than_there_is_is_no_figure() -> None:
    assert system_stats(stats(vram_total=GIB, vram_free=2 * GIB)).devices[0].vram_total_bytes is None


@pytest.mark.parametrize("answer", [[], "no", None, {"devices": {}}])
def test_what_is_no_answer_of_it_is_refused(answer: Any) -> None:
    with pytest.raises(ValueError, match="no answer"):
        system_stats(answer)


def test_a_processor_has_the_hosts_memory_with_a_note() -> None:
    seen = system_stats(stats(type="cpu", name="cpu", vram_total=64 * GIB, vram_free=40 * GIB, index=None))
    assert seen.notes == ["the device is a processor: its memory is the host's"]
    assert seen.device is not None
    assert (seen.device.name, seen.device.type, seen.device.index) == ("cpu", "cpu", None)


# --- nvidia-smi is for servers on this machine


def test_nvidia_smi_is_not_asked_about_another_machine(smi: None) -> None:
    looking = Outside("http://192.0.2.1:8188", sleep=lambda seconds: None)
    looking._get = lambda path: (_ for _ in ()).throw(ServerError("unavailable", "no route"))  # type: ignore[method-assign]
    assert looking.look("after").notes == ["/system_stats unavailable after execution"]


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8188", True),
        ("http://localhost:8188", True),
        ("http://[::1]:8188", True),
        ("http://127.1.2.3", True),
        ("http://192.0.2.1:8188", False),
        ("http://render-7.example:8188", False),
        ("nonsense", False),
    ],
)
def test_which_servers_are_on_this_machine(url: str, local: bool) -> None:
    assert is_local(url) is local


def test_several_cards_are_told_with_a_note(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second = SMI.replace("0, GPU-1", "1, GPU-2")
    folder = fake_smi(tmp_path / "bin", f'echo "{SMI}"; echo "{second}"')
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    seen = look(server)
    assert [device.uuid for device in seen.devices] == ["GPU-1", "GPU-2"]
    assert seen.notes[0] == "/system_stats unavailable before execution; used nvidia-smi fallback"
    assert len(seen.notes) == 2
