"""A ComfyUI that answers oddly, in as many named ways as there are: `http://127.0.0.1:<port>/<way>` is one such server.

Each way is a good ComfyUI but for the routes that it names. Nothing is ever rendered: a prompt has ended as soon as it
was posted, and has saved one small picture. `good` is odd in nothing.
"""

import asyncio
import contextlib
import functools
import json
import os
import struct
import threading
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

Answers = Callable[["Asked"], Awaitable[web.StreamResponse]]
Way = dict[str, Answers]
MIB = 2**20
STATS = {"system": {"comfyui_version": "0.33.0", "os": "posix"}, "devices": [{"name": "cpu", "type": "cpu"}]}
CLASSES = {
    "EmptyImage": {"input": {"required": {}}, "output": ["IMAGE"], "output_node": False},
    "SaveImage": {"input": {"required": {"images": ["IMAGE"]}}, "output": [], "output_node": True},
}
IMAGE = {"filename": "a_00001_.png", "subfolder": "", "type": "output"}
DEEP = "[" * 100_000 + "]" * 100_000
SURROGATE = "no such file: '/models/\udcff\udcfe.safetensors'"


@functools.cache
def png(width: int = 8, height: int = 8) -> bytes:
    """A black picture, however large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compressobj()
    row = bytes(1 + (width + 7) // 8)
    packed = b"".join(rows.compress(row) for _ in range(height)) + rows.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def bomb(unit: bytes = b" ", begin: bytes = b"") -> bytes:
    """Two gibibytes of a repeated text as two mebibytes of gzip: one packed block, thirty-two times."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(begin) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(unit * (64 * MIB // len(unit))) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + first + block * 32 + packer.flush()


class Asked:
    """One request, and what this way has been told."""

    def __init__(self, server: "HostileServer", request: web.Request, way: str, route: str, rest: str) -> None:
        self.server, self.request, self.way, self.route, self.rest = server, request, way, route, rest
        self.prompts = server.prompts.setdefault(way, [])

    @property
    def prompt_id(self) -> str:
        """The prompt that is asked for, else the newest."""
        return self.rest.split("/")[0] or (self.prompts[-1] if self.prompts else "none")


