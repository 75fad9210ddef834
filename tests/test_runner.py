"""`run-recorder queue` on a server with our package, and on one without."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest
from aiohttp import web
from run_recorder.telemetry.models.run_contract import ArtifactMetadata

from .graphs import Graph, failing, saved, slow_then_saved
from .hosts import CLI, Host, cli


@pytest.fixture(params=["with our package", "without it"])
def server(request: pytest.FixtureRequest, host_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Host:
    """A server of each kind; the bare one is started once for all tests."""
    if request.param == "with our package":
        return request.getfixturevalue("host")
    return request.getfixturevalue("bare_host")


@pytest.fixture(scope="module")
def bare_host(host_kind: str, tmp_path_factory: pytest.TempPathFactory):
    host = Host(host_kind, tmp_path_factory.mktemp(f"bare-{host_kind}"), recorder=False)
    try:
        yield host.start()
    finally:
        host.stop()


class Queued:
    """One run of the command: its exit code, what it printed, and the run's folder."""

    def __init__(self, host: Host, graph: Any, tmp: Path, *options: str) -> None:
        self.tmp = tmp
        self.workflow = tmp / "shot.json"
        self.workflow.write_text(graph if isinstance(graph, str) else json.dumps(graph), "utf-8")
        self.output = tmp / "collected"
        self.arguments = ["queue", str(self.workflow), "--comfyui", host.url, "--output", str(self.output)]
        self.arguments += ["--runs-dir", str(tmp / "runs"), "--json", "--history-poll-interval-seconds", "1", *options]

    def run(self) -> "Queued":
        done = cli(*self.arguments)
        return self.ended(done.returncode, done.stdout, done.stderr)

    def ended(self, code: int, out: str, error: str) -> "Queued":
        self.code, self.error = code, error
        assert out, error
        self.told = json.loads(out)
        return self

    @property
    def folder(self) -> Path:
        latest = json.loads((self.tmp / "runs" / "latest-run.json").read_text("utf-8"))
        return Path(latest["RunDir"])

    @property
    def metadata(self) -> dict[str, Any]:
        return json.loads((self.folder / "artifact-metadata.json").read_text("utf-8"))

    @property
    def scene(self) -> dict[str, Any]:
        return self.metadata["Scenes"][0]

    def validated(self) -> list[str]:
        """The validator's errors."""
        return json.loads(cli("validate", self.folder, "--json").stdout)["Errors"]


NO_FRAMES = ["Total frames copied is 0; more than 0 is accepted"]


def test_a_success_is_collected_whole_and_its_run_validates(server: Host, folder: str, tmp_path: Path) -> None:
    queued = Queued(server, saved(f"{folder}/a", 3), tmp_path).run()
    assert queued.code == 0, (queued.told, queued.error)
    names = [f"a_0000{number}_.png" for number in (1, 2, 3)]
    assert [Path(name).name for name in queued.told["Files"]] == names
    for name in names:
        copied = queued.output / folder / name
        assert copied.read_bytes() == (server.output / folder / name).read_bytes()
    assert sorted(path.name for path in queued.output.rglob("*")) == sorted([folder, *names])
    told = queued.told["Telemetry"]
    assert told["HistoryExitReason"] == "success"
    assert (told["DoneMarkerDetected"], told["DoneMarkerWaitSeconds"], told["ForcedCopyTriggered"]) == (False, 0, False)
    assert queued.validated() == []
    jsonschema.validate(queued.metadata, ArtifactMetadata.model_json_schema(mode="serialization"))


def test_a_marker_of_our_node_is_believed_and_kept(host: Host, folder: str, tmp_path: Path) -> None:
    queued = Queued(host, saved(f"{folder}/a", 2, {"filename_prefix": f"{folder}/a"}), tmp_path).run()
    assert queued.code == 0, queued.told
    told = queued.told["Telemetry"]
    assert told["DoneMarkerDetected"] is True
    assert json.loads(Path(told["DoneMarkerPath"]).read_text("utf-8"))["PromptId"] == queued.told["PromptId"]
    assert queued.validated() == []


