"""What a prompt's record says, on both hosts."""

import re
import time
import uuid
from collections.abc import Callable

import pytest

from .graphs import Graph, failing, saved, slow_then_saved
from .hosts import Host

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def by_id(nodes: list[dict]) -> dict[str, dict]:
    ids = [node["node_id"] for node in nodes]
    assert len(ids) == len(set(ids)), f"a node is told twice: {ids}"
    return {node["node_id"]: node for node in nodes}


def quick() -> Graph:
    """A graph of one node that has next to nothing to do."""
    graph = Graph()
    graph.slow(0.01, steps=1)
    return graph


def unmarked(graph: Graph) -> Graph:
    del graph["marker"]
    return graph


# --- the life of a prompt


def test_a_prompt_is_queued_then_running_then_a_success(host: Host, folder: str) -> None:
    first = host.queue(unmarked(slow_then_saved(f"{folder}/a", 0.6)))
    second = host.queue(quick())
    host.until_running(first)
    waiting = host.record(second)
    assert (waiting["status"], waiting["started_at"], waiting["ended_at"]) == ("queued", None, None)
    assert waiting["queue_wait_seconds"] is None
    assert waiting["duration_seconds"] is None
    assert waiting["current_node"] is None

    one, two = host.wait(first), host.wait(second)
    for record in (one, two):
        assert record["status"] == "success"
        assert record["error"] is None
        assert record["current_node"] is None
        assert record["queued_at"] <= record["started_at"] <= record["ended_at"]
        assert all(TIME.fullmatch(record[name]) for name in ("queued_at", "started_at", "ended_at"))
    assert 0.5 < one["duration_seconds"] < 5
    assert 0.3 < two["queue_wait_seconds"] < 5
    assert two["queue_number"] > one["queue_number"]
    assert one["run_number"] == 1


def test_a_record_tells_the_client_the_instance_and_nothing_it_does_not_know(host: Host) -> None:
    record = host.run(quick(), client_id="a-client")
    assert record["client_id"] == "a-client"
    assert record["instance"]["port"] == host.port
    assert record["instance"]["id"]
    assert record["batch"] is None
    assert record["markers"] == []
    assert record["outputs"] == []
    assert host.run(quick())["client_id"] is None


def test_the_number_of_a_prompt_put_in_front_is_negative(host: Host) -> None:
    host.run(quick())
    assert host.run(quick(), front=True)["queue_number"] < 0


def test_while_a_prompt_runs_its_record_says_which_node_and_which_step(host: Host, folder: str) -> None:
    graph = slow_then_saved(f"{folder}/a", 1.5)
    graph["slow"]["_meta"] = {"title": "The slow one"}
    prompt_id = host.queue(graph)
    host.until_running(prompt_id, "slow")
    seen = host.until(lambda: (host.record(prompt_id)["current_node"] or {}).get("value") and host.record(prompt_id))
    current = seen["current_node"]
    assert current["node_id"] == "slow"
    assert current["class_type"] == "ProbeSlow"
    assert current["title"] == "The slow one"
    assert 0 < current["value"] <= current["max"] == 30
    first = current["value"]
    time.sleep(0.6)
    assert host.record(prompt_id)["current_node"]["value"] > first
    assert host.wait(prompt_id)["current_node"] is None


# --- nodes


def test_nodes_are_told_in_the_order_they_ran_with_class_title_and_times(host: Host, folder: str) -> None:
    graph = Graph()
    image = graph.image()
    slow = graph.add("ProbeSlow", "Slowly", source=image, seconds=0.2, steps=7)
    graph.save(slow, f"{folder}/a", title="The end")
    record = host.run(graph)
    nodes = host.nodes(record["prompt_id"])
    assert [(n["class_type"], n["title"]) for n in nodes if n["title"]] == [
        ("ProbeSlow", "Slowly"),
        ("SaveImage", "The end"),
    ]
    assert [n["node_id"] for n in nodes] == ["1", "2", "3"]
    assert [n["started_at"] for n in nodes] == sorted(n["started_at"] for n in nodes)
    assert all(n["duration_seconds"] >= 0 and not n["cached"] and n["error"] is None for n in nodes)
    assert all(n["parent_node_id"] is None and n["display_node_id"] == n["node_id"] for n in nodes)
    slow_node = nodes[1]
    assert slow_node["progress_max"] == 7
    assert 0.15 < slow_node["duration_seconds"] < 2
    assert record["node_counts"] == {"total": 3, "executed": 3, "cached": 0}


