"""A graph that ComfyUI accepts in part (200 with `node_errors`) is no success, unless that is allowed."""

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest

from .graphs import Graph, saved, slow_then_saved
from .hosts import Host, cli
from .test_events import Listener
from .test_runner import Queued

BATCH = {"run_id": "r", "scene_id": "scene-001", "attempt": 1}
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


# ---------------------------------------------------------------- all of a prompt refused


def all_refused(folder: str, **marker: Any) -> Graph:
    graph = Graph()
    graph.save(graph.add("EmptyImage", width=-7, height=16, batch_size=1, color=0), f"{folder}/bad")
    if marker:
        graph.marker(**marker)
    return graph


def test_a_prompt_of_which_all_was_refused_is_recorded_and_never_was_queued(picky: Host) -> None:
    before = picky.health()["problems"]
    prompt_id = str(uuid.uuid4())
    (picky.output / "no").mkdir()
    (picky.output / "no" / "bad.done").write_text("{}", "utf-8")
    extra = {"extra_pnginfo": {"workflow": {"name": "portrait"}}, "run_recorder": BATCH}
    status, said = picky.post(all_refused("no"), prompt_id=prompt_id, client_id="me", extra_data=extra)
    assert (status, said["error"]["type"]) == (400, "prompt_outputs_failed_validation")
    record = picky.get(f"/telemetry/prompts/{prompt_id}/wait?timeout=10")[1]
    assert record["status"] == "refused"
    assert [(one["node_id"], one["class_type"]) for one in record["refused"]][:1] == [("2", "SaveImage")]
    assert "-7" in record["refused"][0]["reasons"][0]
    assert record["error"]["exception_type"] == "prompt_outputs_failed_validation"
    assert record["error"]["message"].startswith("Prompt outputs failed validation")
    assert (record["name"], record["workflow_name"], record["client_id"]) == ("portrait", "portrait", "me")
    assert record["batch"]["run_id"] == BATCH["run_id"]
    assert record["queued_at"] == record["ended_at"]
    assert [record[name] for name in ("started_at", "duration_seconds", "queue_wait_seconds", "queue_number")] == [
        None
    ] * 4
    assert record["node_counts"] == {"total": 2, "executed": 0, "cached": 0}
    assert (record["notes"], picky.get(f"/telemetry/prompts/{prompt_id}/nodes")[1]["items"]) == ([], [])
    assert picky.markers_in("no") == ["bad.done"], "an earlier prompt's marker is still true"
    listed = picky.get("/telemetry/prompts?status=refused")[1]["items"]
    assert listed[0]["prompt_id"] == prompt_id
    assert picky.health()["problems"] == before
    assert picky.request("DELETE", f"/telemetry/prompts/{prompt_id}").status == 204


def test_a_marker_node_that_was_refused_with_it_is_noted_and_writes_nothing(picky: Host) -> None:
    prompt_id = str(uuid.uuid4())
    assert picky.post(all_refused("out", filename_prefix="../out"), prompt_id=prompt_id)[0] == 400
    record = picky.get(f"/telemetry/prompts/{prompt_id}/wait?timeout=10")[1]
    assert (record["status"], [one["status"] for one in record["markers"]]) == ("refused", ["refused"])
    assert any("marker node 3 was refused" in note for note in record["notes"])
    assert picky.markers_in("out") == []


def test_its_end_is_told_and_no_start(picky: Host) -> None:
    prompt_id = str(uuid.uuid4())
    listener = Listener(picky)
    try:
        picky.post(all_refused("ends"), prompt_id=prompt_id)
        (told,) = listener.until("prompt.finished", prompt_id)
    finally:
        listener.stop()
    assert (told["status"], told["refused"] > 0) == ("refused", True)
    at = ("--comfyui", picky.url)
    assert cli("prompts", "wait", prompt_id, *at).returncode == 1
    shown = cli("prompts", "show", prompt_id, *at, env={"COLUMNS": "200"}).stdout
    assert "refused" in shown and "-7" in shown


