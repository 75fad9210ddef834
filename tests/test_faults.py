"""A fault of ours never fails a prompt: each hook is made to raise, one at a time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .graphs import Graph, failing, saved
from .hosts import FAULT_PACK, Host


@pytest.fixture(scope="module")
def faulty(host_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(host_kind, tmp_path_factory.mktemp(f"faults-{host_kind}"), packs=[FAULT_PACK])
    try:
        host.start()
        assert host.health()["status"] == "ok"
        yield host
    finally:
        host.stop()


def busy(prefix: str) -> Graph:
    """A graph that comes through every seam: progress, an async node, an expansion, the cache's own output."""
    graph = saved(prefix, marker={})
    slow = graph.slow(0.2, ["1", 0], steps=4)
    graph.add("ProbeCollect", source=slow)
    graph.add("ProbeAsync", source=slow, seconds=0.05)
    graph.add("ProbeExpand", source=slow, filename_prefix=f"{prefix}-in", seconds=0)
    return graph


def test_every_hook_that_raises_is_told_and_harms_no_prompt(faulty: Host) -> None:
    """In one test, since the hooks are only known when the host is up."""
    hooks = faulty.get("/zz_faults")[1]
    assert hooks, "comfyui_host.host.HOOKS names no hook"
    for hook in hooks:
        assert faulty.request("POST", f"/zz_faults/{hook}", {}).status == 200
        try:
            check_a_prompt_without(faulty, hook)
        finally:
            assert faulty.request("DELETE", f"/zz_faults/{hook}").status == 200
        again = faulty.run(saved(f"{hook}/after", marker={}))
        assert again["status"] == "success", hook
        assert faulty.markers_in(hook).count("after.done") == 1, hook


def faults_told(faulty: Host) -> int:
    return sum(problem["count"] for problem in faulty.health()["problems"])


def silent_seams(faulty: Host) -> int:
    return sum(problem["count"] for problem in faulty.health()["problems"] if problem["what"] == "a silent seam")


def check_a_prompt_without(faulty: Host, hook: str) -> None:
    before = faults_told(faulty)
    prompt_id = faulty.queue(busy(f"{hook}/a"))
    behind = faulty.queue(saved(f"{hook}/behind"))
    faulty.queue(failing(f"{hook}/failing"))
    faulty.delete_queued(behind)
    assert faulty.request("POST", "/zz_faults_put", {}).status == 200
    assert faulty.post(saved(f"{hook}/refused"))[0] == 500, hook
    assert faulty.request("DELETE", "/zz_faults_put").status == 200
    entry = faulty.wait_history(prompt_id)
    assert entry["status"]["status_str"] == "success", hook
    assert len(list(faulty.path(hook).glob("a_*.png"))) == 1, hook
    assert len(list(faulty.path(hook).glob("a-in_*.png"))) == 1, hook
    assert not list(faulty.path(hook).glob("behind_*.png")), hook
    faulty.until(lambda: not any(faulty.queued_ids()), 20)
    health = faulty.health()
    assert health["status"] == "degraded", hook
    assert faults_told(faulty) > before, hook
    assert all(problem["what"] and problem["hint"] for problem in health["problems"])
    assert health["worker"]["alive"] is True, hook


def test_a_seam_that_someone_else_has_cut_is_told_and_the_rest_is_recorded(faulty: Host) -> None:
    faulty.run(saved("silence/before"))  # at the first run the seams are looked at again, and one that is cut is mended
    before = silent_seams(faulty)
    assert faulty.request("POST", "/zz_faults_silence", {}).status == 200
    try:
        prompt_id = faulty.queue(saved("silence/a", marker={}))
        assert faulty.wait_history(prompt_id)["status"]["status_str"] == "success"
        record = faulty.wait(prompt_id, 10)
        assert record["status"] == "success"
        assert [o["filename"] for o in record["outputs"]] == ["a_00001_.png"]
        assert faulty.markers_in("silence") == ["a.done"]
        health = faulty.health()
        assert health["status"] == "degraded"
        assert record["notes"], "the record says that something of it is unknown"
        assert silent_seams(faulty) >= before + len(record["notes"]), health["problems"]
    finally:
        assert faulty.request("DELETE", "/zz_faults_silence").status == 200
    assert faulty.run(saved("silence/after", marker={}))["status"] == "success"


def test_a_seam_that_this_comfyui_has_not_got_costs_only_what_it_tells(tmp_path: Path) -> None:
    """On the embedded host only, which loads packs in the order of their names."""
    pack = tmp_path / "aa_without_progress"
    pack.mkdir()
    code = "import comfy_execution.progress as p\ndel p.add_progress_handler\nNODE_CLASS_MAPPINGS = {}\n"
    (pack / "__init__.py").write_text(code)
    host = Host("embedded", tmp_path / "host", packs=[pack])
    try:
        host.start()
        health = host.health()
        missing = [name for name, seam in health["seams"].items() if not seam["installed"]]
        assert len(missing) == 1
        assert health["status"] == "degraded"
        assert any("progress" in p["what"] + p["hint"] for p in health["problems"])
        record = host.run(saved("shot/a", marker={}))
        assert record["status"] == "success"
        assert host.marker("shot/a.done")["FrameCount"] == 1
        assert host.run(failing("shot/b"))["error"]["node_id"] == "fail"
    finally:
        host.stop()