def test_nodes_that_come_from_the_cache_are_told_as_cached(host: Host, folder: str) -> None:
    graph = saved(f"{folder}/a")
    first, second = host.run(graph), host.run(graph)
    assert second["node_counts"] == {"total": 2, "executed": 0, "cached": 2}
    nodes = by_id(host.nodes(second["prompt_id"]))
    assert all(node["cached"] and node["started_at"] is None for node in nodes.values())
    assert set(nodes) == {"1", "2"}
    assert [o["filename"] for o in second["outputs"]] == [o["filename"] for o in first["outputs"]]
    assert all(o["cached"] for o in second["outputs"])


def test_a_lazy_an_async_and_a_mapped_node_is_each_one_node(host: Host) -> None:
    graph = Graph()
    image = graph.image()
    graph.add("ProbeLazy", id="lazy", source=image, use=True)
    graph.add("ProbeAsync", id="async1", source=image, seconds=0.3)
    graph.add("ProbeAsync", id="async2", source=image, seconds=0.3)
    numbers = graph.add("ProbeList", id="list", count=3)
    graph.add("ProbeSlow", id="mapped", source=numbers, seconds=0.1, steps=4)
    record = host.run(graph)
    nodes = by_id(host.nodes(record["prompt_id"]))
    assert record["status"] == "success"
    assert {"lazy", "async1", "async2", "list", "mapped"} <= set(nodes)
    assert nodes["mapped"]["progress_max"] == 4
    assert nodes["mapped"]["duration_seconds"] > 0.25
    assert nodes["async1"]["duration_seconds"] > 0.2
    assert record["node_counts"] == {"total": 6, "executed": 6, "cached": 0}


def test_an_expanded_graph_keeps_parent_and_display_node(host: Host, folder: str) -> None:
    graph = Graph()
    graph.add("ProbeExpand", id="outer", source=graph.image(), filename_prefix=f"{folder}/in", seconds=0.05)
    record = host.run(graph)
    nodes = by_id(host.nodes(record["prompt_id"]))
    inner = {n["class_type"]: n for n in nodes.values() if n["parent_node_id"]}
    assert set(inner) == {"ProbeSlow", "SaveImage"}
    assert all(n["parent_node_id"] == n["display_node_id"] == "outer" for n in inner.values())
    assert nodes["outer"]["parent_node_id"] is None
    assert nodes["outer"]["duration_seconds"] >= 0.05
    assert record["node_counts"]["total"] == record["node_counts"]["executed"] == 4
    assert [(o["subfolder"], o["filename"]) for o in record["outputs"]] == [(folder, "in_00001_.png")]


def test_progress_from_a_plain_thread_harms_nothing(host: Host) -> None:
    graph = Graph()
    graph.add("ProbeThreadProgress", seconds=0.3, steps=5, salt=time.time() % 1)
    before = host.health()["problems"]
    assert host.run(graph)["status"] == "success"
    assert host.health()["problems"] == before


# --- outputs


def test_outputs_are_told_with_size_and_time(host: Host, folder: str) -> None:
    record = host.run(saved(f"{folder}/a", frames=2))
    assert [o["filename"] for o in record["outputs"]] == ["a_00001_.png", "a_00002_.png"]
    for output in record["outputs"]:
        path = host.path(folder) / output["filename"]
        assert (output["node_id"], output["subfolder"], output["type"]) == ("2", folder, "output")
        assert output["bytes"] == path.stat().st_size
        assert TIME.fullmatch(output["modified"])
        assert output["cached"] is False


