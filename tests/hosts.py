"""Start an embedded host or a real ComfyUI in a process of its own, and talk to it."""

import atexit
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

REPO = Path(__file__).resolve().parent.parent
PROBE_PACK = Path(__file__).resolve().parent / "probe_pack"
FAULT_PACK = Path(__file__).resolve().parent / "zz_faults"
KINDS = ("embedded", "real")
START_SECONDS = 180
CLI = (sys.executable, "-u", "-c", "import sys; from run_recorder.cli import main; sys.exit(main())")


class Reply(NamedTuple):
    """One HTTP answer: the body is parsed where it is JSON."""

    status: int
    body: Any
    headers: Mapping[str, str]


def comfyui_path() -> Path | None:
    """The real ComfyUI's folder, or None where this machine has none."""
    path = Path(os.environ.get("COMFYUI_PATH") or Path.home() / "comfy" / "ComfyUI")
    return path if (path / "main.py").is_file() else None


def comfyui_python(comfyui: Path) -> str:
    """The interpreter that has ComfyUI's requirements."""
    given = os.environ.get("COMFYUI_PYTHON")
    if given:
        return given
    for name in ("bin/python", "Scripts/python.exe"):
        if (comfyui / ".venv" / name).exists():
            return str(comfyui / ".venv" / name)
    return sys.executable


_WHAT_IS_MISSING = """
import re, sys
from importlib import metadata
for line in open(sys.argv[1], encoding="utf-8"):
    name = re.match(r"[A-Za-z0-9_.-]*", line)[0]
    try:
        name and metadata.version(name)
    except metadata.PackageNotFoundError:
        print(line.strip())
"""


@functools.lru_cache(maxsize=1)
def requirements_beside(python: str) -> str:
    """A folder with those of our requirements that an interpreter lacks, for its PYTHONPATH; empty where it has all.

    A user installs them into ComfyUI's own environment, as the README says; a test leaves that as it is.
    """
    command = [python, "-c", _WHAT_IS_MISSING, str(REPO / "requirements.txt")]
    missing = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    if not missing:
        return ""
    folder = tempfile.mkdtemp(prefix="run-recorder-requirements-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--target", folder]
    subprocess.run([*install, *missing], check=True, capture_output=True, timeout=300)
    return folder


def free_port() -> int:
    """A loopback port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def copy_package(target: Path) -> None:
    """The package as a user who unpacks an archive has it: no repository, no environment, no tests."""
    skip = shutil.ignore_patterns(".*", "__pycache__", "tests", "benchmarks", "*.egg-info")
    shutil.copytree(REPO, target, ignore=skip)


def link(source: Path, target: Path) -> None:
    """Link a folder, or copy it where this platform's user may not make links."""
    if target.exists():
        return
    try:
        target.symlink_to(source, target_is_directory=True)
    except OSError:
        if source == REPO:
            copy_package(target)
        else:
            shutil.copytree(source, target)


