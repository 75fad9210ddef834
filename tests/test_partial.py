"""A graph that ComfyUI accepts in part (200 with `node_errors`) is no success, unless that is allowed."""

import json
from pathlib import Path
from typing import Any

import pytest

from .graphs import Graph, saved
from .hosts import Host, cli
from .test_runner import Queued

PICKY = '''
class PickyPass:
    """Refuses at validation what no one outside can know."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "word": ("STRING", {"default": ""})}}

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"
    CATEGORY = "probe"

    @classmethod
    def VALIDATE_INPUTS(cls, word):
        return True if word == "please" else "it did not say please"

    def run(self, image, word):
        return (image,)


NODE_CLASS_MAPPINGS = {"PickyPass": PickyPass}
'''


@pytest.fixture(scope="module")
def picky(host_kind: str, tmp_path_factory: pytest.TempPathFactory):
    """A server with a node class that has a check of its own."""
    pack = tmp_path_factory.mktemp("packs") / "picky_pack"
    pack.mkdir()
    (pack / "__init__.py").write_text(PICKY, "utf-8")
    host = Host(host_kind, tmp_path_factory.mktemp(f"picky-{host_kind}"), packs=[pack])
    try:
        yield host.start()
    finally:
        host.stop()


def in_part(folder: str, saver: str = "SaveImage") -> Graph:
    """One output that is good, and one that is refused."""
    graph = saved(f"{folder}/good")
    refused = graph.add("PickyPass", image=["1", 0], word="now")
    graph.add(saver, **({"images": refused, "filename_prefix": f"{folder}/bad"} if saver == "SaveImage" else {}))
    return graph


def test_queue_ends_with_1_and_the_reasons(picky: Host, tmp_path: Path) -> None:
    queued = Queued(picky, in_part("a"), tmp_path, "--scene-retry-budget", "3").run()
    assert (queued.code, queued.told["error"]["type"]) == (1, "refused")
    message = queued.told["error"]["message"]
    assert "node 3 (PickyPass)" in message and "it did not say please" in message and "not run for it: 4" in message
    assert len(queued.scene["AttemptSummaries"]) == 1, "final at once"
    assert (queued.scene["Success"], queued.scene["AttemptSummaries"][0]["End"]) == (False, "refused")
    assert picky.queued_ids() == ([], [])


def with_marker(folder: str, prefix: str) -> Graph:
    """Two frames that are saved, and a saver that hangs on what ComfyUI refuses."""
    graph = Graph()
    frames = graph.image(batch_size=2)
    graph.save(frames, f"{folder}/good")
    refused = graph.add("EmptyImage", width=-7, height=16, batch_size=1, color=0)
    graph.save(refused, f"{folder}/bad")
    graph.marker(filename_prefix=prefix)
    return graph


@pytest.mark.parametrize("prefix", ["", "bad", "good"])
def test_the_record_and_the_markers_say_what_was_refused(picky: Host, prefix: str) -> None:
    folder = f"told-{prefix or 'all'}"
    record = picky.run(with_marker(folder, f"{folder}/{prefix}" if prefix else ""))
    assert record["status"] == "success"
    (refused,) = record["refused"]
    assert (refused["node_id"], refused["class_type"]) == ("4", "SaveImage")
    assert len(refused["reasons"]) == 1 and "-7" in refused["reasons"][0]
    assert "ComfyUI refused 1 output and ran the others: 4 (SaveImage)" in record["notes"]
    wanted = {"": ["bad.failed", "good.done"], "bad": ["bad.failed"], "good": ["good.done"]}[prefix]
    assert picky.markers_in(folder) == wanted
    if "bad.failed" in wanted:
        marker = picky.marker(f"{folder}/bad.failed")
        assert (marker["Status"], marker["Files"]) == ("error", [])
        assert any("node 4 (SaveImage)" in note and "-7" in note for note in marker["Notes"])
    if "good.done" in wanted:
        marker = picky.marker(f"{folder}/good.done")
        assert (marker["Status"], len(marker["Files"]), marker["Notes"]) == ("success", 2, [])


def test_the_commands_and_the_events_say_how_many_were_refused(picky: Host) -> None:
    graph = with_marker("cli", "")
    graph.save(["3", 0], "cli/worse")
    prompt_id = picky.run(graph)["prompt_id"]
    at = ("--comfyui", picky.url)
    listed = cli("prompts", "list", "--q", prompt_id, *at, env={"COLUMNS": "200"}).stdout
    assert "success, 2 outputs refused" in listed
    shown = cli("prompts", "show", prompt_id, *at, env={"COLUMNS": "200"}).stdout
    assert "success, 2 outputs refused" in shown and "Refused" in shown and "-7" in shown
    assert "refused=2" in cli("prompts", "follow", prompt_id, *at).stdout
    assert [cli("prompts", "wait", prompt_id, *more, *at).returncode for more in ((), ("--strict",))] == [0, 1]