@pytest.mark.parametrize("key", ["images", "gifs", "videos", "audio", "files", "a_images", "3d"])
def test_outputs_are_told_whatever_the_key(host: Host, folder: str, key: str) -> None:
    graph = Graph()
    graph.add("ProbeFileSaver", filename="a_00001.gif", subfolder=folder, key=key)
    (output,) = host.run(graph)["outputs"]
    assert (output["filename"], output["subfolder"], output["bytes"]) == ("a_00001.gif", folder, 7)


def test_a_path_given_as_a_string_is_an_output_and_a_temporary_file_keeps_its_type(host: Host, folder: str) -> None:
    graph = Graph()
    graph.add("ProbeFileSaver", filename="a_00001.glb", subfolder=folder, key="result", as_path=True)
    graph.add("ProbeFileSaver", filename="p_00001.png", subfolder="", key="images", type="temp", content=folder)
    outputs = {o["filename"]: o for o in host.run(graph)["outputs"]}
    assert (outputs["a_00001.glb"]["subfolder"], outputs["a_00001.glb"]["bytes"]) == (folder, 7)
    assert outputs["p_00001.png"]["type"] == "temp"


def test_odd_things_in_a_ui_are_no_trouble(host: Host, folder: str) -> None:
    graph = Graph()
    graph.add("ProbeOddUi", filename_prefix=f"{folder}/a")
    graph.marker()
    before = host.health()["problems"]
    record = host.run(graph)
    assert record["status"] == "success"
    good = [o for o in record["outputs"] if o["filename"] == "a_00001_.png"]
    assert [o["bytes"] for o in good] == [3]
    assert all(o["bytes"] is None for o in record["outputs"] if o not in good), "looked outside the output folder"
    assert [f["Name"] for f in host.marker(f"{folder}/a.done")["Files"]] == ["a_00001_.png"]
    assert host.health()["problems"] == before
    assert host.run(quick())["status"] == "success"


# --- ends that are no success


def test_an_error_is_told_with_its_node(host: Host, folder: str) -> None:
    record = host.run(failing(f"{folder}/a", "it broke"))
    assert record["status"] == "error"
    assert record["error"] == {
        "node_id": "fail",
        "class_type": "ProbeFail",
        "exception_type": record["error"]["exception_type"],
        "message": record["error"]["message"],
    }
    assert record["error"]["exception_type"].endswith("ValueError")
    assert "it broke" in record["error"]["message"]
    node = by_id(host.nodes(record["prompt_id"]))["fail"]
    assert node["error"]["node_id"] == "fail"
    assert node["title"] == "The one that fails"
    assert node["duration_seconds"] is None or node["duration_seconds"] >= 0
    assert record["ended_at"]


def test_an_error_inside_an_expanded_graph_is_told(host: Host, folder: str) -> None:
    graph = Graph()
    graph.add("ProbeExpand", id="outer", source=graph.image(), filename_prefix=f"{folder}/in", seconds=0, fail=True)
    record = host.run(graph)
    assert record["status"] == "error"
    assert record["error"]["node_id"] == "outer"
    assert "inner failure" in record["error"]["message"]


def test_a_cycle_made_by_an_expansion_is_an_error_though_the_history_says_success(host: Host) -> None:
    graph = Graph()
    graph.add("ProbeCycle", id="cycle")
    record = host.run(graph)
    assert record["status"] == "error"
    assert record["error"]["message"]


def test_an_error_tells_neither_paths_of_the_server_nor_keys_and_is_short(host: Host, folder: str) -> None:
    secrets = ["sk-proj-AbCdEf0123456789AbCdEf0123456789", "hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345", "hunter2hunter2"]
    text = (
        f"cannot open {host.base}/private/film.mov or C:\\Users\\jane\\film.mov with {secrets[0]}"
        f" nor api_key={secrets[1]} nor password: {secrets[2]}; " + "and so on " * 500
    )
    record = host.run(failing(f"{folder}/a", text))
    message = record["error"]["message"]
    assert message.startswith(("cannot open <path>", "cannot open private/film.mov"))
    assert len(message) <= 2000
    told = str(host.get(f"/telemetry/prompts/{record['prompt_id']}/nodes")) + str(record)
    marker = host.path(f"{folder}/a.failed").read_text("utf-8")
    for hidden in (*secrets, str(host.base), "Users", "jane"):
        assert hidden not in told
        assert hidden not in marker
        for file in recorder_files(host):
            assert hidden.encode() not in file.read_bytes()