class Host:
    """One server process. `base` outlives it, so that `restart()` finds what the last process left."""

    def __init__(
        self,
        kind: str,
        base: Path,
        *,
        packs: Iterable[Path] = (),
        env: Mapping[str, str] | None = None,
        flags: Iterable[str] = (),
        recorder: bool = True,
    ) -> None:
        self.kind = kind
        self.base = base
        self.flags = list(flags)
        self.recorder = recorder
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("RUN_RECORDER_")} | dict(env or {})
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.output = base / "output"
        self.log = base / "server.log"
        self.custom_nodes = base / "custom_nodes"
        for folder in ("custom_nodes", "output", "input", "temp", "user", "models"):
            (base / folder).mkdir(parents=True, exist_ok=True)
        if recorder:
            link(REPO, self.custom_nodes / "run-recorder")
        for pack in (PROBE_PACK, *packs):
            link(pack, self.custom_nodes / pack.name)

    # --- the process ---

    def _command(self) -> list[str]:
        flags = ["--cpu", "--listen", "127.0.0.1", "--port", str(self.port)]
        flags += ["--base-directory", str(self.base), "--disable-auto-launch", *self.flags]
        if self.kind == "embedded":
            return [sys.executable, "-m", "run_recorder.embedded_host", *flags]
        comfyui = comfyui_path()
        assert comfyui is not None
        known = (comfyui / "comfy" / "cli_args.py").read_text("utf-8")
        if "--database-url" in known:
            # Its default is one file beside ComfyUI, which only one process can lock.
            flags += ["--database-url", f"sqlite:///{self.base / 'user' / 'comfyui.db'}"]
        if "--disable-api-nodes" in known:
            # Nodes that call paid services, which no test uses: loading them is a seventh of the time of a start.
            flags.append("--disable-api-nodes")
        python = comfyui_python(comfyui)
        if self.recorder:
            given = self.env.get("PYTHONPATH", "").split(os.pathsep)
            beside = [requirements_beside(python)]
            self.env["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(filter(None, [*given, *beside])))
        return [python, str(comfyui / "main.py"), *flags]

    def start(self, port: int | None = None) -> "Host":
        """Start, and wait until it answers; on a free port, or on this one."""
        self.port = port or free_port()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command(), stdout=log, stderr=subprocess.STDOUT, cwd=self.base, env=self.env
            )
        self._wait_for("/system_stats")
        if self.recorder:
            self._wait_for("/telemetry/health", 10)
            self._wait_for_the_store()
        return self

    def _wait_for_the_store(self, seconds: float = 5.0) -> None:
        """Wait until the store is open, or can't be: until then the answer to a posted prompt may take two seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            told = self.request("GET", "/telemetry/health").body
            store = told.get("store", {}) if isinstance(told, dict) else {}
            if store.get("prompts", 0) is not None or told["problems"]:
                return
            time.sleep(0.02)

    def _wait_for(self, path: str, seconds: float = START_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.alive:
                raise AssertionError(f"the {self.kind} host died while starting:\n{self.log_text()[-6000:]}")
            try:
                if self.request("GET", path, timeout=5).status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"{self.kind} host: no {path} in {seconds} s:\n{self.log_text()[-6000:]}")

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """As by a power cut: the process has no say."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)

    def stop(self) -> None:
        """Ask it to end, and insist."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()

    def restart(self, *, same_port: bool = False) -> "Host":
        """A new process over the same folder."""
        self.stop()
        return self.start(self.port if same_port else None)

    def log_text(self) -> str:
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    # --- plain HTTP ---

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 320,
    ) -> Reply:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=dict(headers or {}))
        if data is not None:
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return Reply(answer.status, _parsed(answer.read()), answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, _parsed(error.read()), error.headers)

    def get(self, path: str) -> tuple[int, Any]:
        reply = self.request("GET", path)
        return reply.status, reply.body

    def delete(self, path: str) -> tuple[int, Any]:
        reply = self.request("DELETE", path)
        return reply.status, reply.body

    # --- ComfyUI ---

    def post(self, graph: Mapping[str, Any], **fields: Any) -> tuple[int, Any]:
        """POST /prompt; `fields` go beside the graph (client_id, extra_data, prompt_id, ...)."""
        reply = self.request("POST", "/prompt", {"prompt": graph, **fields})
        return reply.status, reply.body

    def queue(self, graph: Mapping[str, Any], **fields: Any) -> str:
        status, body = self.post(graph, **fields)
        assert status == 200, body
        return str(body["prompt_id"])

    def history(self, prompt_id: str) -> Any:
        return self.get(f"/history/{prompt_id}")[1].get(prompt_id)

    def wait_history(self, prompt_id: str, timeout: float = 60) -> Any:
        """The end as ComfyUI itself tells it, by polling: works without a recorder."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            entry = self.history(prompt_id)
            if entry:
                return entry
            time.sleep(0.05)
        raise AssertionError(f"{prompt_id} isn't in the history after {timeout} s")

    def queued_ids(self) -> tuple[list[str], list[str]]:
        """Prompt ids that run, and that wait."""
        body = self.get("/queue")[1]
        return [item[1] for item in body["queue_running"]], [item[1] for item in body["queue_pending"]]

    def interrupt(self) -> None:
        assert self.request("POST", "/interrupt", {}).status == 200

    def delete_queued(self, *prompt_ids: str) -> None:
        assert self.request("POST", "/queue", {"delete": list(prompt_ids)}).status == 200

    def clear_queue(self) -> None:
        assert self.request("POST", "/queue", {"clear": True}).status == 200

    def free(self) -> None:
        """Forget every cached node result, once the worker is idle."""
        assert self.request("POST", "/free", {"free_memory": True}).status == 200

    def node_class(self, class_type: str) -> dict[str, Any] | None:
        """What /object_info says of a node, or None where this host hasn't got it."""
        body = self.get(f"/object_info/{class_type}")[1]
        found = body.get(class_type) if isinstance(body, dict) else None
        return found if isinstance(found, dict) else None

    @property
    def version(self) -> tuple[int, ...]:
        """ComfyUI's version as the host tells it."""
        text = self.get("/system_stats")[1]["system"].get("comfyui_version", "0")
        return tuple(int(part) for part in text.split("+")[0].split(".") if part.isdigit())

    # --- the recorder ---

    def record(self, prompt_id: str, **query: Any) -> Any:
        suffix = "?" + "&".join(f"{k}={v}" for k, v in query.items()) if query else ""
        status, body = self.get(f"/telemetry/prompts/{prompt_id}{suffix}")
        assert status == 200, body
        return body

    def nodes(self, prompt_id: str) -> list[dict[str, Any]]:
        status, body = self.get(f"/telemetry/prompts/{prompt_id}/nodes")
        assert status == 200, body
        return list(body["items"])

    def wait(self, prompt_id: str, timeout: float = 60) -> Any:
        """The record, once the prompt has ended and its markers are written."""
        status, body = self.get(f"/telemetry/prompts/{prompt_id}/wait?timeout={timeout}")
        assert status == 200, (status, body)
        return body

    def run(self, graph: Mapping[str, Any], **fields: Any) -> Any:
        """Queue, wait, return the record."""
        return self.wait(self.queue(graph, **fields))

    def health(self) -> Any:
        status, body = self.get("/telemetry/health")
        assert status == 200, body
        return body

    def until(self, told: Any, seconds: float = 10, every: float = 0.02) -> Any:
        """Poll until `told()` is true, and return what it said."""
        deadline = time.monotonic() + seconds
        while True:
            answer = told()
            if answer:
                return answer
            assert time.monotonic() < deadline, f"not within {seconds} s"
            time.sleep(every)

    def until_running(self, prompt_id: str, node_id: str | None = None) -> Any:
        """Wait until the prompt runs (and has come to a node), by the recorder's own word."""

        def there() -> Any:
            record = self.record(prompt_id)
            current = record["current_node"]
            ready = record["status"] == "running" and (
                node_id is None or (current is not None and current["node_id"] == node_id)
            )
            return record if ready else None

        return self.until(there, 20)

    # --- the disk ---

    def path(self, relative: str) -> Path:
        return self.output / relative

    def marker(self, relative: str) -> Any:
        return json.loads((self.output / relative).read_text("utf-8"))

    def markers_in(self, folder: str) -> list[str]:
        """Marker names in a folder of the output folder, sorted."""
        return sorted(p.name for p in (self.output / folder).glob("*") if p.suffix in (".done", ".failed"))

    def database_files(self) -> list[Path]:
        """Everything below the user folder, which is where the store lives."""
        return [p for p in (self.base / "user").rglob("*") if p.is_file()]


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data) if data else None
    except ValueError:
        return data.decode("utf-8", "replace")


def cli(*arguments: str | Path, env: dict[str, str] | None = None, timeout: float = 120) -> subprocess.CompletedProcess:
    """Run the command line as a user does, in a process of its own."""
    return subprocess.run(
        [*CLI, *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout,
        env={**os.environ, "COLUMNS": "200", **(env or {})},
        check=False,
    )
