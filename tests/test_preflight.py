"""`run-recorder preflight`, on both hosts: each check, what it found, and what to do about it."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from run_recorder.runner import preflight as preflight_module

from .graphs import Graph, saved, slow_then_saved
from .hosts import CLI, REPO, Host


def run(*given: object, env: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    result = subprocess.run(
        [*CLI, "preflight", *map(str, given), "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=env,
    )
    return result.returncode, json.loads(result.stdout)


def check(told: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for one in told["Checks"] if one["name"] == name]
    return dict(found)


def written(tmp_path: Path, graph: dict[str, Any], name: str = "graph.json") -> Path:
    path = tmp_path / name
    path.write_text(json.dumps(graph), "utf-8")
    return path


def test_a_good_workflow_passes(host: Host, tmp_path: Path) -> None:
    code, told = run("--workflow", written(tmp_path, saved("a/b")), "--comfyui", host.url, "--output", tmp_path)
    assert (code, told["Passed"]) == (0, True)
    names = ["server", "node classes", "inputs", "models", "recorder", "queue", "clock", "outputs", "gpu", "disk"]
    assert [one["name"] for one in told["Checks"]] == names
    assert "ComfyUI" in check(told, "server")["found"]
    assert check(told, "recorder")["status"] == "passed"
    assert check(told, "clock")["status"] == "passed"
    assert check(told, "gpu")["status"] == "warning", "a processor"


def test_without_a_workflow_the_server_alone_is_checked(host: Host) -> None:
    code, told = run("--comfyui", host.url)
    assert code == 0
    assert "node classes" not in [one["name"] for one in told["Checks"]]


def test_a_class_that_is_missing_is_named_with_the_nearest(host: Host, tmp_path: Path) -> None:
    graph = saved("a/b")
    graph.add("SaveImag", images=["1", 0], filename_prefix="x")
    code, told = run("--workflow", written(tmp_path, graph), "--comfyui", host.url)
    assert code == 1
    found = check(told, "node classes")
    assert found["status"] == "failed" and "SaveImag" in found["found"] and "SaveImage" in found["found"]
    assert found["advice"]


def test_an_input_that_is_missing_is_named(host: Host, tmp_path: Path) -> None:
    graph = saved("a/b")
    del graph["1"]["inputs"]["width"]
    code, told = run("--workflow", written(tmp_path, graph), "--comfyui", host.url)
    assert code == 1
    assert "node 1 (EmptyImage): input 'width' is missing" in check(told, "inputs")["found"]


def test_a_file_that_the_server_lacks_is_named(host: Host, tmp_path: Path) -> None:
    graph = Graph()
    graph.save(graph.add("LoadImage", image="no-such-picture.png"), "a/b")
    code, told = run("--workflow", written(tmp_path, graph), "--comfyui", host.url)
    assert code == 1
    assert "no-such-picture.png" in check(told, "models")["found"]


def test_a_placeholder_for_a_picture_is_no_missing_file(host: Host, tmp_path: Path) -> None:
    graph = Graph()
    graph.save(graph.add("LoadImage", image="__KEYFRAME_IMAGE__"), "__SCENE_PREFIX__")
    code, told = run("--workflow", written(tmp_path, graph), "--comfyui", host.url)
    assert (code, check(told, "models")["status"]) == (0, "passed")


def test_every_scene_and_every_picture_of_a_story_is_looked_at(host: Host, tmp_path: Path) -> None:
    graph = {"1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 1}}}
    graph["2"] = {"class_type": "PreviewAny", "inputs": {"source": "__SCENE_PROMPT__"}}
    graph["3"] = {"class_type": "LoadImage", "inputs": {"image": "a.png"}}
    scenes = [
        {"id": "scene-001", "prompt": "x", "title": "gone.png"},
        {"id": "scene-002", "prompt": "y", "title": "lost.png"},
    ]
    scenes[1]["keyframe"] = "no-picture.png"
    story = written(tmp_path, {"scenes": scenes}, "story.json")
    mapping = written(tmp_path, {"keyframe": {"node": "3", "input": "image"}}, "map.json")
    options = ["--workflow", written(tmp_path, graph), "--story", story, "--mapping", mapping, "--comfyui", host.url]
    code, told = run(*options)
    assert code == 1
    assert "scene-002" in check(told, "keyframes")["found"] and "no-picture.png" in check(told, "keyframes")["found"]
    assert check(told, "inputs")["status"] == "passed"


def test_pictures_of_a_story_that_the_workflow_does_not_take_do_not_fail_it(host: Host, tmp_path: Path) -> None:
    graph = saved("__SCENE_PREFIX__")
    graph.add("PreviewAny", source="__SCENE_PROMPT__")
    story = written(tmp_path, {"scenes": [{"id": "scene-001", "prompt": "x", "keyframe": "none.png"}]}, "story.json")
    code, told = run("--workflow", written(tmp_path, graph), "--story", story, "--comfyui", host.url)
    assert (code, told["Passed"]) == (0, True)
    assert "keyframes" not in [one["name"] for one in told["Checks"]]


def test_prompts_that_wait_are_a_warning(host: Host, tmp_path: Path, folder: str) -> None:
    prompt_id = host.queue(slow_then_saved(f"{folder}/a", 6.0))
    host.until_running(prompt_id)
    code, told = run("--comfyui", host.url)
    host.interrupt()
    assert code == 0
    assert check(told, "queue")["status"] == "warning"


def test_a_server_without_the_recorder_is_a_warning(start_host: Any, tmp_path: Path) -> None:
    host = start_host(recorder=False)
    code, told = run("--workflow", written(tmp_path, saved("a/b")), "--comfyui", host.url)
    assert (code, check(told, "recorder")["status"]) == (0, "warning")
    code, told = run("--workflow", written(tmp_path, saved("a/b", marker={})), "--comfyui", host.url)
    assert code == 1 and "WriteDoneMarker" in check(told, "node classes")["found"]


# ---------------------------------------------------------------- no host needed


def test_nobody_there_fails_with_advice() -> None:
    code, told = run("--comfyui", "http://127.0.0.1:9")
    assert code == 1
    assert check(told, "server")["status"] == "failed" and "--comfyui" in check(told, "server")["advice"]
    assert check(told, "disk")["status"] in ("passed", "warning")


@pytest.mark.parametrize(
    "files, given, kind",
    [
        ({"w.json": "{"}, ["--workflow", "w.json"], "invalid_workflow"),
        (
            {"w.json": '{"1": {"class_type": "X", "inputs": {"a": "__SEEDS__"}}}'},
            ["--workflow", "w.json"],
            "invalid_workflow",
        ),
        (
            {"w.json": '{"1": {"class_type": "X", "inputs": {}}}', "m.json": '{"seed": {"node": "7", "input": "s"}}'},
            ["--workflow", "w.json", "--mapping", "m.json"],
            "invalid_mapping",
        ),
        ({}, ["--workflow", "none.json"], "not_found"),
        ({"s.json": '{"scenes": []}'}, ["--story", "s.json"], "invalid_story"),
    ],
)
def test_what_can_not_be_read_is_exit_2(tmp_path: Path, files: dict[str, str], given: list[str], kind: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
    paths = [str(tmp_path / one) if one.endswith(".json") else one for one in given]
    code, told = run(*paths, "--comfyui", "http://127.0.0.1:9")
    assert (code, told["error"]["type"]) == (2, kind)


@pytest.mark.parametrize("free, status", [(50 * 2**20, "failed"), (2**30, "warning"), (2**40, "passed")])
def test_room_on_the_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, status: str) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(2**41, 0, free))
    assert preflight_module._room(tmp_path / "not" / "yet", None).status == status


def test_the_language_model_is_checked_where_one_is_set(tmp_path: Path) -> None:
    command = [sys.executable, str(REPO / "tests" / "fakes" / "chat_server.py"), "0", "sick"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        checked = preflight_module._llm(
            preflight_module.LlmSettings.from_environment(
                LOCAL_STORY_PROVIDER_URL=f"http://127.0.0.1:{port}/v1/chat/completions"
            )
        )
        found = asyncio.run(checked)
        server.kill()
    assert (found.status, found.name) == ("failed", "llm")
    assert "500" in found.found and found.advice


def test_findings_are_written_where_the_contract_says(tmp_path: Path) -> None:
    checks = [
        preflight_module.Check("server", "passed", "x"),
        preflight_module.Check("models", "failed", "no a.safetensors", "get it"),
    ]
    preflight_module.write_preflight(checks, tmp_path)
    mapping = json.loads((tmp_path / "mapping-preflight.json").read_text())
    status = json.loads((tmp_path / "comfyui-status.json").read_text())
    assert (mapping["Passed"], status["Passed"]) == (False, True)
    log = (tmp_path / "check-preflight.log").read_text()
    assert "models: failed: no a.safetensors -> get it" in log and "server: passed" in log


@pytest.mark.parametrize("below", ["", "run"])
@pytest.mark.parametrize("kind", ["file", "fifo", "link to a file", "dangling link", "looping link"])
def test_what_is_no_folder_has_no_room(tmp_path: Path, kind: str, below: str) -> None:
    place = tmp_path / "out"
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "file":
        place.write_bytes(b"")
    else:
        (tmp_path / "a file").write_bytes(b"")
        place.symlink_to({"link to a file": "a file", "dangling link": "nothing"}.get(kind, "out"))
    told = preflight_module._room(place / below, None)
    assert (told.status, told.found) == ("failed", f"{place} is no folder")


def test_a_folder_behind_a_link_has_room(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    assert preflight_module._room(tmp_path / "out" / "run", None).status != "failed"


def test_a_folder_that_may_not_be_written_has_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _path, mode: not mode & os.W_OK)
    told = preflight_module._room(tmp_path / "out", None)
    assert (told.status, told.found) == ("failed", f"{tmp_path} may not be written")