def recorder_files(host: Host) -> list:
    files = [p for p in host.database_files() if "run_recorder" in str(p.relative_to(host.base))]
    assert files, "the store isn't in the user folder"
    return files


def test_an_interrupted_prompt_is_interrupted(host: Host, folder: str) -> None:
    prompt_id = host.queue(slow_then_saved(f"{folder}/a", 20))
    host.until_running(prompt_id, "slow")
    host.interrupt()
    record = host.wait(prompt_id, 10)
    assert record["status"] == "interrupted"
    assert record["error"] is None or record["error"]["node_id"] == "slow"
    assert record["ended_at"]
    assert record["current_node"] is None


def test_prompts_taken_from_the_queue_are_cancelled_and_no_others(host: Host, folder: str) -> None:
    running = host.queue(slow_then_saved(f"{folder}/running", 20))
    host.until_running(running)
    kept, deleted = (host.queue(saved(f"{folder}/q{n}", marker={})) for n in range(2))
    host.delete_queued(deleted)
    assert host.wait(deleted, 5)["status"] == "cancelled"
    assert host.record(kept)["status"] == "queued"
    host.delete_queued(kept)  # the last one: ComfyUI then wipes the queue, too
    assert host.wait(kept, 5)["status"] == "cancelled"
    cleared = [host.queue(saved(f"{folder}/c{n}", marker={})) for n in range(3)]
    host.clear_queue()
    for prompt_id in cleared:
        record = host.wait(prompt_id, 5)
        assert record["status"] == "cancelled"
        assert record["started_at"] is None
        assert record["duration_seconds"] is None
        assert record["ended_at"]
        assert {m["status"] for m in record["markers"]} <= {"not written"}
    assert host.record(running)["status"] == "running"
    host.interrupt()
    assert host.wait(running, 10)["status"] == "interrupted"
    assert host.markers_in(folder) == ["running.failed"]


def test_a_job_that_is_cancelled_is_cancelled_or_interrupted(host: Host) -> None:
    running = host.queue(slow_then_saved("never/a", 20))
    host.until_running(running, "slow")
    waiting = host.queue(quick())
    if host.request("POST", f"/api/jobs/{waiting}/cancel", {}).status != 200:
        pytest.skip("this version has no route to cancel a job")
    assert host.wait(waiting, 5)["status"] == "cancelled"
    host.request("POST", f"/api/jobs/{running}/cancel", {})
    assert host.wait(running, 10)["status"] == "interrupted"


def test_a_blocked_saver_is_no_error(host: Host, folder: str) -> None:
    graph = Graph()
    image = graph.image()
    blocked = graph.add("ProbeBlocker", message="not today", source=image)
    graph.add("SaveImage", id="blocked", images=blocked, filename_prefix=f"{folder}/blocked")
    graph.add("SaveImage", id="good", images=image, filename_prefix=f"{folder}/good")
    graph.marker()
    record = host.run(graph)
    assert record["status"] == "success"
    assert "blocked" in by_id(host.nodes(record["prompt_id"]))
    assert [o["node_id"] for o in record["outputs"]] == ["good"]
    assert host.markers_in(folder) == ["good.done"]


def test_a_refused_marker_is_noted_while_the_other_outputs_run(host: Host, folder: str) -> None:
    graph = saved(f"{folder}/a")
    graph.add("WriteDoneMarker", id="bad", filename_prefix="../outside")
    graph.add("WriteDoneMarker", id="good", filename_prefix=f"{folder}/a")
    status, body = host.post(graph)
    assert status == 200
    assert set(body["node_errors"]) == {"bad"}
    record = host.wait(body["prompt_id"])
    assert record["status"] == "success"
    assert any("refused" in note and "bad" in note for note in record["notes"]), record["notes"]
    assert sorted(m["status"] for m in record["markers"]) == ["refused", "success"]
    assert host.markers_in(folder) == ["a.done"]