class HostileServer:
    """All of them on one port, on a thread of its own. `trap` counts requests to where redirects lead."""

    def __init__(self, disk: Path | None = None) -> None:
        self.disk = disk
        self.prompts: dict[str, list[str]] = {}
        self.counts: dict[tuple[str, str], int] = {}
        self.trapped = 0
        self.tokens: list[tuple[str, str]] = []
        """Ways that were sent a token, and the token."""
        self.bomb = bomb()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self.port = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def url(self, way: str) -> str:
        """The address of one."""
        return f"http://127.0.0.1:{self.port}/{way}"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        app = web.Application(client_max_size=64 * MIB)
        app.router.add_route("*", "/trap/{rest:.*}", self._trap)
        app.router.add_route("*", "/{way}/{rest:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handle_signals=False)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    def stop(self) -> None:
        """Hang up on everybody."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _trap(self, _request: web.Request) -> web.Response:
        self.trapped += 1
        return web.json_response(STATS)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        way, path = request.match_info["way"], request.match_info["rest"]
        route = next((name for name, beginning in ROUTES if path.startswith(beginning)), "other")
        rest = path[len(dict(ROUTES).get(route, "")) :].lstrip("/")
        self.counts[way, route] = self.counts.get((way, route), 0) + 1
        if "Authorization" in request.headers:
            self.tokens.append((way, request.headers["Authorization"]))
        asked = Asked(self, request, way, route, rest)
        odd = WAYS[way]
        if route == "prompt" and request.method == "POST":
            asked.prompts.append((await request.json())["prompt_id"])
        with contextlib.suppress(ConnectionError):
            return await odd.get(route, odd.get("*", good))(asked)
        return web.Response()


ROUTES = [
    ("stats", "system_stats"),
    ("classes", "object_info"),
    ("health", "telemetry/health"),
    ("gpu", "telemetry/gpu"),
    ("events", "telemetry/events"),
    ("record", "telemetry/prompts"),
    ("prompt", "prompt"),
    ("queue", "queue"),
    ("history", "history"),
    ("view", "view"),
    ("ws", "ws"),
    ("upload", "upload/image"),
]

# ---------------------------------------------------------------- a good one


def entry(**changes: Any) -> dict[str, Any]:
    """A prompt in the history."""
    status = {"status_str": "success", "completed": True, "messages": [["execution_success", {"timestamp": 1}]]}
    return {"prompt": [1, "p", {}, {}, []], "status": status, "outputs": {"2": {"images": [IMAGE]}}, **changes}


def record(asked: Asked, **changes: Any) -> dict[str, Any]:
    """A prompt as our routes have it."""
    output = {"node_id": "2", **IMAGE, "bytes": 1, "modified": None}
    return {
        "prompt_id": asked.prompt_id,
        "run_number": 1,
        "status": "success",
        "ended_at": "2026-11-01T10:20:30.000Z",
        "node_counts": {"total": 2, "executed": 2, "cached": 0},
        "outputs": [output],
        "instance": {"id": "x", "started_at": "2026-11-01T10:20:30.000Z", "pid": 1, "host": "h"},
        **changes,
    }


async def good(asked: Asked) -> web.StreamResponse:
    route = asked.route
    if route == "stats":
        return web.json_response(STATS)
    if route == "classes":
        return web.json_response(CLASSES)
    if route == "prompt":
        return web.json_response({"prompt_id": asked.prompt_id, "number": 1, "node_errors": {}})
    if route == "queue":
        return web.json_response({"queue_running": [], "queue_pending": []})
    if route == "history":
        return web.json_response({one: entry() for one in asked.prompts if asked.rest in ("", one)})
    if route == "view":
        return web.Response(body=png(), headers={"Last-Modified": "Sun, 01 Nov 2026 10:20:30 GMT"})
    if route == "ws":
        socket = web.WebSocketResponse()
        await socket.prepare(asked.request)
        async for _ in socket:
            pass
        return socket
    if route == "upload":
        return web.json_response({"name": "k.png", "subfolder": "", "type": "input"})
    return web.Response(status=404)


# ---------------------------------------------------------------- pieces of odd answers


def says(value: Any, status: int = 200) -> Answers:
    async def answer(_asked: Asked) -> web.StreamResponse:
        text = value if isinstance(value, str) else json.dumps(value)
        return web.Response(text=text, status=status, content_type="application/json")

    return answer


def of_prompt(value: Any) -> Answers:
    """A history of the prompt that is asked for."""

    async def answer(asked: Asked) -> web.StreamResponse:
        return web.Response(text=json.dumps({asked.prompt_id: value}), content_type="application/json")

    return answer


def of_record(text: str | None = None, **changes: Any) -> Way:
    """A server with our routes, whose records are odd."""

    async def answer(asked: Asked) -> web.StreamResponse:
        return web.Response(text=text or json.dumps(record(asked, **changes)), content_type="application/json")

    return {"health": says({"status": "ok", "version": "0.1.0"}), "record": answer}


def files(*named: Any, view: Answers = good) -> Way:
    """A prompt whose outputs name these."""
    some = [
        {"subfolder": "", "type": "output", **({"filename": one} if isinstance(one, str) else one)} for one in named
    ]
    return {"history": of_prompt(entry(outputs={"2": {"images": some}})), "view": view}


async def every_number(asked: Asked) -> web.StreamResponse:
    """Has the file of each number that a name may stand for, without end; in no haste, as others are served, too."""
    await asyncio.sleep(0.002)
    return web.Response(status=404) if "%" in asked.request.query.get("filename", "%") else await good(asked)


async def hangs(_asked: Asked) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response()


async def _stream(asked: Asked, **headers: str) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    await response.prepare(asked.request)
    return response


async def endless(asked: Asked) -> web.StreamResponse:
    response = await _stream(asked)
    await response.write(b'{"a": "')
    while True:
        await response.write(b"x" * 256 * 1024)


async def drips(asked: Asked) -> web.StreamResponse:
    response = await _stream(asked)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.2)


async def packed(asked: Asked) -> web.StreamResponse:
    response = await _stream(asked, **{"Content-Encoding": "gzip", "Content-Length": str(len(asked.server.bomb))})
    await response.write(asked.server.bomb)
    return response


async def half(asked: Asked) -> web.StreamResponse:
    response = await _stream(asked, **{"Content-Length": "1000"})
    await response.write(b'{"devices": [')
    if asked.request.transport is not None:
        asked.request.transport.close()
    return response


async def half_packed(asked: Asked) -> web.StreamResponse:
    data = zlib.compress(b'{"devices": []}')[:-6]
    return web.Response(body=data, headers={"Content-Encoding": "deflate"})


async def unasked(_asked: Asked) -> web.StreamResponse:
    return web.Response(body=b"\x0b\x02\x80{}\x03", headers={"Content-Encoding": "br"})


async def hangs_up(asked: Asked) -> web.StreamResponse:
    if asked.request.transport is not None:
        asked.request.transport.close()
    return web.Response()


async def garbage(asked: Asked) -> web.StreamResponse:
    if asked.request.transport is not None:
        asked.request.transport.write(b"\x00\xff\x1b]0;title\x07 no HTTP at all\r\n\r\n")  # type: ignore[attr-defined]
        asked.request.transport.close()
    return web.Response()


async def elsewhere(asked: Asked) -> web.StreamResponse:
    place = f"http://localhost:{asked.server.port}/trap/{asked.route}"
    return web.Response(status=302, headers={"Location": place})


async def headers(_asked: Asked) -> web.StreamResponse:
    return web.json_response(STATS, headers={"X-Long": "x" * 200_000})


async def brackets(asked: Asked) -> web.StreamResponse:
    """Some twenty megabytes of text, and half a gigabyte of lists."""
    response = await _stream(asked)
    await response.write(b'{"a": [')
    for _ in range(20):
        await response.write(b"[]," * (MIB // 3))
    await response.write(b"[]]}")
    return response


async def wide(asked: Asked) -> web.StreamResponse:
    """One character makes all of a text four times as large in memory."""
    response = await _stream(asked)
    await response.write('{"a": "\U0001f600'.encode())
    for _ in range(22):
        await response.write(b"x" * MIB)
    await response.write(b'"}')
    return response


def picture(width: int, height: int) -> Answers:
    async def answer(_asked: Asked) -> web.StreamResponse:
        return web.Response(body=png(width, height))

    return answer


def sized(said: int, sent: int) -> Answers:
    """A file that is said to have so many bytes, and has so many."""

    async def answer(asked: Asked) -> web.StreamResponse:
        response = await _stream(asked, **{"Content-Length": str(said)})
        await response.write(b"x" * sent)
        if asked.request.transport is not None:
            asked.request.transport.close()
        return response

    return answer


async def changes_its_mind(asked: Asked) -> web.StreamResponse:
    count = asked.server.counts[asked.way, "history"]
    told = [{}, entry(), {"status": {"status_str": "error", "messages": []}, "outputs": {}}, {}][count % 4]
    return web.json_response({asked.prompt_id: told} if told else {})


def tells(*messages: str, huge: bool = False, flood: bool = False) -> Answers:
    """A web socket that says these of the newest prompt."""

    async def answer(asked: Asked) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(asked.request)
        with contextlib.suppress(ConnectionError, RuntimeError):
            if huge:
                await socket.send_bytes(b"x" * 64 * MIB)
            while not socket.closed:
                for message in messages:
                    for _ in range(500 if flood else 1):
                        await socket.send_str(message.replace("PROMPT", asked.prompt_id))
                if not flood:
                    await asyncio.sleep(0.1)
                if socket._reader is not None and socket._reader.is_eof():
                    break
        return socket

    return answer


UNENDED = of_prompt(None)


async def runs(asked: Asked) -> web.StreamResponse:
    return web.json_response({"queue_running": [[1, one, {}] for one in asked.prompts], "queue_pending": []})


async def on_disk(asked: Asked) -> web.StreamResponse:
    """It says that its output folder is one that holds links."""
    argv = ["main.py", "--output-directory", str(asked.server.disk)]
    return web.json_response({**STATS, "system": {"argv": argv}})


async def any_marker(asked: Asked) -> web.StreamResponse:
    if not asked.request.query.get("filename", "").endswith(".done"):
        return await good(asked)
    listed = [{"Name": f"../x{number}", "Bytes": 1, "Modified": "2026-11-01T10:20:30.000Z"} for number in range(100)]
    told = {"Timestamp": "2026-11-01T10:20:30.000Z", "Status": "success", "PromptId": asked.prompt_id}
    return web.json_response({**told, "FrameCount": 100, "Files": listed})


async def large_marker(asked: Asked) -> web.StreamResponse:
    return await (endless if asked.request.query.get("filename", "").endswith(".done") else good)(asked)


async def event_line(asked: Asked) -> web.StreamResponse:
    response = await _stream(asked, **{"Content-Type": "text/event-stream"})
    while True:
        await response.write(b"x" * 256 * 1024)


def said(kind: str, **data: Any) -> str:
    return json.dumps({"type": kind, "data": {"prompt_id": "PROMPT", **data}})


def failed(data: Any) -> Answers:
    return of_prompt(entry(status={"status_str": "error", "messages": [["execution_error", data]]}, outputs={}))


WAYS: dict[str, Way] = {
    "good": {},
    # --- whatever is asked
    "all-html": {"*": says("<html><body>Welcome</body></html>")},
    "all-500": {"*": says({"error": "x"}, 500)},
    "all-401": {"*": says({}, 401)},
    "all-redirected": {"*": elsewhere},
    "all-garbage": {"*": garbage},
    "all-hung-up": {"*": hangs_up},
    "all-204": {"*": says("", 204)},
    "all-a-number": {"*": says("7")},
    "all-unpacked-by-nobody": {"*": unasked},
    # --- what it says of itself
    "stats-bomb": {"stats": packed},
    "stats-drips": {"stats": drips},
    "stats-deep": {"stats": says('{"devices": [], "system": ' + DEEP + "}")},
    "stats-a-list": {"stats": says([STATS])},
    "stats-never": {"stats": hangs},
    "stats-half": {"stats": half},
    "stats-half-packed": {"stats": half_packed},
    "stats-long-headers": {"stats": headers},
    "stats-numbers": {
        "stats": says(
            '{"system": {"ram_total": NaN, "ram_free": -Infinity, "argv": [null, 7]}, "devices": '
            '[{"name": 5, "type": [], "index": "0", "vram_total": %s, "vram_free": 1e999}]}' % ("9" * 5000)
        )
    },
    "figures-odd": {"gpu": says('{"devices": [{"name": null, "vram_total_bytes": "many"}], "system": []}')},
    "classes-none": {"classes": hangs_up},
    "classes-endless": {"classes": endless},
    "classes-bomb": {"classes": packed},
    "classes-brackets": {"classes": brackets},
    "classes-wide": {"classes": wide},
    "classes-odd": {"classes": says({"EmptyImage": None, "SaveImage": {"input": {"required": [1]}}})},
    "classes-a-list": {"classes": says(["EmptyImage"])},
    # --- what it says of a posted graph
    "prompt-200-with-error": {"prompt": says({"error": {"message": "no"}, "node_errors": []})},
    "prompt-200-html": {"prompt": says("<html></html>")},
    "prompt-400-odd": {"prompt": says({"error": 7, "node_errors": None}, 400)},
    "prompt-400-surrogates": {"prompt": says({"error": {"message": SURROGATE}}, 400)},
    "prompt-400-many": {
        "prompt": says(
            {"error": {}, "node_errors": {str(n): {"errors": [{"message": "x" * 5000}]} for n in range(500)}}, 400
        )
    },
    "prompt-another-id": {
        "prompt": says({"prompt_id": "../../../../outside\x1b]0;x\x07"}),
        "history": says({"../../../../outside\x1b]0;x\x07": entry()}),
    },
    "prompt-endless": {"prompt": endless},
    # --- the queue
    "queue-nulls": {"history": UNENDED, "queue": says({"queue_running": None, "queue_pending": 3})},
    "queue-odd": {
        "history": UNENDED,
        "queue": says({"queue_running": [7, [], [None, {}]], "queue_pending": [["a", 1]]}),
    },
    "queue-endless": {"history": UNENDED, "queue": endless},
    "queue-forever": {"history": UNENDED, "queue": runs},
    # --- the history
    "history-messages-null": {"history": of_prompt(entry(status={"status_str": "success", "messages": None}))},
    "history-messages-odd": {"history": of_prompt(entry(status={"messages": [7, [], ["execution_error"], {}]}))},
    "history-status-null": {"history": of_prompt(entry(status=None))},
    "history-status-text": {"history": of_prompt(entry(status="success"))},
    "history-a-list": {"history": of_prompt([entry()])},
    "history-error-no-object": {"history": failed("boom")},
    "history-error-odd": {"history": failed({"node_id": [1], "node_type": {}, "exception_message": 5})},
    "history-surrogates": {"history": failed({"node_id": "2", "node_type": "A", "exception_message": SURROGATE})},
    "history-escapes": {"history": failed({"exception_message": "\x1b]0;x\x07\x9b31m\u202e" + "x" * 100_000})},
    "history-time-odd": {
        "history": of_prompt(
            entry(status={"status_str": "success", "messages": [["execution_success", {"timestamp": 1e300}]]})
        )
    },
    "history-deep": {"history": says(DEEP)},
    "history-800-deep": {"history": of_prompt(entry(prompt=[1, "p", json.loads("[" * 800 + "]" * 800), {}, []]))},
    "history-of-another": {"history": says({"another": entry()})},
    "history-changes": {"history": changes_its_mind},
    "history-endless": {"history": endless},
    "history-drips": {"history": drips},
    "history-bomb": {"history": packed},
    "history-half": {"history": half},
    "history-brackets": {"history": brackets},
    "history-redirected": {"history": elsewhere},
    # --- names of files
    "names-upwards": files(
        "../../a.png", {"filename": "b.png", "subfolder": "../.."}, {"filename": "c", "subfolder": "/"}
    ),
    "names-nul-and-lines": files("a\0.png", "b\n[Scene scene-001] ERROR: forged.png", "\x1b]0;x\x07.png"),
    "names-surrogates": files("\udcff.png", "a\ud800.png"),
    "names-5000-letters": files("n" * 5000 + ".png", {"filename": "a.png", "subfolder": "f" * 5000}),
    "names-long-parts": files({"filename": "a.png", "subfolder": "f" * 300}, "n" * 300 + ".png"),
    "names-50000": files(*[f"x{number}.png" for number in range(50_000)], view=says("", 404)),
    "names-without-end": files("a_%d.png", "b_%099d.png", "%d_%d.png", view=every_number),
    "names-file-and-folder": files("a", {"filename": "b.png", "subfolder": "a"}),
    "names-hidden": files(".bashrc", {"filename": "authorized_keys", "subfolder": ".ssh"}),
    "names-odd-types": files({"filename": 7}, {"filename": "a.png", "subfolder": ["x"]}, {"filename": None}),
    # --- files
    "view-endless": {"view": endless},
    "view-drips": {"view": drips},
    "view-bomb": {"view": packed},
    "view-ten-terabytes": {"view": sized(10**13, 1000)},
    "view-half": {"view": sized(1_000_000, 1000)},
    "view-redirected": {"view": elsewhere},
    "view-picture-bomb": {"view": picture(60_000, 60_000)},
    "view-large-picture": {"view": picture(4000, 4000)},
    "view-500": {"view": says("", 500)},
    "disk-links": {"stats": on_disk, **files("link.png", "zero.png", "pipe.png", "secret.png", view=says("", 404))},
    "marker-outside": {"view": any_marker},
    "marker-endless": {"view": large_marker},
    # --- the web socket
    "ws-flood": {
        "history": UNENDED,
        "queue": runs,
        "ws": tells(said("progress", node="1", value=1, max=2), flood=True),
    },
    "ws-outputs": {
        "history": UNENDED,
        "queue": runs,
        "ws": tells(said("executed", node="1", output={"images": [IMAGE] * 20_000})),
    },
    "ws-huge-frame": {"ws": tells("x", huge=True), "history": UNENDED, "queue": runs},
    "ws-odd": {
        "ws": tells(DEEP, "[]", said("execution_error", exception_message=None), said("executed", output=[])),
        "history": UNENDED,
        "queue": runs,
    },
    "ws-redirected": {"ws": elsewhere, "history": UNENDED, "queue": runs},
    # --- our own routes
    "record-deep": of_record('{"status": ' + DEEP + "}"),
    "record-of-another": of_record(prompt_id="another"),
    "record-odd": of_record(status="splendid", outputs=None, node_counts=7),
    "record-number-texts": of_record(run_number="NaN", node_counts={"total": "2"}),
    "record-surrogates": of_record(
        status="error",
        outputs=[],
        error={"node_id": "2", "class_type": "A", "exception_type": "E", "message": SURROGATE},
    ),
    "record-time-odd": of_record(ended_at="x" * 100_000),
    "record-endless": {**of_record(), "record": endless},
    "record-drips": {**of_record(), "record": drips},
    "events-endless-line": {**of_record(), "events": event_line},
    "upload-odd": {"upload": says({"name": ["x"]})},
}
"""By name, the routes that answer oddly, and how."""


def hostile_disk(folder: Path, secret: Path) -> Path:
    """An output folder that names links, a pipe and somebody's secret."""
    folder.mkdir(parents=True)
    (folder / "link.png").symlink_to(secret)
    (folder / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.png")
    (folder / "secret.png").write_bytes(b"secret" * 10_000)
    (folder / "secret.png").chmod(0o600)
    return folder
