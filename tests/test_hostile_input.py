"""What a client, a node or a file's name may hold, and must not cost anybody else."""

import random
import time

import pytest

from .graphs import Graph, saved
from .hosts import Host


def test_half_a_surrogate_as_a_node_id_stops_nothing(host: Host, folder: str) -> None:
    graph = saved(f"{folder}/a", marker={})
    graph["\ud800"] = {"class_type": "PreviewAny", "inputs": {"source": random.random()}, "_meta": {"title": "\udfff"}}
    status, body = host.post(graph)
    if status != 200:
        pytest.skip("this ComfyUI refuses it")
    record = host.wait(body["prompt_id"], 20)
    assert record["status"] in ("success", "error")
    assert any("ud800" in node["node_id"] for node in host.nodes(body["prompt_id"]))
    after = host.run(saved(f"{folder}/b", marker={}))
    assert after["status"] == "success"
    assert host.marker(f"{folder}/b.done")["FrameCount"] == 1
    assert host.health()["store"]["dropped"] == 0


def test_a_file_name_with_a_folder_in_it_is_marked_where_it_lies(host: Host, folder: str) -> None:
    graph = Graph()
    host.path(f"{folder}/deep").mkdir(parents=True)
    graph.add("ProbeFileSaver", filename=f"{folder}/deep/a_00001_.png", subfolder="", key="images", content="x")
    graph.marker()
    record = host.run(graph)
    assert [(o["subfolder"], o["filename"]) for o in record["outputs"]] == [(f"{folder}/deep", "a_00001_.png")]
    assert host.marker(f"{folder}/deep/a.done")["FrameCount"] == 1


def test_a_stale_marker_of_a_prefix_that_only_the_saver_knows_goes_when_its_first_file_comes(
    host: Host, folder: str
) -> None:
    def graph() -> Graph:
        found = Graph()
        image = found.image(width=16, height=16)
        kept = found.add("SaveImage", id="save", images=image, filename_prefix=f"{folder}/%width%_x")
        source = kept if host.node_class("SaveImage")["output"] else image
        found.add("ProbeSlow", id="slow", source=source, seconds=2.0, steps=20, salt=random.random())
        found.add("PreviewAny", id="end", source=["slow", 0])
        found.marker()
        return found

    first = host.run(graph())
    marker = host.path(f"{folder}/16_x.done")
    assert host.marker(f"{folder}/16_x.done")["PromptId"] == first["prompt_id"]
    second = host.queue(graph())
    host.until(lambda: len(list(host.path(folder).glob("*.png"))) == 2)
    host.until(lambda: not marker.exists(), 0.6)
    assert host.wait(second)["status"] == "success"
    assert host.marker(f"{folder}/16_x.done")["PromptId"] == second
    assert host.marker(f"{folder}/16_x.done")["FrameCount"] == 1


def test_what_a_batch_may_hold_is_bounded(host: Host, folder: str) -> None:
    good = {"run_id": "r", "scene_id": "scene-001", "attempt": 1, "policy": {"SceneRetryBudget": 1}}
    for batch, kept in [
        (good, good),
        ({"run_id": "x" * 100_000}, None),
        ({"policy": {str(number): number for number in range(1000)}}, None),
        ({"attempt": "many"}, None),
    ]:
        record = host.run(saved(f"{folder}/a"), extra_data={"run_recorder": batch})
        assert record["batch"] == kept


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nope", 404), ("POST", "/prompts", 405)])
def test_what_is_no_route_is_answered_as_json(host: Host, method: str, path: str, status: int) -> None:
    reply = host.request(method, f"/telemetry{path}", {} if method == "POST" else None)
    assert reply.status == status
    assert reply.body["error"]["type"] == "not_found"
    assert reply.headers["X-Run-Recorder-Version"]


def test_an_odd_authorization_header_is_no_fault(host: Host) -> None:
    reply = host.request("GET", "/telemetry/health", headers={"Authorization": "Bearer \xff"})
    assert reply.status == 200


def test_a_long_ugly_error_is_recorded_in_no_time(host: Host, folder: str) -> None:
    graph = Graph()
    graph.add("ProbeFail", message="a-" * 8000)
    started = time.monotonic()
    record = host.run(graph)
    assert record["status"] == "error"
    assert time.monotonic() - started < 5
    assert len(record["error"]["message"]) <= 2000