def test_one_saver_of_a_prefix_refused_and_one_accepted(picky: Host) -> None:
    graph = with_marker("both", "both/bad")
    graph.save(["1", 0], "both/bad")
    record = picky.run(graph)
    assert [one["node_id"] for one in record["refused"]] == ["4"]
    marker = picky.marker("both/bad.done")
    assert (marker["Status"], len(marker["Files"])) == ("success", 2)
    assert any("node 4 (SaveImage)" in note for note in marker["Notes"])


def test_a_prompt_that_was_asked_for_in_part_has_nothing_refused(picky: Host) -> None:
    prompt_id = picky.queue(with_marker("some", ""), partial_execution_targets=["2"])
    record = picky.wait(prompt_id)
    assert (record["status"], record["refused"]) == ("success", [])
    assert picky.markers_in("some") == []


def test_two_requests_with_one_graph_are_told_apart(picky: Host) -> None:
    graph = with_marker("twice", "twice/bad")
    assert [len(picky.run(graph)["refused"]) for _ in range(2)] == [1, 1]
    graph["3"]["inputs"]["width"] = 16
    record = picky.run(graph)
    assert (record["refused"], picky.markers_in("twice")) == ([], ["bad.done"])


def test_queue_goes_on_where_that_is_allowed_with_a_warning_a_node(picky: Host, tmp_path: Path) -> None:
    graph = in_part("b")
    other = graph.add("PickyPass", image=["1", 0], word="")
    graph.save(other, "b/other")
    queued = Queued(picky, graph, tmp_path, "--allow-partial").run()
    assert (queued.code, queued.told["Success"], len(queued.told["Files"])) == (0, True, 1)
    warnings = [line for line in queued.error.splitlines() if line.startswith("warning: refused")]
    assert len(warnings) == 2 and "node 3 (PickyPass)" in warnings[0] and "node 5 (PickyPass)" in warnings[1]
    assert sum("it did not say please" in one for one in queued.scene["Warnings"]) == 2


@pytest.mark.parametrize("allowed", [False, True])
def test_a_scene_of_a_run_fails_for_its_own_output(picky: Host, tmp_path: Path, allowed: bool) -> None:
    template = in_part("__SCENE_PREFIX__")
    template["2"]["inputs"]["filename_prefix"] = "__SCENE_PREFIX__"
    template["3"]["inputs"]["word"] = "__SCENE_PROMPT__"
    scenes = [{"id": "scene-001", "prompt": "please"}, {"id": "scene-002", "prompt": "at once"}]
    (tmp_path / "t.json").write_text(json.dumps(template), "utf-8")
    (tmp_path / "s.json").write_text(json.dumps({"scenes": scenes}), "utf-8")
    given = ["run", "--workflow", tmp_path / "t.json", "--story", tmp_path / "s.json", "--runs-dir", tmp_path / "runs"]
    options = ["--comfyui", picky.url, "--scene-retry-budget", "2", "--fast-iteration", "--json"]
    done = cli(*given, *options, *(["--allow-partial"] if allowed else []))
    told: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode, [one["Success"] for one in told["Scenes"]]) == (
        (0, [True, True]) if allowed else (1, [True, False])
    ), done.stderr
    (folder,) = (tmp_path / "runs").glob("*/artifact-metadata.json")
    scene = json.loads(folder.read_text("utf-8"))["Scenes"][1]
    if allowed:
        assert any("it did not say please" in one for one in scene["Warnings"])
        return
    assert "it did not say please" in scene["Errors"][0]
    (attempt,) = scene["AttemptSummaries"]
    assert attempt["End"] == "refused" and "it did not say please" in attempt["Error"]


def test_a_run_that_preflight_sees_would_be_refused_in_part_is_not_begun(picky: Host, tmp_path: Path) -> None:
    graph = saved("__SCENE_PREFIX__")
    graph.add("SaveImage", images=["77", 0], filename_prefix="__SCENE_PREFIX___upscaled")
    graph.add("PreviewAny", source="__SCENE_PROMPT__")
    (tmp_path / "t.json").write_text(json.dumps(graph), "utf-8")
    (tmp_path / "s.json").write_text('{"scenes": [{"id": "scene-001", "prompt": "x"}]}', "utf-8")
    given = ["run", "--workflow", tmp_path / "t.json", "--story", tmp_path / "s.json", "--runs-dir", tmp_path / "runs"]
    done = cli(*given, "--comfyui", picky.url, "--fast-iteration", "--json")
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["type"]) == (1, "preflight")
    assert "node 3 (SaveImage), images: it is wired to node '77', which the graph doesn't have" in error["message"]
    done = cli(*given, "--comfyui", picky.url, "--fast-iteration", "--json", "--allow-partial")
    assert done.returncode == 0, done.stderr
