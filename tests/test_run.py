"""`run-recorder run`, from a story to a validated folder; one embedded host for all, two where needed."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from filelock import FileLock
from PIL import Image
from run_recorder.cli import main
from run_recorder.client import comfyui
from run_recorder.client.comfy_client import ComfyClient
from run_recorder.client.reading import Answer
from run_recorder.client.request import no_comfyui
from run_recorder.runner import archive, server_files
from run_recorder.telemetry.models.run_contract import ArtifactMetadata
from run_recorder.telemetry.models.times import parse

from .graphs import Graph, saved
from .hosts import CLI, REPO, Host, free_port

FRAMES = 3


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host("embedded", tmp_path_factory.mktemp("run"))
    try:
        yield host.start()
    finally:
        host.stop()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Host]:
    """A second server, which a test may kill."""
    host = Host("embedded", tmp_path / "second")
    try:
        yield host.start()
    finally:
        host.stop()


def template(seconds: float | str = 0.0, prefix: str = "__SCENE_PREFIX__", color: int | str = "__SEED__") -> Graph:
    """Three frames of one colour for a scene, perhaps after a while."""
    graph = Graph()
    image = graph.add("EmptyImage", width=32, height=16, batch_size=FRAMES, color=color)
    if seconds:
        image = graph.add("ProbeSlow", source=image, seconds=seconds, steps=20)
    graph.save(image, prefix)
    return graph


def scenes(count: int = 3, **more: Any) -> list[dict[str, Any]]:
    """Scenes that no cache knows."""
    seed = int.from_bytes(os.urandom(3), "big") % 0xFFFF00
    return [
        {"id": f"scene-{number:03}", "title": f"Part {number}", "prompt": f"p{number}", "seed": seed + number, **more}
        for number in range(1, count + 1)
    ]


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Host]:
    host = Host("embedded", tmp_path / "bare", recorder=False)
    try:
        yield host.start()
    finally:
        host.stop()


class Ran:
    """The command, run in this process: its exit code, what it printed, and the run's folder."""

    def __init__(self, tmp: Path, capfd: pytest.CaptureFixture[str], *hosts: Host) -> None:
        self.tmp, self.capfd, self.hosts = tmp, capfd, hosts
        self.began = time.time()
        self.servers = [part for host in hosts for part in ("--comfyui", host.url)]

    def arguments(self, told: list[dict[str, Any]], graph: Graph, *options: str) -> list[str]:
        story, workflow = self.tmp / "story.json", self.tmp / "workflow.json"
        story.write_text(json.dumps({"id": "the-story", "logline": "A light.", "scenes": told}), "utf-8")
        workflow.write_text(json.dumps(graph), "utf-8")
        given = ["run", "--story", str(story), "--workflow", str(workflow), "--runs-dir", str(self.tmp / "runs")]
        return [*given, *self.servers, "--fast-iteration", "--json", *options]

    def run(self, told: list[dict[str, Any]], graph: Graph, *options: str) -> "Ran":
        return self.main(self.arguments(told, graph, *options))

    def idea(self, given: list[str]) -> "Ran":
        arguments = self.arguments(scenes(), template(color=0xFFFF))
        at = arguments.index("--story")
        return self.main([*arguments[:at], *given, *arguments[at + 2 :]])

    def resume(self, *options: str) -> "Ran":
        return self.main(["run", "--resume", str(self.folder), "--json", *options])

    def main(self, arguments: list[str]) -> "Ran":
        self.capfd.readouterr()
        self.code = main(arguments)
        self.out, self.error = self.capfd.readouterr()
        self.told = json.loads(self.out)
        return self

    @property
    def folder(self) -> Path:
        (folder,) = [path for path in (self.tmp / "runs").iterdir() if path.is_dir()]
        return folder

    @property
    def metadata(self) -> dict[str, Any]:
        return json.loads((self.folder / "artifact-metadata.json").read_text("utf-8"))

    @property
    def summary(self) -> list[str]:
        return (self.folder / "run-summary.txt").read_text("utf-8").splitlines()

    def scene(self, number: int) -> dict[str, Any]:
        return self.metadata["Scenes"][number - 1]

    def errors(self) -> list[str]:
        self.capfd.readouterr()
        main(["validate", str(self.folder), "--json"])
        return json.loads(self.capfd.readouterr().out)["Errors"]

    def frames(self, number: int) -> list[Path]:
        folder = self.folder / self.scene(number)["GeneratedFramesDir"]
        return sorted(path for path in folder.iterdir() if path.suffix == ".png")

    def rendered(self) -> dict[str, int]:
        """How many prompts of each scene the servers' recorders know."""
        counts: dict[str, int] = {}
        for host in self.hosts:
            status, page = host.get("/telemetry/prompts?limit=200")
            assert status == 200, page
            for prompt in page["items"]:
                batch = prompt["batch"] or {}
                if batch.get("run_id") != self.folder.name or parse(prompt["queued_at"]) < self.began * 1000:
                    continue
                name = batch["scene_id"]
                counts[name] = counts.get(name, 0) + 1
        return counts