def test_a_marker_left_out_by_partial_execution_is_not_called_refused(host: Host, folder: str) -> None:
    graph = saved(f"{folder}/a", marker={})
    record = host.run(graph, partial_execution_targets=["2"])
    assert record["status"] == "success"
    assert not any("refused" in note for note in record["notes"])
    assert not any(m["status"] == "refused" for m in record["markers"])
    assert host.markers_in(folder) == []


def test_a_prompt_that_comfyui_took_though_it_answered_500_is_recorded_as_it_ran(host: Host, folder: str) -> None:
    """The queue's heap can't order two entries of the same number and id: it has appended the second, then raises."""
    before = host.health()["problems"]
    running = host.queue(unmarked(slow_then_saved(f"{folder}/a", 1)))
    host.until_running(running)
    twice = {"number": 1000, "prompt_id": str(uuid.uuid4())}
    assert host.post(saved(f"{folder}/b"), **twice)[0] == 200
    assert host.post(saved(f"{folder}/c"), **twice)[0] == 500
    host.wait(running)
    host.until(lambda: not any(host.queued_ids()))
    assert host.run(quick())["status"] == "success"
    first, second = (host.record(twice["prompt_id"], run=run) for run in (1, 2))
    told = {o["filename"] for run in (first, second) for o in run["outputs"]}
    assert told == {p.name for p in host.path(folder).glob("[bc]_*.png")} == {"b_00001_.png", "c_00001_.png"}
    assert {first["status"], second["status"]} == {"success"}
    assert host.health()["problems"] == before


# --- what is kept, and what isn't


def test_a_prompt_id_posted_again_is_a_new_run_of_it(host: Host, folder: str) -> None:
    prompt_id = str(uuid.uuid4())
    host.queue(slow_then_saved(f"{folder}/one", 0.8), prompt_id=prompt_id)
    host.until_running(prompt_id, "slow")
    host.queue(saved(f"{folder}/two"), prompt_id=prompt_id)
    assert host.record(prompt_id)["run_number"] == 1, "the running one is the one that is asked for"
    assert host.record(prompt_id, run=2)["status"] == "queued"
    second = host.until(lambda: (r := host.record(prompt_id))["run_number"] == 2 and r["status"] == "success" and r)
    first = host.record(prompt_id, run=1)
    assert (first["run_number"], first["status"]) == (1, "success")
    assert [o["filename"] for o in first["outputs"]] == ["one_00001_.png"]
    assert [o["filename"] for o in second["outputs"]] == ["two_00001_.png"]
    assert len(host.get(f"/telemetry/prompts/{prompt_id}/nodes?run=1")[1]["items"]) == 4
    assert host.get(f"/telemetry/prompts/{prompt_id}/wait?run=1")[1]["run_number"] == 1
    assert host.get(f"/telemetry/prompts/{prompt_id}?run=3")[0] == 404
    status, body = host.get(f"/telemetry/prompts/{prompt_id}?run=0")
    assert (status, body["error"]["field"]) == (400, "run")


def test_of_the_clients_extra_data_only_the_runners_own_part_is_kept(host: Host) -> None:
    batch = {"run_id": "run-1", "scene_id": "scene-001", "attempt": 2, "policy": "default"}
    extra = {"run_recorder": {**batch, "more": "private"}, "other": "private"}
    assert host.run(quick(), extra_data=extra)["batch"] == batch


@pytest.mark.parametrize("odd", ["text", 5, [1], {"attempt": {"x": 1}}, {"run_id": "x" * 100_000}])
def test_odd_extra_data_harms_nothing(host: Host, odd: object) -> None:
    before = host.health()["problems"]
    assert host.run(quick(), extra_data={"run_recorder": odd})["status"] == "success"
    assert host.health()["problems"] == before


