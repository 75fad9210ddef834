"""The example workflows: each with a picture, in both formats, and running as it is where a processor is enough."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from run_recorder.runner.patching import PLACEHOLDER, patch
from run_recorder.runner.story import Scene

from .hosts import CLI, REPO, Host

FOLDER = REPO / "example_workflows"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
RUNNING = ("done_marker", "gpu_telemetry", "marker_after_batch")


def api(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / "api" / f"{name}.json").read_text("utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_each_has_a_picture_and_the_same_nodes_in_both_formats(name: str) -> None:
    Image = pytest.importorskip("PIL.Image")
    with Image.open(FOLDER / f"{name}.jpg") as picture:
        assert picture.width >= 300
    editor = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    assert sorted(node["type"] for node in editor["nodes"]) == sorted(node["class_type"] for node in api(name).values())
    assert len(NAMES) >= 4


@pytest.mark.parametrize("name", RUNNING)
def test_it_runs_as_it_is_and_what_is_marked_is_marked(host: Host, name: str) -> None:
    record = host.wait(host.queue(api(name)), 60)
    assert record["status"] == "success", record["error"]
    assert [marker["status"] for marker in record["markers"]] == ["success"] * ("marker" in name)


def test_the_video_scene_takes_a_scene_and_names_its_models(host: Host, host_kind: str, tmp_path: Path) -> None:
    scene = Scene(id="scene-001", prompt="a fox in snow", negative_prompt="text", expected_frames=97, seed=7)
    done = patch(api("video_scene"), scene, prefix="run/scene-001", seed=7, keyframe="key.png")
    text = json.dumps(done.graph)
    assert not PLACEHOLDER.search(text) and not done.warnings and done.prefixes_ours
    assert done.graph["6"]["inputs"]["length"] == 97
    if host_kind != "real":
        return
    path = FOLDER / "api" / "video_scene.json"
    command = [*CLI, "preflight", "--workflow", str(path), "--comfyui", host.url, "--json"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout)
    by_name = {one["name"]: one for one in told["Checks"]}
    assert (by_name["node classes"]["status"], by_name["inputs"]["status"]) == ("passed", "passed"), told
    assert by_name["models"]["status"] == "failed", "no model is on this server"
    for model in ("ltx-video-2b-v0.9.5.safetensors", "t5xxl_fp16.safetensors"):
        assert model in by_name["models"]["found"]