@pytest.fixture
def ran(one: Host, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Ran:
    return Ran(tmp_path, capfd, one)


# ---------------------------------------------------------------- what a run leaves


def test_a_story_of_three_scenes_is_rendered_whole_and_validates(ran: Ran, one: Host) -> None:
    ran.run(scenes(), template())
    assert ran.code == 0, (ran.told, ran.error)
    assert ran.told["Success"] is True
    assert [scene["Success"] for scene in ran.metadata["Scenes"]] == [True] * 3
    assert ran.errors() == []
    jsonschema.validate(ran.metadata, ArtifactMetadata.model_json_schema(mode="serialization"))
    for number in (1, 2, 3):
        assert len(ran.frames(number)) == FRAMES
        for path in ran.frames(number):
            assert path.read_bytes() == (one.output / path.name).read_bytes()


def test_a_studio_s_template_makes_the_report_and_one_that_fails_costs_no_report(ran: Ran) -> None:
    studio = ran.tmp / "studio.html.j2"
    studio.write_text("<title>{{ report.story_id }}</title>", "utf-8")
    ran.run(scenes(1), template(), "--report-template", str(studio))
    assert (ran.code, (ran.folder / "report.html").read_text("utf-8")) == (0, "<title>the-story</title>")
    studio.write_text("{% if report.story_id == 'the-story' %}{{ report.nothing }}{% endif %}", "utf-8")
    ran.resume("--report-template", str(studio))
    assert ran.code == 0 and "Queue policy" in (ran.folder / "report.html").read_text("utf-8")
    assert "the report is made with our own template" in ran.error and "line 1" in ran.error


def test_a_template_that_can_t_be_used_is_told_before_anything_is_made(ran: Ran) -> None:
    studio = ran.tmp / "studio.html.j2"
    studio.write_text("{{ report.scenes[0].__class__ }}", "utf-8")
    ran.run(scenes(1), template(), "--report-template", str(studio))
    assert (ran.code, ran.told["error"]["type"]) == (2, "invalid_template")
    assert not (ran.tmp / "runs").exists()


def test_the_folder_is_laid_out_as_the_contract_says(ran: Ran) -> None:
    ran.run(scenes(2), template())
    there = {path.relative_to(ran.folder).as_posix() for path in ran.folder.rglob("*")}
    expected = {
        "run-summary.txt",
        "artifact-metadata.json",
        "story/story.json",
        f"{ran.folder.name}.zip",
        "report.html",
    }
    expected |= {f"scene-00{number}/history.json" for number in (1, 2)}
    expected |= {f"scene-00{number}/generated-frames-attempt-1" for number in (1, 2)}
    names = "mapping-preflight.json mapping-preflight.log comfyui-status.json comfyui-status.log".split()
    names += "check-preflight.log check-run.log check-contract.log".split()
    expected |= {f"test-results/{name}" for name in names}
    assert expected <= there
    assert re.fullmatch(r"\d{8}-\d{6}", ran.folder.name)
    assert not [path for path in there if ".tmp" in path]


def test_each_scene_has_its_marker_and_it_is_believed(ran: Ran) -> None:
    ran.run(scenes(2), template())
    for number in (1, 2):
        told = ran.scene(number)["Telemetry"]
        assert told["DoneMarkerDetected"] is True
        marker = json.loads((ran.folder / told["DoneMarkerPath"]).read_text("utf-8"))
        assert marker["PromptId"] == ran.scene(number)["AttemptSummaries"][0]["PromptId"]
        assert marker["FrameCount"] == FRAMES


def test_no_marker_is_added_where_none_is_wanted(ran: Ran) -> None:
    ran.run(scenes(1), template(), "--no-add-marker")
    assert ran.code == 0, ran.told
    assert ran.scene(1)["Telemetry"]["DoneMarkerDetected"] is False
    assert ran.scene(1)["Telemetry"]["System"]["FallbackNotes"] == [
        "device cpu has no memory of its own: its figures are null, and system has the host's"
    ]


def test_the_summary_has_a_telemetry_line_for_every_scene_and_the_policy_with_its_sources(ran: Ran) -> None:
    ran.run(scenes(3), template(), "--scene-retry-budget", "2")
    lines = [line[11:] for line in ran.summary]
    assert lines[0] == f"E2E Story-to-Video Run: {ran.folder.name}"
    assert "Story ready: the-story (scenes=3)" in lines
    assert "Story logline: A light." in lines
    for number in (1, 2, 3):
        assert sum(line.startswith(f"[Scene scene-00{number}] Telemetry: ") for line in lines) == 1
        assert sum(line.startswith(f"[Scene scene-00{number}][Attempt 1] Frames=3 ") for line in lines) == 1
    (sources,) = [line for line in lines if line.startswith("Queue policy sources: ")]
    assert "sceneRetries=option, historyMaxWait=fast-iteration" in sources
    assert lines[-1] == "Total frames copied: 9"


def test_the_archive_holds_the_whole_run_and_leaves_itself_out(ran: Ran) -> None:
    ran.run(scenes(2), template())
    with zipfile.ZipFile(ran.folder / f"{ran.folder.name}.zip") as told:
        names = told.namelist()
        assert told.testzip() is None
    files = {path.relative_to(ran.folder).as_posix() for path in ran.folder.rglob("*") if path.is_file()}
    assert set(names) == {name for name in files if not name.endswith(".zip") and not name.startswith(".")}


def test_the_newest_run_is_named_beside_the_runs(ran: Ran) -> None:
    ran.run(scenes(1), template())
    latest = json.loads((ran.tmp / "runs" / "latest-run.json").read_text("utf-8"))
    assert (latest["RunId"], latest["RunDir"], latest["Success"]) == (ran.folder.name, str(ran.folder), True)


def test_standard_output_has_one_document_and_nothing_else(ran: Ran) -> None:
    ran.run(scenes(2), template())
    assert ran.told["Validation"]["Passed"] is True
    assert [scene["SceneId"] for scene in ran.told["Scenes"]] == ["scene-001", "scene-002"]
    assert Path(ran.told["Report"]).is_file() and Path(ran.told["Archive"]).is_file()


def test_every_scene_has_the_fields_of_a_film_whether_there_is_one_or_not(ran: Ran) -> None:
    ran.run(scenes(1), template())
    film = ran.scene(1)["Video"]
    assert set(film) == {"Path", "DurationSeconds", "Status", "UpdatedAt", "Error"}
    assert film["Status"] in ("complete", "missing")


def test_an_idea_becomes_a_story_whose_source_is_told(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_STORY_PROVIDER_URL", raising=False)
    ran.idea(["--idea", "a light wakes", "--scenes", "2"])
    assert ran.code == 0, (ran.told, ran.error)
    story = ran.metadata["Story"]
    assert (story["Generator"], story["HealthCheck"]["Skipped"], story["Logline"]) == (
        "template",
        True,
        "a light wakes.",
    )
    assert [scene["Prompt"].startswith("a light wakes.") for scene in ran.metadata["Scenes"]] == [True, True]
    assert ran.errors() == []


def test_a_keyframe_is_made_or_taken_and_reaches_the_server(ran: Ran, one: Host) -> None:
    graph = Graph()
    graph.save(graph.add("LoadImage", image="__KEYFRAME_IMAGE__"), "__SCENE_PREFIX__")
    told = scenes(2)
    told[1]["keyframe"] = "mine.png"
    Image.new("RGB", (40, 30), (9, 99, 199)).save(ran.tmp / "mine.png")
    ran.run(told, graph)
    assert ran.code == 0, (ran.told, ran.error)
    assert [scene["KeyframeSource"] for scene in ran.metadata["Scenes"]] == [
        "scene-001/keyframe.png",
        "scene-002/keyframe.png",
    ]
    (frame,) = ran.frames(2)
    with Image.open(frame) as picture:
        assert (picture.size, picture.convert("RGB").getpixel((0, 0))) == ((40, 30), (9, 99, 199))
    with Image.open(ran.frames(1)[0]) as picture:
        assert picture.size == (512, 512)
    assert ran.errors() == []


def test_a_server_that_takes_no_keyframe_fails_its_scenes_and_says_why(
    ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(client: ComfyClient, *_: object) -> str:
        raise no_comfyui(client.url, comfyui.upload(None), Answer(507, {}, None))

    monkeypatch.setattr(ComfyClient, "upload", full)
    graph = Graph()
    graph.save(graph.add("LoadImage", image="__KEYFRAME_IMAGE__"), "__SCENE_PREFIX__")
    ran.run(scenes(2), graph)
    assert ran.code == 1, ran.told
    assert [scene["Errors"] for scene in ran.metadata["Scenes"]] == [
        [f"{ran.hosts[0].url} answered 507 to POST /upload/image"]
    ] * 2
    monkeypatch.undo()
    assert ran.resume().code == 0, ran.told


def test_a_keyframe_that_is_no_picture_ends_the_run_before_anything_is_made(ran: Ran) -> None:
    graph = Graph()
    graph.save(graph.add("LoadImage", image="__KEYFRAME_IMAGE__"), "__SCENE_PREFIX__")
    (ran.tmp / "mine.png").write_text("no picture", "utf-8")
    ran.run(scenes(1, keyframe="mine.png"), graph)
    assert (ran.code, ran.told["error"]["type"]) == (2, "invalid_keyframe")
    assert not (ran.tmp / "runs").exists()


def test_a_graph_whose_nodes_no_server_has_is_found_before_the_first_scene(ran: Ran) -> None:
    graph = template()
    graph.add("NoSuchNode")
    ran.run(scenes(2), graph)
    assert (ran.code, ran.told["error"]["type"]) == (1, "preflight")
    assert "NoSuchNode" in ran.told["error"]["message"]
    found = json.loads((ran.folder / "test-results" / "mapping-preflight.json").read_text("utf-8"))
    assert found["Passed"] is False
    assert ran.rendered() == {}


def test_a_model_that_is_set_and_not_there_ends_the_run_unless_it_is_optional(
    ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_STORY_PROVIDER_URL", f"http://127.0.0.1:{free_port()}")
    ran.idea(["--idea", "a light wakes"])
    assert (ran.code, ran.told["error"]["type"]) == (2, "llm_unavailable")
    assert not (ran.tmp / "runs").exists()
    ran.idea(["--idea", "a light wakes", "--llm", "optional"])
    assert ran.code == 0, (ran.told, ran.error)
    story = ran.metadata["Story"]
    assert (story["Generator"], story["HealthCheck"]["Status"]) == ("template", "failed")
    assert "from templates" in story["Warnings"][0]
    assert any("[LLM] Health check: failed" in line for line in ran.summary)
    assert ran.errors() == []


def test_the_example_story_runs_on_every_kind_of_host(
    host: Host, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    examples = REPO / "example_workflows" / "api"
    ran = Ran(tmp_path, capfd, host)
    given = ["--story", str(examples / "story.json"), "--workflow", str(examples / "story_scene.json")]
    ran.main(["run", *given, *ran.servers, "--runs-dir", str(tmp_path / "runs"), "--fast-iteration", "--json"])
    assert ran.code == 0, (ran.told, ran.error)
    assert [len(ran.frames(number)) for number in (1, 2, 3)] == [3, 3, 3]
    assert all(scene["Telemetry"]["DoneMarkerDetected"] for scene in ran.metadata["Scenes"])
    assert all(scene["Telemetry"]["GPU"]["Name"] == "cpu" for scene in ran.metadata["Scenes"])
    assert ran.errors() == []


def test_a_server_without_our_package_does_as_well(
    bare: Host, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ran = Ran(tmp_path, capfd, bare).run(scenes(2), template())
    assert ran.code == 0, (ran.told, ran.error)
    assert [len(ran.frames(number)) for number in (1, 2)] == [FRAMES, FRAMES]
    assert ran.scene(1)["Telemetry"]["DoneMarkerDetected"] is False
    assert ran.errors() == []
    ran.frames(1)[0].unlink()
    assert ran.resume().code == 0, ran.told
    assert len(bare.get("/history")[1]) == 2  # fetched by its history, and not rendered again


# ---------------------------------------------------------------- scenes that fail


def _bad(told: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """One scene whose saver fails, since its prefix leads out of the output folder."""
    told[number - 1]["prompt"] = "/../../out"
    return told


SPOILT = "__SCENE_PREFIX____SCENE_PROMPT__"


def test_a_scene_that_fails_is_tried_again_and_does_not_stop_the_rest(ran: Ran) -> None:
    ran.run(_bad(scenes(3), 2), template(prefix=SPOILT))
    assert ran.code == 1
    assert [scene["Success"] for scene in ran.metadata["Scenes"]] == [True, False, True]
    failed = ran.scene(2)
    assert (failed["AttemptsRun"], failed["Requeued"]) == (2, True)
    assert failed["AttemptSummaries"][0]["RequeueReason"].startswith("error: ")
    assert failed["Errors"]
    assert any("Check run exitCode=1" in line for line in ran.summary)
    assert failed["GeneratedFramesDir"] is None
    assert ran.told["Validation"] == {"Passed": True, "Errors": [], "Warnings": ["check run ended with exitCode=1"]}


def test_the_first_failure_ends_the_run_where_that_is_wanted_and_a_resumed_run_does_the_rest(ran: Ran) -> None:
    ran.run(_bad(scenes(3), 1), template(prefix=SPOILT), "--fail-fast", "--scene-retry-budget", "0")
    assert ran.code == 1
    assert [scene["AttemptsRun"] for scene in ran.metadata["Scenes"]] == [1, 0, 0]
    assert "scene-001 failed" in ran.scene(2)["Errors"][0]
    assert ran.errors() == ["Total frames copied is 0; more than 0 is accepted"]


def test_a_graph_that_is_refused_is_final_and_says_why(ran: Ran) -> None:
    told = scenes(2)
    told[0]["seed"] = 0x1000000  # no colour
    ran.run(told, template())
    assert ran.code == 1
    assert ran.scene(1)["AttemptsRun"] == 1
    assert "color" in ran.scene(1)["Errors"][0]
    assert ran.scene(2)["Success"] is True
    assert ran.errors() == []


def test_a_scene_s_expected_frames_are_its_floor(ran: Ran) -> None:
    ran.run(scenes(1, expected_frames=5), template())
    assert ran.code == 1
    assert (ran.scene(1)["FrameFloor"], ran.scene(1)["FrameCount"]) == (5, FRAMES)
    assert any(line.endswith("WARNING: Frame count below floor (3 < 5)") for line in ran.summary)
    assert ran.errors() == []


def test_too_few_frames_are_tried_again_under_another_prefix_and_every_try_is_kept(ran: Ran) -> None:
    ran.run(scenes(1, expected_frames=5), template())
    assert ran.scene(1)["AttemptsRun"] == 2
    for number in (1, 2):
        assert (ran.folder / "scene-001" / f"generated-frames-attempt-{number}").is_dir()
    second = ran.folder / "scene-001" / "generated-frames-attempt-2"
    assert all("-attempt-2_" in path.name for path in second.glob("*.png"))
    assert len(list(second.glob("*.png"))) == FRAMES


def test_a_floor_that_is_given_beats_what_a_scene_expects(ran: Ran) -> None:
    ran.run(scenes(1, expected_frames=5), template(), "--frame-floor", "2")
    assert ran.code == 0, ran.told
    assert ran.scene(1)["FrameFloor"] == 2


# ---------------------------------------------------------------- going on


def test_a_whole_run_is_not_rendered_again(ran: Ran) -> None:
    ran.run(scenes(2), template())
    before = {path: path.read_bytes() for path in ran.folder.rglob("result.json")}
    assert ran.resume().code == 0, ran.told
    assert ran.rendered() == {"scene-001": 1, "scene-002": 1}
    assert {path: path.read_bytes() for path in ran.folder.rglob("result.json")} == before
    assert ran.errors() == []


def test_a_frame_that_was_lost_is_fetched_again_and_not_rendered(ran: Ran) -> None:
    ran.run(scenes(2), template())
    lost = ran.frames(2)[1]
    lost.unlink()
    assert ran.resume().code == 0, ran.told
    assert len(ran.frames(2)) == FRAMES
    assert ran.rendered() == {"scene-001": 1, "scene-002": 1}
    assert ran.errors() == []


def test_a_resumed_run_tries_what_failed_and_counts_on(ran: Ran) -> None:
    ran.run(scenes(2, expected_frames=5), template(), "--scene-retry-budget", "0")
    assert ran.code == 1
    assert ran.resume("--frame-floor", "3").code == 0, ran.told
    assert [scene["AttemptsRun"] for scene in ran.metadata["Scenes"]] == [2, 2]
    assert ran.scene(1)["GeneratedFramesDir"].endswith("attempt-2")
    assert ran.errors() == []


def _start(ran: Ran, told: list[dict[str, Any]], graph: Graph) -> subprocess.Popen[str]:
    command = [*CLI, *ran.arguments(told, graph)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _scene_runs(one: Host, ran: Ran, name: str) -> Callable[[], bool]:
    def told() -> bool:
        running = one.get("/queue")[1]["queue_running"]
        return any(item[3].get("run_recorder", {}).get("scene_id") == name for item in running)

    return told


def test_a_run_that_was_killed_takes_its_running_prompt_over_and_renders_nothing_twice(ran: Ran, one: Host) -> None:
    process = _start(ran, scenes(3), template(1.5))
    one.until(_scene_runs(one, ran, "scene-002"), 60)
    process.kill()
    process.communicate()
    assert not (ran.folder / "run-summary.txt").exists()
    assert ran.resume().code == 0, ran.told
    assert ran.rendered() == {"scene-001": 1, "scene-002": 1, "scene-003": 1}
    assert [scene["AttemptsRun"] for scene in ran.metadata["Scenes"]] == [1, 1, 1]
    assert ran.errors() == []


def test_a_prompt_that_ended_while_nobody_looked_is_collected(ran: Ran, one: Host) -> None:
    process = _start(ran, scenes(2), template(1.0))
    one.until(_scene_runs(one, ran, "scene-001"), 60)
    process.kill()
    process.communicate()
    one.until(lambda: one.queued_ids() == ([], []), 60)
    assert ran.resume().code == 0, ran.told
    assert ran.rendered() == {"scene-001": 1, "scene-002": 1}
    assert ran.errors() == []


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupted_run_cancels_its_own_prompt_only_is_valid_and_goes_on(ran: Ran, one: Host) -> None:
    told = scenes(3, expected_frames=1)
    told[1]["expected_frames"] = 3
    process = _start(ran, told, template("__FRAMES__"))  # the second takes so long that the signal comes before its end
    one.until(_scene_runs(one, ran, "scene-002"), 60)
    foreign = one.queue(saved("foreign"))
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert json.loads(out)["error"]["type"] == "interrupted"
    assert one.wait(foreign)["status"] == "success"
    assert [scene["Success"] for scene in ran.metadata["Scenes"]] == [True, False, False]
    assert ran.errors() == []
    assert ran.resume().code == 0, ran.told
    assert ran.rendered()["scene-001"] == 1
    assert ran.errors() == []


def test_two_runs_of_one_second_in_two_folders_do_not_share_a_name(ran: Ran, one: Host) -> None:
    names = set()
    for runs in ("a", "b"):
        ran.main([*ran.arguments(scenes(1), template()), "--runs-dir", str(ran.tmp / runs)])
        (folder,) = [path for path in (ran.tmp / runs).iterdir() if path.is_dir()]
        names |= {json.loads((folder / "artifact-metadata.json").read_text("utf-8"))["Scenes"][0]["FramePrefix"]}
    assert len(names) == 2


def test_two_processes_do_not_work_on_one_run(ran: Ran) -> None:
    ran.run(scenes(1), template())
    with FileLock(ran.folder / ".run.lock"):
        assert ran.resume().code == 2
    assert ran.told["error"]["type"] == "busy"
    assert ran.resume().code == 0


# ---------------------------------------------------------------- several servers


def test_two_servers_share_the_scenes(
    one: Host, other: Host, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ran = Ran(tmp_path, capfd, one, other).run(scenes(4), template(0.3))
    assert ran.code == 0, (ran.told, ran.error)
    servers = {scene["AttemptSummaries"][0]["Server"] for scene in ran.metadata["Scenes"]}
    assert servers == {one.url, other.url}
    assert ran.errors() == []


def test_the_scene_of_a_server_that_dies_goes_to_the_other(
    one: Host, other: Host, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ran = Ran(tmp_path, capfd, one, other)
    process = _start(ran, scenes(4), template(1.0))
    other.until(lambda: other.queued_ids()[0], 60)
    other.kill()
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, (out, error)
    tries = [try_ for scene in ran.metadata["Scenes"] for try_ in scene["AttemptSummaries"]]
    (lost,) = [try_ for try_ in tries if try_["Server"] == other.url]
    assert lost["RequeueReason"].startswith("lost: ")
    assert ran.errors() == []


def test_a_server_that_does_not_answer_is_left_to_come_back_while_another_works(ran: Ran) -> None:
    ran.servers += ["--comfyui", f"http://127.0.0.1:{free_port()}"]
    ran.run(scenes(2), template())
    assert ran.code == 0, (ran.told, ran.error)
    assert "doesn't answer" in ran.error


# ---------------------------------------------------------------- what is wrong


def test_without_a_server_nothing_is_made(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ran = Ran(tmp_path, capfd)
    ran.servers = ["--comfyui", f"http://127.0.0.1:{free_port()}"]
    ran.run(scenes(), template())
    assert (ran.code, ran.told["error"]["type"]) == (2, "unavailable")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--idea", "x"], "--story FILE and --idea TEXT"),
        (["--llm", "perhaps"], "--llm is 'perhaps'"),
        (["--resume", "."], "beside --resume"),
        (["--max-wait-seconds", "0"], "SceneMaxWaitSeconds is '0'"),
    ],
)
def test_options_that_do_not_stand_together_are_named(ran: Ran, options: list[str], named: str) -> None:
    ran.run(scenes(), template(), *options)
    assert (ran.code, ran.told["error"]["type"]) == (2, "invalid_parameter")
    assert named in ran.told["error"]["message"]
    assert not (ran.tmp / "runs").exists()


def test_a_runs_folder_that_cannot_be_made_is_named(ran: Ran) -> None:
    (ran.tmp / "runs").write_text("a file", "utf-8")
    ran.run(scenes(1), template())
    assert (ran.code, ran.told["error"]["type"]) == (2, "io")
    assert str(ran.tmp / "runs") in ran.told["error"]["message"]


@pytest.mark.parametrize(
    ("text", "kind"), [(None, "not_found"), ("{", "invalid_run"), ('{"Servers": []}', "invalid_run")]
)
def test_a_folder_that_holds_no_run_is_not_gone_on_with(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], text: str | None, kind: str
) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text, "utf-8")
    assert main(["run", "--resume", str(tmp_path), "--json"]) == 2
    assert json.loads(capfd.readouterr().out)["error"]["type"] == kind


def _full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "/somewhere")


def test_an_archive_that_cannot_be_written_costs_nothing_that_was_rendered(
    ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(archive, "_add", _full)
        ran.run(scenes(2), template())
    assert (ran.code, ran.told["error"]["type"]) == (2, "io")
    assert "No space left" in ran.told["error"]["message"]
    assert [len(ran.frames(number)) for number in (1, 2)] == [FRAMES, FRAMES]
    assert ran.resume().code == 0, ran.told
    assert ran.rendered() == {"scene-001": 1, "scene-002": 1}


def test_a_disk_that_is_full_ends_the_run_and_a_resumed_one_has_it_all_without_rendering_again(
    ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(server_files, "_set_time", lambda path, _: _full() if "scene-002" in str(path) else None)
        ran.run(scenes(3), template())
    assert (ran.code, ran.told["error"]["type"]) == (2, "io")
    assert ran.scene(1)["Success"] is True
    assert ran.resume().code == 0, ran.told
    assert ran.rendered() == {"scene-001": 1, "scene-002": 1, "scene-003": 1}
    assert ran.errors() == []
