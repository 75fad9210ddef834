"""What is left when the process dies: one story a host, told once, and looked at from several sides."""

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from .graphs import Graph, failing, saved, slow_then_saved
from .hosts import REPO, Host, copy_package


def moment_of(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Story:
    """The records that each act of the story left behind."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.finished = host.run(saved("finished/a", marker={}))
        host.run(saved("shot/a", marker={}))
        host.run(saved("later/a", marker={}))
        self.rendering = host.queue(slow_then_saved("shot/a", 120))
        explicit = slow_then_saved("explicit/a", 0.1, filename_prefix="explicit/a")
        self.waiting = [host.queue(graph) for graph in (saved("later/a", marker={}), explicit)]
        self.before_the_kill = host.until(self._well_in, 20)
        time.sleep(0.5)
        host.kill()
        host.restart()
        self.first_answer = host.record(self.rendering)
        self.abandoned = host.wait(self.rendering, 5)
        self.abandoned_waiting = [host.wait(prompt_id, 5) for prompt_id in self.waiting]
        self.markers_after_the_kill = {f: host.markers_in(f) for f in ("finished", "shot", "later", "explicit")}
        self.failed = host.marker("shot/a.failed") if host.path("shot/a.failed").exists() else {}
        self.listed = host.get("/telemetry/prompts?status=abandoned")[1]["items"]
        self.finished_after = host.record(self.finished["prompt_id"])
        self.health_after_the_kill = host.health()
        self.next = host.run(saved("shot/a", marker={}))
        self._death_of_the_worker()

    def _well_in(self) -> Any:
        record = self.host.record(self.rendering)
        current = record["current_node"]
        return record if current and current["node_id"] == "slow" and (current["value"] or 0) > 3 else None

    def _death_of_the_worker(self) -> None:
        host = self.host
        graph = saved("dead/a", marker={})
        graph.add(
            "ProbeSystemExit", id="exit", title="Goodbye", source=["2", 0] if self._save_has_output() else ["1", 0]
        )
        self.killer = host.queue(graph)
        self.behind = host.queue(saved("behind/a", marker={}))
        host.until(lambda: host.record(self.killer)["status"] != "queued", 10)
        began = time.monotonic()
        host.until(lambda: host.health()["worker"]["alive"] is False, 10)
        self.noticed_after = time.monotonic() - began
        self.killed = host.wait(self.killer, 5)
        self.dead_health = host.health()
        self.behind_a_dead_worker = host.record(self.behind)
        self.markers_of_the_dead = host.markers_in("dead")
        host.restart()
        self.killed_later = host.record(self.killer)
        self.behind_later = host.record(self.behind)
        self.health_at_last = host.health()
        self.last = host.run(saved("last/a", marker={}))

    def _save_has_output(self) -> bool:
        return bool((self.host.node_class("SaveImage") or {}).get("output"))


@pytest.fixture(scope="module")
def story(host_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    host = Host(host_kind, tmp_path_factory.mktemp(f"story-{host_kind}"))
    try:
        yield Story(host.start())
    finally:
        host.stop()


# --- killed in mid-render


def test_a_prompt_that_ran_when_the_process_died_is_abandoned_with_its_node(story: Story) -> None:
    assert story.first_answer["status"] == "abandoned", "settled before the first answer"
    record = story.abandoned
    current = record["current_node"]
    assert (current["node_id"], current["class_type"]) == ("slow", "ProbeSlow")
    assert current["max"] == 2400
    assert record["started_at"] == story.before_the_kill["started_at"]
    assert record["duration_seconds"] is None
    assert record["error"] is None
    assert record["instance"]["id"] == story.before_the_kill["instance"]["id"]


def test_the_last_sign_of_life_and_the_curve_are_kept_up_to_a_second_before_the_kill(
    host_kind: str, tmp_path: Path
) -> None:
    """Of a node that says nothing of itself, so that nothing but the recorder's own clock tells."""
    host = Host(host_kind, tmp_path)
    try:
        host.start()
        graph = Graph()
        graph.add("ProbeSleepNoProgress", id="silent", seconds=120, source=graph.image())
        prompt_id = host.queue(graph)
        host.until_running(prompt_id, "silent")
        time.sleep(3.5)
        killed = time.time()
        host.kill()
        record = host.restart().record(prompt_id)
        seen, started = moment_of(record["last_seen_at"]), moment_of(record["started_at"])
        assert (record["status"], record["ended_at"], record["current_node"]["node_id"]) == (
            "abandoned",
            None,
            "silent",
        )
        assert -0.1 <= killed - seen <= 1.6, "a second, and what a save takes on a busy machine"
        times = host.get(f"/telemetry/prompts/{prompt_id}/samples")[1]["t_seconds"]
        assert started + times[-1] <= killed
        assert killed - (started + times[-1]) <= 2.6, "and the sampler's own second"
        assert host.record(prompt_id)["last_seen_at"] == record["last_seen_at"], "it does not grow"
        ended = host.run(saved("ended/a"))
        assert ended["last_seen_at"] is None
    finally:
        host.stop()


def test_it_gets_a_failed_marker_that_says_so(story: Story) -> None:
    assert story.markers_after_the_kill["shot"] == ["a.failed"]
    assert (story.failed["Status"], story.failed["PromptId"]) == ("abandoned", story.rendering)
    assert [(m["path"], m["status"]) for m in story.abandoned["markers"]] == [("shot/a.failed", "abandoned")]


def test_prompts_that_had_not_begun_are_abandoned_without_a_marker(story: Story) -> None:
    for record in story.abandoned_waiting:
        assert record["status"] == "abandoned"
        assert record["started_at"] is None
        assert record["current_node"] is None
        assert {m["status"] for m in record["markers"]} <= {"not written"}
    assert story.markers_after_the_kill["later"] == ["a.done"]
    assert story.markers_after_the_kill["explicit"] == []


def test_what_had_ended_is_as_it_was(story: Story) -> None:
    assert story.finished_after == story.finished
    assert story.markers_after_the_kill["finished"] == ["a.done"]


def test_the_abandoned_are_listed(story: Story) -> None:
    assert {item["prompt_id"] for item in story.listed} == {story.rendering, *story.waiting}


def test_the_next_process_has_another_instance_and_works(story: Story) -> None:
    assert story.next["status"] == "success"
    assert story.next["instance"]["id"] != story.abandoned["instance"]["id"]
    assert story.health_after_the_kill["status"] == "ok", story.health_after_the_kill["problems"]
    assert story.host.marker("shot/a.done")["PromptId"] == story.next["prompt_id"]


def test_no_temporary_file_is_left(story: Story) -> None:
    files = [p.name for p in story.host.output.rglob("*") if p.is_file()]
    assert [name for name in files if name.startswith(".") or "tmp" in name] == []


# --- a node that kills the worker thread


def test_a_dead_worker_is_noticed_within_two_seconds(story: Story) -> None:
    assert story.noticed_after < 3
    worker = story.dead_health["worker"]
    assert worker["alive"] is False
    assert worker["died_in"]["node_id"] == "exit"
    assert worker["died_in"]["class_type"] == "ProbeSystemExit"
    assert story.dead_health["status"] == "degraded"
    assert any("worker" in p["what"] + p["hint"] for p in story.dead_health["problems"])


def test_the_prompt_that_killed_it_is_an_error_with_its_node(story: Story) -> None:
    record = story.killed
    assert record["status"] == "error"
    assert (record["error"]["node_id"], record["error"]["class_type"]) == ("exit", "ProbeSystemExit")
    assert story.markers_of_the_dead == ["a.failed"]
    assert story.killed_later == record, "a restart changes nothing of it"


def test_what_stood_behind_it_waits_until_the_restart_and_is_abandoned_then(story: Story) -> None:
    assert story.behind_a_dead_worker["status"] == "queued"
    assert story.behind_later["status"] == "abandoned"
    assert story.host.markers_in("behind") == []
    assert story.health_at_last["worker"]["alive"] is not False, "null until it has run something"
    assert story.last["status"] == "success"


# --- the same package, or the same database, twice


def test_a_package_that_is_there_twice_is_installed_once_and_says_so(host_kind: str, tmp_path: Path) -> None:
    host = Host(host_kind, tmp_path / "twice")
    copy_package(host.custom_nodes / "a-copy-of-run-recorder")
    try:
        host.start()
        assert any("twice" in str(p) or "a-copy-of-run-recorder" in str(p) for p in host.health()["problems"])
        assert "run-recorder" in host.log_text()
        graph = Graph()
        graph.save(graph.slow(0.2, graph.image()), "shot/a")
        graph.marker()
        record = host.run(graph)
        assert record["status"] == "success"
        assert [n["node_id"] for n in host.nodes(record["prompt_id"])] == sorted("1234") or len(
            host.nodes(record["prompt_id"])
        ) == len({n["node_id"] for n in host.nodes(record["prompt_id"])})
        assert record["node_counts"] == {"total": 4, "executed": 4, "cached": 0}
        assert host.marker("shot/a.done")["FrameCount"] == 1
        assert len(record["markers"]) == 1
        assert host.run(failing("shot/a"))["status"] == "error"
    finally:
        host.stop()
    assert REPO.exists()


def test_two_servers_on_one_database_record_in_turns(tmp_path: Path) -> None:
    """Both begin with an empty database, so that what is numbered is numbered by both."""
    one, two = (Host("embedded", tmp_path / "both") for _ in range(2))
    try:
        one.start()
        two.start()
        two.run(saved("first/a", marker={}))
        running = one.queue(slow_then_saved("running/a", 30))
        one.until_running(running, "slow")
        two.until(lambda: two.get(f"/telemetry/prompts/{running}")[0] == 200, 2)
        one.interrupt()
        assert one.wait(running)["status"] == "interrupted"
        for number, host in enumerate((two, one, one, two, one)):
            record = host.run(saved(f"turns/a{number}", marker={}))
            assert record["status"] == "success"
            for other in (one, two):
                assert other.record(record["prompt_id"]) == record
        assert [host.health()["problems"] for host in (one, two)] == [[], []]
    finally:
        one.stop()
        two.stop()


def test_two_servers_on_one_database_leave_each_others_prompts_alone(tmp_path: Path) -> None:
    one, two = (Host("embedded", tmp_path / "both") for _ in range(2))
    try:
        one.start()
        first = one.queue(slow_then_saved("one/a", 12))
        one.until_running(first, "slow")
        two.start()
        assert two.record(first)["status"] == "running"
        status, record = two.get(f"/telemetry/prompts/{first}/wait?timeout=0.2")
        assert (status, record["status"]) == (202, "running"), "another server's, and it has not ended"
        second = two.run(saved("two/a", marker={}))
        assert one.record(second["prompt_id"])["status"] == "success"
        assert two.wait(first)["status"] == one.wait(first)["status"] == "success"
        third = one.queue(slow_then_saved("three/a", 60))
        one.until_running(third, "slow")
        time.sleep(0.5)
        assert two.record(third)["status"] == "running"
        one.kill()
        assert two.run(saved("four/a", marker={}))["status"] == "success"
        assert two.restart().record(third)["status"] == "abandoned"
        assert two.markers_in("three") == ["a.failed"]
    finally:
        one.stop()
        two.stop()