def test_a_marker_of_another_prompt_is_not_believed(server: Host, folder: str, tmp_path: Path) -> None:
    place = server.output / folder / "a.done"
    place.parent.mkdir(parents=True)
    place.write_text('{"Timestamp": "2026-01-01T00:00:00.000Z", "PromptId": "another", "Status": "success"}', "utf-8")
    waits = ("--wait-for-done-marker", "--done-marker-timeout-seconds", "1", "--stability-seconds", "1")
    queued = Queued(server, saved(f"{folder}/a", 2), tmp_path, *waits).run()
    assert queued.code == 0, queued.told
    told = queued.told["Telemetry"]
    assert told["DoneMarkerDetected"] is False
    assert told["System"]["FallbackNotes"][-1] == "Done marker not found after 1 seconds (waited 1 seconds)"
    ours = json.loads(Path(told["DoneMarkerPath"]).read_text("utf-8"))
    assert (ours["Producer"], ours["FrameCount"], ours["PromptId"]) == ("runner", 2, queued.told["PromptId"])
    assert queued.validated() == []


def test_an_error_is_tried_again_within_the_budget_and_said(server: Host, folder: str, tmp_path: Path) -> None:
    queued = Queued(server, _failing(folder), tmp_path, "--scene-retry-budget", "1").run()
    assert queued.code == 1
    assert queued.told["Success"] is False
    assert queued.told["Telemetry"]["HistoryExitReason"] == "unknown"
    assert queued.scene["AttemptsRun"] == 2
    assert "fail" in queued.scene["Errors"][0] and "it broke" in queued.scene["Errors"][0]
    assert queued.scene["AttemptSummaries"][0]["RequeueReason"].startswith("error: ")
    assert queued.validated() == NO_FRAMES


def test_a_failure_has_its_reason_in_the_document_and_on_standard_error(
    server: Host, folder: str, tmp_path: Path
) -> None:
    queued = Queued(server, _failing(folder), tmp_path, "--scene-retry-budget", "0").run()
    assert (queued.code, queued.told["Success"]) == (1, False)
    error = queued.told["Error"]
    assert (error["Type"], error["NodeId"]) == ("ValueError", "fail") and "it broke" in error["Message"]
    assert "it broke" in queued.error


def test_too_few_files_are_a_reason_too(server: Host, folder: str, tmp_path: Path) -> None:
    queued = Queued(server, saved(f"{folder}/a"), tmp_path, "--frame-floor", "3").run()
    assert (queued.code, queued.told["Error"]["Type"], queued.told["Error"]["NodeId"]) == (1, "files", None)
    assert "the floor is 3" in queued.told["Error"]["Message"]


def test_a_success_has_no_error(server: Host, folder: str, tmp_path: Path) -> None:
    assert Queued(server, saved(f"{folder}/a"), tmp_path).run().told["Error"] is None


