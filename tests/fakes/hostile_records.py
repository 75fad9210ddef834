"""A server whose every text would steer a terminal, and the same records as a database holds them."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from run_recorder.telemetry.markers.outputs import ReportedFile
from run_recorder.telemetry.models.gpu import Device, LiveDevice, LiveFigures
from run_recorder.telemetry.models.marker import PromptMarker
from run_recorder.telemetry.models.node import NodeList
from run_recorder.telemetry.models.prompt import CurrentNode, Instance, PromptError, PromptPage
from run_recorder.telemetry.models.record import NodeRecord, PromptRecord
from run_recorder.telemetry.models.view import node_of, prompt_of

MARKUP = "[red]X[/red][link=http://evil.example]Y[/link]:smile:"
NASTY = (
    "\x1b]0;owned\x07\x1b]52;c;ZXZpbA==\x07\x1b[2J\x1b[38;5;199m\x9b31m\x90q\x9c\x85\u202eevil\u2066\u200f\u2028\x7f\b"
    f"\r\nrun-recorder: PASS\n{MARKUP}"
)
"""A title, a clipboard, a cleared screen, colours, C1, directions, DEL, a forged line, and markup."""


def record(status: Any = "error") -> PromptRecord:
    """A prompt of which every text is hostile."""
    made = PromptRecord("p" + NASTY, 1, "me", status, queued_ms=1000, started_ms=2000, ended_ms=3000)
    made.client_id = made.workflow_name = made.environment_id = NASTY
    made.notes = [NASTY]
    made.error = PromptError(node_id=NASTY, class_type=NASTY, exception_type=NASTY, message=NASTY)
    made.current_node = CurrentNode(node_id=NASTY, class_type=NASTY, title=NASTY, value=1, max=2)
    made.markers = [PromptMarker(path=NASTY, status="error", written_at="x")]
    made.outputs = [ReportedFile(NASTY, NASTY, NASTY, "output")]
    return made


def nodes() -> list[NodeRecord]:
    return [NodeRecord(0, NASTY, NASTY, NASTY, NASTY, NASTY)]


def prompt(status: Any = "error") -> dict[str, Any]:
    served = prompt_of(record(status), {"me": Instance(id=NASTY, hostname=NASTY, port=1)})
    served.devices = [Device(index=0, name=NASTY, type=NASTY, source=NASTY)]
    served.fallback_notes = [NASTY]
    told: dict[str, Any] = json.loads(served.model_dump_json())
    return told


def answers(path: str) -> tuple[int, Any]:
    """What the server says to a GET."""
    if path.endswith("/nodes"):
        return 200, json.loads(NodeList(items=[node_of(node) for node in nodes()]).model_dump_json())
    if path.startswith("/telemetry/prompts/refused"):
        return 404, {"error": {"type": "not_found", "message": NASTY}}
    if path.startswith("/telemetry/prompts/"):
        return 200, prompt()
    if path == "/telemetry/prompts":
        items = [prompt(), prompt("running")]
        page = PromptPage.model_construct(items=[], next_cursor=NASTY)
        return 200, {**json.loads(page.model_dump_json()), "items": items}
    if path == "/telemetry/gpu":
        device = LiveDevice(index=0, name=NASTY, type=NASTY, source=NASTY, vram_total_bytes=8, vram_free_bytes=4)
        live = LiveFigures(devices=[device], telemetry_source=NASTY, fallback_notes=[NASTY])
        return 200, json.loads(live.model_dump_json())
    if path == "/system_stats":
        return 200, {"system": {"comfyui_version": NASTY}, "devices": [{"name": NASTY, "type": NASTY, "index": 0}]}
    if path == "/object_info":
        return 200, {"EmptyImage": {"input": {"required": {NASTY: [[NASTY], {}]}}, "output_node": True}}
    return 404, {"error": {"type": "not_found", "message": NASTY}}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/telemetry/events":
            event = json.dumps({"at": NASTY, "prompt_id": NASTY, "class_type": NASTY, "status": "error"})
            self._send(
                200, f"id: 1\nevent: node.started\ndata: {event}\n\nid: 2\nevent: prompt.finished\ndata: {event}\n\n"
            )
            return
        status, body = answers(path)
        self._send(status, json.dumps(body))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        errors = {"1": {"class_type": NASTY, "errors": [{"message": NASTY, "details": NASTY, "type": NASTY}]}}
        self._send(
            400, json.dumps({"error": {"type": NASTY, "message": NASTY, "details": NASTY}, "node_errors": errors})
        )

    def _send(self, status: int, body: str) -> None:
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def hostile_server() -> Iterator[str]:
    """Its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