def test_neither_the_graph_nor_the_extra_data_is_kept_or_told(host: Host, folder: str) -> None:
    secret = f"secret{uuid.uuid4().hex}"
    graph = saved(f"{folder}/a", marker={})
    graph.add("ProbeSettings", text=secret, seed=1, number=1.0, choice="one", switch=False)
    workflow = {"nodes": [{"widgets_values": [secret]}], "extra": {secret: secret}}
    extra = {"api_key": secret, "extra_pnginfo": {"workflow": workflow}, "api_key_comfy_org": secret}
    prompt_id = host.queue(graph, extra_data=extra)
    record = host.wait(prompt_id)
    for path in ("", "/nodes", "/settings", "/wait"):
        assert secret not in str(host.get(f"/telemetry/prompts/{prompt_id}{path}"))
    for path in ("prompts", "health", f"environments/{record['environment_id']}"):
        assert secret not in str(host.get(f"/telemetry/{path}"))
    assert secret not in host.path(f"{folder}/a.done").read_text("utf-8")
    for file in recorder_files(host):
        assert secret.encode() not in file.read_bytes(), file.name


def test_fingerprints_tell_the_workflow_and_its_settings_apart_from_its_words(host: Host, folder: str) -> None:
    def run(prefix: str = "a", wired: bool = True, **settings: object) -> tuple[str, str]:
        graph = Graph()
        image = graph.add("EmptyImage", width=16, height=16, batch_size=1, color=0)
        given = {"text": "words", "seed": 1, "number": 1.0, "choice": "one", "switch": False} | settings
        made = graph.add("ProbeSettings", **given, source=image)
        graph.save(made if wired else image, f"{folder}/{prefix}")
        record = host.run(graph)
        return record["workflow_fingerprint"], record["settings_fingerprint"]

    base = run()
    assert re.match(r"\d", base[0]) and re.match(r"\d", base[1])
    assert run(prefix="b", text="other words", seed=2) == base
    for settings in ({"number": 2.0}, {"choice": "two"}, {"switch": True}):
        workflow, changed = run(**settings)
        assert workflow == base[0]
        assert changed != base[1], settings
    assert run(wired=False)[0] != base[0]


def test_a_record_leads_to_the_environment_it_ran_in(host: Host) -> None:
    prompt_id = host.run(quick())["prompt_id"]
    host.until(lambda: host.record(prompt_id)["environment_id"], 20)  # it is looked for while prompts run
    record = host.record(prompt_id)
    status, environment = host.get(f"/telemetry/environments/{record['environment_id']}")
    assert status == 200
    assert environment["id"] == record["environment_id"]
    assert environment["comfyui_version"].startswith(".".join(map(str, host.version)))
    assert re.match(r"3\.\d+", environment["python_version"])
    assert environment["os"]
    assert (environment["torch_version"] is None) == (host.kind == "embedded")
    packs = {pack["name"]: pack for pack in environment["node_packs"]}
    assert packs["run-recorder"]["version"] == host.health()["version"]
    assert "probe_pack" in packs
    options = environment["launch_options"]
    assert {"--cpu", "--disable-auto-launch", f"--port {host.port}", "--base-directory <path>"} <= set(options)
    assert not any("database" in one for one in options), "text may hold a secret"
    assert environment["distributions"]["aiohttp"]
    assert environment["machine"]["cpu_count"] and environment["machine"]["ram_total_bytes"]
    if host.kind == "real":
        assert re.match(r"\d+\.\d+", environment["frontend_version"])
        assert environment["frontend_version"] == environment["distributions"]["comfyui-frontend-package"]
        assert re.match(r"(cuda|rocm|xpu) \d|cpu", environment["torch_build"])
        is_cuda = environment["torch_build"].startswith("cuda")
        assert is_cuda == bool(environment["cuda_runtime_version"]) == bool(environment["cudnn_version"])
    assert str(host.base) not in str(environment)
    assert host.run(quick())["environment_id"] == record["environment_id"]
    assert host.get("/telemetry/environments/nosuch")[0] == 404