@pytest.mark.parametrize("where", ["out", "./out", "a/../out", "link", None])
def test_paths_exist_whatever_the_output_folder_is_called(
    host: Host, folder: str, tmp_path: Path, where: str | None
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "w.json").write_text(json.dumps(saved(f"{folder}/a", 2, {})), "utf-8")
    command = [*CLI, "queue", "w.json", "--comfyui", host.url, "--json", *(["--output", where] if where else [])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    told = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert len(told["Files"]) == 2
    for path in (*told["Files"], told["Telemetry"]["DoneMarkerPath"]):
        assert (tmp_path / path).is_file(), path


def _failing(folder: str) -> Graph:
    graph = failing(f"{folder}/a")
    del graph["marker"]
    return graph


def test_a_refused_graph_is_final_and_names_node_input_and_reason(server: Host, folder: str, tmp_path: Path) -> None:
    graph = saved(f"{folder}/a")
    del graph["2"]["inputs"]["images"]
    queued = Queued(server, graph, tmp_path).run()
    assert queued.code == 1
    assert queued.told["error"]["type"] == "refused"
    assert "node 2 (SaveImage), input images" in queued.told["error"]["message"]
    assert queued.scene["AttemptsRun"] == 1
    assert queued.validated() == NO_FRAMES


def _meanwhile(queued: Queued, act: Callable[[], None]) -> Queued:
    """Run the command, and do something while its prompt runs."""
    thread = threading.Thread(target=act)
    thread.start()
    queued.run()
    thread.join()
    return queued


def _slow(folder: str, seconds: float) -> Graph:
    graph = slow_then_saved(f"{folder}/a", seconds)
    del graph["marker"]
    return graph


def _until_running(host: Host) -> str:
    return str(host.until(lambda: host.queued_ids()[0], 60)[0])


def test_an_interrupt_by_another_client_is_final(server: Host, folder: str, tmp_path: Path) -> None:
    def interrupt() -> None:
        prompt_id = _until_running(server)

        def is_over() -> bool:
            server.interrupt()  # ComfyUI forgets one that comes just before it begins to execute
            return prompt_id not in server.queued_ids()[0]

        server.until(is_over, 60, every=0.2)

    queued = _meanwhile(Queued(server, _slow(folder, 30), tmp_path), interrupt)
    assert queued.code == 1
    assert queued.scene["AttemptsRun"] == 1
    assert "interrupted" in queued.scene["Errors"][0]
    assert queued.validated() == NO_FRAMES


def test_a_delete_from_the_queue_is_final(server: Host, folder: str, tmp_path: Path) -> None:
    blocking = server.queue(_slow(f"{folder}-first", 60))
    assert _until_running(server) == blocking

    def delete() -> None:
        server.delete_queued(server.until(lambda: server.queued_ids()[1], 60)[0])

    queued = _meanwhile(Queued(server, _slow(folder, 30), tmp_path), delete)
    assert server.queued_ids()[0] == [blocking]
    server.interrupt()
    assert queued.code == 1
    assert queued.scene["AttemptsRun"] == 1
    assert "cancelled" in queued.scene["Errors"][0]
    assert queued.validated() == NO_FRAMES


@pytest.mark.parametrize("recorder", [True, False])
def test_a_server_that_restarts_in_mid_prompt_has_lost_it_and_the_prompt_is_tried_again(
    start_host: Callable[..., Host], folder: str, tmp_path: Path, recorder: bool
) -> None:
    host = start_host(recorder=recorder)
    port = host.port

    def restart() -> None:
        _until_running(host)
        host.kill()
        host.start = lambda: Host.start(host)  # type: ignore[method-assign]
        _start_on(host, port)

    queued = _meanwhile(Queued(host, _slow(folder, 3), tmp_path), restart)
    assert queued.code == 0, (queued.told, queued.error)
    assert queued.scene["AttemptsRun"] == 2
    assert queued.scene["AttemptSummaries"][0]["RequeueReason"].startswith("lost: ")
    assert queued.validated() == []


def _start_on(host: Host, port: int) -> None:
    from . import hosts

    free, hosts.free_port = hosts.free_port, lambda: port
    try:
        host.start()
    finally:
        hosts.free_port = free


def test_too_few_frames_after_a_success_are_final(server: Host, folder: str, tmp_path: Path) -> None:
    queued = Queued(server, saved(f"{folder}/a", 2), tmp_path, "--frame-floor", "3").run()
    assert queued.code == 1
    assert queued.scene["AttemptsRun"] == 1
    assert queued.scene["MeetsFrameFloor"] is False
    assert len(queued.told["Files"]) == 2
    assert queued.validated() == []


def test_a_render_that_makes_no_progress_is_given_up_and_interrupted(server: Host, folder: str, tmp_path: Path) -> None:
    graph = _slow(folder, 12)
    graph["slow"]["inputs"]["steps"] = 2
    queued = Queued(server, graph, tmp_path, "--max-wait-seconds", "2", "--scene-retry-budget", "0").run()
    assert queued.code == 1
    assert queued.told["Telemetry"]["HistoryExitReason"] == "maxWait"
    server.until(lambda: not server.queued_ids()[0], 30)
    assert queued.validated() == NO_FRAMES


def test_a_limit_of_requests_is_kept(server: Host, folder: str, tmp_path: Path) -> None:
    options = ("--history-max-attempts", "2", "--scene-retry-budget", "0")
    queued = Queued(server, _slow(folder, 30), tmp_path, *options).run()
    server.until(lambda: not server.queued_ids()[0], 30)
    told = queued.told["Telemetry"]
    assert (told["HistoryExitReason"], told["HistoryAttempts"], told["pollLimit"]) == ("attemptLimit", 2, "2")
    assert queued.validated() == NO_FRAMES


def test_without_our_routes_the_end_is_heard_and_not_polled_for(bare_host: Host, folder: str, tmp_path: Path) -> None:
    queued = Queued(bare_host, _slow(folder, 1), tmp_path, "--history-poll-interval-seconds", "120")
    queued.run()
    assert queued.code == 0, (queued.told, queued.error)
    told = queued.told["Telemetry"]
    assert told["HistoryAttempts"] <= 3
    assert told["DurationSeconds"] < 100  # by the socket; a poll would have come after two minutes
    assert queued.scene["HistoryErrors"] == []
    assert queued.validated() == []


class Proxy:
    """A server between the runner and ComfyUI, in a thread of its own, that holds back what it is told to."""

    def __init__(self, host: Host, held: str, seconds: float) -> None:
        self.host, self.held, self.seconds = host, held, seconds
        self.first: float | None = None
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.path.startswith(self.held):
            now = time.monotonic()
            self.first = self.first or now
            if self.held == "/view" and now < self.first + self.seconds:
                return web.Response(status=404)
            await asyncio.sleep(max(0.0, self.first + self.seconds - now))
        headers = {"Content-Type": request.headers.get("Content-Type", "application/json")}
        url = self.host.url + str(request.rel_url)
        async with aiohttp.request(request.method, url, data=body or None, headers=headers) as answer:
            return web.Response(body=await answer.read(), status=answer.status, content_type=answer.content_type)

    async def _start(self) -> str:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._answer)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    def __enter__(self) -> str:
        self.thread.start()
        return asyncio.run_coroutine_threadsafe(self._start(), self.loop).result(30)

    def __exit__(self, *error: object) -> None:
        asyncio.run_coroutine_threadsafe(self.runner.cleanup(), self.loop).result(30)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.mark.parametrize("held", ["/history/", "/view"])
