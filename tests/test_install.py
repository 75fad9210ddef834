"""The package as ComfyUI sees it, and how it takes what an installation may have in store."""

import json
import os
import re
import stat
import sys
from pathlib import Path

import pytest

from .graphs import Graph, saved
from .hosts import Host, cli


def test_the_node_registers_as_it_is_promised(host: Host) -> None:
    node = host.node_class("WriteDoneMarker")
    assert node is not None
    assert node["display_name"] == "Write Done Marker"
    assert node["output_node"] is True
    assert node["description"]
    assert not node["input"].get("required"), "every input is optional"
    inputs = node["input"]["optional"]
    assert list(inputs) == ["filename_prefix", "after", "when", "on_failure", "hash_files"] or set(inputs) == {
        "filename_prefix",
        "after",
        "when",
        "on_failure",
        "hash_files",
    }
    assert inputs["filename_prefix"][1]["default"] == ""
    for name, choices in (
        ("when", ["prompt completes", "inputs ready"]),
        ("on_failure", ["write .failed", "nothing"]),
    ):
        told = inputs[name][1].get("options") or inputs[name][0]
        assert list(told) == choices
        assert inputs[name][1]["default"] == choices[0]
    assert inputs["hash_files"][1]["default"] is False
    assert len(node["output"]) == 2
    assert node["output"][1] == "STRING"
    assert all(options[1].get("tooltip") for options in inputs.values())


def test_it_is_imported_and_comfyui_says_how_long_that_took(host: Host, figures: list[str]) -> None:
    found = re.findall(r"(\d+\.\d+) seconds( \(IMPORT FAILED\))?: .*run-recorder", host.log_text())
    assert found, "ComfyUI doesn't list it"
    assert not any(failed for _, failed in found)
    figures.append(f"{host.kind}: imported in {found[0][0]} s")


def test_it_is_quiet_in_the_log(host: Host, folder: str) -> None:
    before = len(host.log_text())
    host.run(saved(f"{folder}/a", marker={}))
    log = host.log_text()[before:]
    assert "Traceback" not in log
    assert "run_recorder" not in log
    assert "telemetry" not in log


@pytest.mark.skipif(os.name == "nt", reason="no such modes here")
def test_the_store_is_private(host: Host, folder: str) -> None:
    host.run(saved(f"{folder}/a"))
    files = [p for p in host.database_files() if "run_recorder" in str(p.relative_to(host.base))]
    databases = [p for p in files if p.read_bytes()[:15] == b"SQLite format 3"]
    assert len(databases) == 1
    for path in files:
        if path.suffix == ".lock":
            continue
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path.name
    assert stat.S_IMODE(databases[0].parent.stat().st_mode) == 0o700


def test_the_store_is_not_served_by_comfyui(host: Host) -> None:
    for path in (
        "/userdata?dir=__run_recorder",
        "/userdata?dir=run_recorder&recurse=true",
        "/userdata/__run_recorder",
    ):
        status, body = host.get(path)
        assert status >= 400 or "sqlite" not in json.dumps(body)


def test_with_a_token_only_two_words_of_health_are_told_without_it(tmp_path: Path) -> None:
    host = Host("embedded", tmp_path, env={"RUN_RECORDER_TOKEN": "open sesame"})
    known = {"Authorization": "Bearer open sesame"}
    try:
        host.start()
        prompt_id = host.queue(saved("shot/a", marker={}))
        for root in ("/telemetry", "/api/telemetry"):
            assert set(host.get(f"{root}/health")[1]) == {"status", "version"}
            assert "seams" in host.request("GET", f"{root}/health", headers=known).body
            for path in ("prompts", f"prompts/{prompt_id}", f"prompts/{prompt_id}/wait", "environments/x"):
                for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "open sesame"}):
                    reply = host.request("GET", f"{root}/{path}", headers=headers)
                    assert (reply.status, reply.body["error"]["type"]) == (401, "unauthorized"), path
                    assert "open sesame" not in str(reply)
            assert host.request("DELETE", f"{root}/prompts/{prompt_id}").status == 401
            assert host.request("GET", f"{root}/prompts/{prompt_id}/wait", headers=known).status == 200
        assert cli("prompts", "show", prompt_id, "--comfyui", host.url).returncode != 0
        given = cli("prompts", "show", prompt_id, "--comfyui", host.url, env={"RUN_RECORDER_TOKEN": "open sesame"})
        assert given.returncode == 0
        assert "open sesame" not in host.log_text()
    finally:
        host.stop()


def test_markers_follow_the_output_folder_that_comfyui_was_given(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    host = Host("embedded", tmp_path / "base", flags=["--output-directory", str(elsewhere)])
    try:
        host.start()
        record = host.run(saved("shot/a", marker={}))
        assert (elsewhere / "shot" / "a.done").exists()
        assert [m["path"] for m in record["markers"]] == ["shot/a.done"]
        assert str(elsewhere) not in json.dumps(record)
        environment = host.get(f"/telemetry/environments/{record['environment_id']}")[1]
        assert str(elsewhere) not in json.dumps(environment)
    finally:
        host.stop()


def test_a_damaged_database_costs_no_prompt_and_is_told(tmp_path: Path) -> None:
    host = Host("embedded", tmp_path)
    try:
        host.start()
        host.run(saved("shot/a", marker={}))
        host.stop()
        damaged = [p for p in host.database_files() if p.read_bytes()[:15] == b"SQLite format 3"]
        for path in damaged:
            path.write_bytes(b"no database, but what a failing disk made of it.\0" * 1000)
            for name in ("-wal", "-shm"):
                path.with_name(path.name + name).unlink(missing_ok=True)
        assert len(damaged) >= 1
        host.start()
        prompt_id = host.queue(saved("shot/a", marker={}))
        assert host.wait_history(prompt_id)["status"]["status_str"] == "success"
        assert host.record(prompt_id)["prompt_id"] == prompt_id
        assert host.wait(prompt_id, 10)["status"] == "success"
        health = host.health()
        assert health["status"] == "degraded"
        assert any(problem["hint"] for problem in health["problems"])
    finally:
        host.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="limits a file's size as only this system does")
def test_a_full_disk_costs_no_prompt_and_is_told(tmp_path: Path) -> None:
    """A disk is full for files that may not grow beyond a size: the store's, after some prompts."""
    import resource

    host = Host("embedded", tmp_path)
    try:
        host.start()
        host.run(saved("shot/a", marker={}))
        sizes = [p.stat().st_size for p in host.database_files()]
        resource.prlimit(host.pid, resource.RLIMIT_FSIZE, (max(sizes) + 8192, resource.RLIM_INFINITY))
        for number in range(60):
            graph = Graph()
            graph.add("ProbeSilentSaver", filename_prefix=f"full/a{number}", count=1)
            graph.marker()
            prompt_id = host.queue(graph)
            assert host.wait_history(prompt_id)["status"]["status_str"] == "success"
            health = host.health()
            if health["status"] == "degraded":
                break
        assert health["status"] == "degraded", "the store's files have grown beyond the limit"
        assert health["problems"][0]["hint"]
        resource.prlimit(host.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        after = host.run(saved("shot/b", marker={}))
        assert after["status"] == "success"
        assert host.marker("shot/b.done")["PromptId"] == after["prompt_id"]
        lost = host.health()["store"]["dropped"]
        assert host.get(f"/telemetry/prompts/{prompt_id}")[0] == 200 or lost > 0, "kept, or counted as lost"
    finally:
        host.stop()