# ---------------------------------------------------------------- settings


def test_the_settings_of_a_prompt_are_told_while_it_runs_and_after(host: Host, folder: str) -> None:
    graph = slow_then_saved(f"{folder}/a", 30.0)
    given = {"text": "words nobody may know", "seed": 9182736455, "number": 1.5, "choice": "two", "switch": True}
    settings = graph.add("ProbeSettings", **given, source=["1", 0])[0]
    graph.add("PreviewAny", source=[settings, 0])
    prompt_id = host.queue(graph)
    host.until_running(prompt_id)
    path = f"/telemetry/prompts/{prompt_id}/settings"
    host.until(lambda: host.get(path)[1]["settings_id"])  # they are read once its queueing is saved
    told = [host.get(path)[1]]
    host.interrupt()
    record = host.wait(prompt_id)
    told.append(host.get(f"{path}?run=1")[1])
    assert told[0] == told[1]
    by_node = {one["node_id"]: one for one in told[1]["items"]}
    assert by_node[settings] == {
        "node_id": settings,
        "class_type": "ProbeSettings",
        "inputs": {"number": 1.5, "choice": "two", "switch": True},
    }
    assert by_node["1"]["inputs"]["width"] == 16
    assert "words" not in str(told) and "9182736455" not in str(told[1]["items"])
    assert told[1]["settings_id"] and record["settings_fingerprint"]
    assert host.get(f"/telemetry/prompts/{uuid.uuid4()}/settings")[0] == 404


def test_a_picture_s_name_is_no_setting(host: Host, folder: str) -> None:
    (host.base / "input").mkdir(exist_ok=True)
    host.run(saved(f"{folder}/a"))
    picture = next(host.path(folder).glob("*.png"))
    name = f"holiday-{uuid.uuid4().hex}.png"
    (host.base / "input" / name).write_bytes(picture.read_bytes())
    if host.node_class("LoadImage") is None:
        pytest.skip("the embedded host loads no pictures")
    graph = Graph()
    graph.save(graph.add("LoadImage", image=name), f"{folder}/b")
    prompt_id = host.run(graph)["prompt_id"]
    assert "holiday" not in str(host.get(f"/telemetry/prompts/{prompt_id}/settings")[1])


# ---------------------------------------------------------------- conditions


def test_the_conditions_of_a_prompt_are_recorded(start_host: Callable[..., Host]) -> None:
    host = start_host()
    first = host.run(quick())["conditions"]
    second = host.run(quick(), client_id="me")["conditions"]
    page = {"extra_pnginfo": {"workflow": {"nodes": []}}}
    third = host.run(quick(), client_id="me", extra_data=page)["conditions"]
    batch = {"run_id": "r", "scene_id": "s", "attempt": 1}
    fourth = host.run(quick(), extra_data={"run_recorder": batch, **page})["conditions"]
    told = (first, second, third, fourth)
    assert [one["client"] for one in told] == ["api", "api", "web page", "runner"]
    assert [one["run_since_start"] for one in told] == [1, 2, 3, 4]
    assert first["idle_before_seconds"] is None and 0 <= second["idle_before_seconds"] < 30
    assert 0 < second["ram_free_before_bytes"] < 2**50
    assert second["swap_used_before_bytes"] >= 0
    assert second["vram_others_bytes"] is None, "no driver"
    assert second["throttled_seconds"] is None
    assert (second["models_before"], second["models"]) == ([], [])
    assert (second["loaded"], second["unloaded"], second["warm"]) == (0, 0, True)
    if host.kind == "embedded":
        assert (second["attention"], second["cudnn_benchmark"]) == (None, None), "it has no torch"
        return
    assert second["attention"] in ("sub_quadratic", "split", "pytorch", "xformers")
    assert second["vram_mode"] == "disabled"
    assert second["float32_matmul_precision"] == "highest"
    for name in ("cudnn_benchmark", "allow_tf32", "deterministic"):
        assert second[name] in (True, False)