def test_history_or_frames_that_come_late_are_waited_for_and_no_longer(
    bare_host: Host, folder: str, tmp_path: Path, held: str
) -> None:
    queued = Queued(bare_host, saved(f"{folder}/a", 2), tmp_path)
    with Proxy(bare_host, held, 3.0) as url:
        queued.arguments[queued.arguments.index("--comfyui") + 1] = url
        queued.run()
    assert queued.code == 0, (queued.told, queued.error)
    told = queued.told["Telemetry"]
    assert told["HistoryExitReason"] == "success"
    assert 3 <= told["DurationSeconds"] < 20  # not the whole post-execution time
    assert len(queued.told["Files"]) == 2
    assert queued.validated() == []


def test_frames_that_never_come_end_with_the_post_execution_time(bare_host: Host, folder: str, tmp_path: Path) -> None:
    queued = Queued(bare_host, saved(f"{folder}/a", 2), tmp_path, "--post-execution-timeout-seconds", "2")
    with Proxy(bare_host, "/view", 3600.0) as url:
        queued.arguments[queued.arguments.index("--comfyui") + 1] = url
        queued.run()
    assert queued.code == 1
    told = queued.told["Telemetry"]
    assert (told["HistoryExitReason"], told["HistoryPostExecutionTimeoutReached"]) == ("postExecution", True)
    assert "files are missing" in queued.scene["Errors"][0]
    assert queued.validated() == NO_FRAMES


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupted_runner_cancels_its_prompt_and_leaves_a_record(
    server: Host, folder: str, tmp_path: Path
) -> None:
    queued = Queued(server, _slow(folder, 60), tmp_path)
    assert server.queued_ids() == ([], [])
    process = subprocess.Popen([*CLI, *queued.arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _until_running(server)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    queued.ended(process.returncode, out, error)
    assert queued.code == 130
    assert queued.told["error"]["type"] == "interrupted"
    server.until(lambda: not server.queued_ids()[0], 30)
    assert queued.scene["Success"] is False
    assert queued.validated() == NO_FRAMES


def test_a_prompt_s_contract_is_served_for_a_script_without_the_runner(host: Host, folder: str) -> None:
    prompt_id = host.run(saved(f"{folder}/a"))["prompt_id"]
    status, told = host.get(f"/telemetry/prompts/{prompt_id}/contract")
    assert status == 200
    schema = host.get("/telemetry/schema/scene_telemetry")[1]
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(told, schema)
    assert told["HistoryExitReason"] == "success"
    assert host.get("/telemetry/prompts/nobody/contract")[0] == 404


def test_a_server_whose_token_is_not_known_is_followed_by_its_history(
    start_host: Callable[..., Host], folder: str, tmp_path: Path
) -> None:
    host = start_host(env={"RUN_RECORDER_TOKEN": "secret"})
    queued = Queued(host, saved(f"{folder}/a", 2), tmp_path).run()
    assert queued.code == 0, (queued.told, queued.error)
    assert any("401" in text for text in queued.scene["HistoryErrors"])
    assert queued.validated() == []