@pytest.mark.parametrize(
    ("graph", "kind", "node_id"),
    [
        (
            {"1": {"class_type": "NoSuchNode", "inputs": {"key": "sk-0123456789abcdef0123456789abcdef"}}},
            "missing_node_type",
            "1",
        ),
        ({"1": {"class_type": "EmptyImage", "inputs": {}}}, "prompt_no_outputs", None),
        ({}, "prompt_no_outputs", None),
    ],
)
def test_a_missing_class_and_a_graph_without_outputs_are_refused_too(
    picky: Host, graph: dict[str, Any], kind: str, node_id: str | None
) -> None:
    prompt_id = str(uuid.uuid4())
    assert picky.post(graph, prompt_id=prompt_id)[0] == 400
    record = picky.get(f"/telemetry/prompts/{prompt_id}/wait?timeout=10")[1]
    assert (record["status"], record["refused"]) == ("refused", [])
    assert (record["error"]["exception_type"], record["error"]["node_id"]) == (kind, node_id)
    if node_id is not None and picky.version >= (0, 20):
        assert "NoSuchNode" in record["error"]["message"]
    assert "sk-0123" not in json.dumps(record)


def test_words_in_the_place_of_a_choice_are_kept_nowhere(picky: Host) -> None:
    words = "private words of Alice sk-abcdefghijklmnop1234567890"
    graph = saved("words/good")
    given = {"text": "", "seed": 1, "number": 1.0, "choice": words, "switch": False, "source": ["1", 0]}
    graph.save(graph.add("ProbeSettings", **given), "words/bad")
    graph.add("ProbeSettings", **given)
    record = picky.run(graph)
    told = picky.get(f"/telemetry/prompts/{record['prompt_id']}/settings")[1]
    assert "Alice" not in json.dumps(told)
    assert {"number", "switch"} == set(
        next(one["inputs"] for one in told["items"] if one["class_type"] == "ProbeSettings")
    )


def test_without_an_id_of_the_client_s_it_is_found_by_its_time(picky: Host) -> None:
    assert picky.post(all_refused("nameless"), client_id="nameless")[0] == 400
    newest = picky.until(lambda: picky.get("/telemetry/prompts?status=refused&limit=1")[1]["items"])[0]
    assert (newest["client_id"], newest["status"]) == ("nameless", "refused")
    assert uuid.UUID(newest["prompt_id"])


def test_an_id_that_is_posted_again_once_it_is_good_is_a_run_of_its_own(picky: Host) -> None:
    prompt_id = str(uuid.uuid4())
    picky.post(all_refused("again"), prompt_id=prompt_id)
    picky.queue(saved("again/good"), prompt_id=prompt_id)
    record = picky.wait(prompt_id)
    assert (record["status"], record["run_number"]) == ("success", 2)
    assert picky.record(prompt_id, run=1)["status"] == "refused"


def test_one_that_waits_is_not_ended_by_a_graph_that_is_refused_under_its_id(picky: Host) -> None:
    prompt_id = str(uuid.uuid4())
    listener = Listener(picky)
    try:
        picky.queue(slow_then_saved("waits/a", 30.0), prompt_id=prompt_id)
        picky.until_running(prompt_id)
        assert picky.post(all_refused("waits"), prompt_id=prompt_id)[0] == 400
        picky.until(lambda: any("posted again" in note for note in picky.record(prompt_id)["notes"]))
        assert picky.record(prompt_id)["status"] == "running"
        picky.interrupt()
        told = listener.until("prompt.finished", prompt_id)
    finally:
        listener.stop()
    assert [one["status"] for one in told if one["event"] == "prompt.finished"] == ["interrupted"]
    assert picky.record(prompt_id)["run_number"] == 1


def test_the_counter_counts_it(picky: Host) -> None:
    def counted() -> float:
        found = re.search(
            r'^comfyui_prompts_total\{status="refused"\} (\S+)', str(picky.get("/telemetry/metrics")[1]), re.M
        )
        return float(found[1]) if found else 0.0

    before = counted()
    prompt_id = str(uuid.uuid4())
    picky.post(all_refused("counted"), prompt_id=prompt_id)
    picky.get(f"/telemetry/prompts/{prompt_id}/wait?timeout=10")
    assert counted() == before + 1
