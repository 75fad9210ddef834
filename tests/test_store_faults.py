"""A store that can't be written costs no prompt: records wait in memory, health says so, and they are written later."""

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .graphs import saved, slow_then_saved
from .hosts import Host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    found = Host("embedded", tmp_path)
    yield found
    found.stop()


def database(host: Host) -> Path:
    (path,) = (host.base / "user").rglob("run-recorder.sqlite3")
    return path


def problems(host: Host) -> set[str]:
    return {problem["what"] for problem in host.health()["problems"]}


def renders(host: Host, prefix: str) -> str:
    prompt_id = host.queue(saved(prefix, marker={}))
    assert host.wait_history(prompt_id)["status"]["status_str"] == "success"
    return prompt_id


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def test_a_locked_database_holds_up_neither_markers_nor_wait_and_loses_nothing(host: Host) -> None:
    host.start()
    host.run(saved("shot/a", marker={}))
    with locked(database(host)):
        prompt_ids = [renders(host, f"shot/b{number}") for number in range(5)]
        host.until(lambda: "store" in problems(host))
        for number, prompt_id in enumerate(prompt_ids):
            assert host.wait(prompt_id, 20)["status"] == "success"
            assert host.marker(f"shot/b{number}.done")["PromptId"] == prompt_id
        listed = host.get("/telemetry/prompts")[1]["items"]
        assert [item["prompt_id"] for item in listed[:5]] == prompt_ids[::-1]
        assert all(item["status"] == "success" for item in listed)
    host.until(lambda: not problems(host))
    for prompt_id in prompt_ids:
        assert host.record(prompt_id)["status"] == "success"
    assert host.health()["store"]["dropped"] == 0


def test_what_was_told_while_the_database_was_locked_outlives_a_kill(host: Host) -> None:
    host.start()
    host.run(saved("shot/a", marker={}))
    with locked(database(host)):
        ended = renders(host, "shot/b")
        assert host.wait(ended, 20)["status"] == "success"
        waiting = [host.queue(slow_then_saved(f"shot/c{number}", 60)) for number in range(3)]
        host.kill()
    host.restart()
    host.until(lambda: not problems(host))
    assert host.record(ended)["status"] == "success"
    assert host.record(ended)["markers"][0]["status"] == "success"
    assert [host.wait(prompt_id, 10)["status"] for prompt_id in waiting] == ["abandoned"] * 3
    assert host.get("/telemetry/prompts")[1]["items"][-1]["markers"][0]["path"] == "shot/a.done"
    assert len(host.get("/telemetry/prompts")[1]["items"]) == 5, "each once"


def test_a_prompt_accepted_before_the_store_is_open_outlives_a_kill(host: Host) -> None:
    host.start()
    host.run(saved("shot/a", marker={}))
    host.stop()
    with locked(database(host)):
        host.start()
        accepted = [host.queue(slow_then_saved(f"shot/b{number}", 60)) for number in range(5)]
        host.kill()
    host.restart()
    host.until(lambda: not problems(host))
    assert [host.wait(prompt_id, 10)["status"] for prompt_id in accepted] == ["abandoned"] * 5


def test_a_database_that_is_locked_at_the_start_is_opened_when_it_can_be(host: Host) -> None:
    host.start()
    first = host.run(saved("shot/a", marker={}))
    host.stop()
    with locked(database(host)):
        host.start()
        host.until(lambda: "store" in problems(host))
        prompt_id = renders(host, "shot/b")
        listed = host.get("/telemetry/prompts")[1]["items"]
        assert [item["prompt_id"] for item in listed] == [prompt_id]
    assert host.wait(prompt_id, 20)["status"] == "success"
    host.until(lambda: not problems(host))
    listed = host.get("/telemetry/prompts")[1]["items"]
    assert [item["prompt_id"] for item in listed] == [prompt_id, first["prompt_id"]]


def test_a_database_of_a_newer_version_is_left_alone(host: Host) -> None:
    host.start()
    host.run(saved("shot/a", marker={}))
    host.stop()
    with contextlib.closing(sqlite3.connect(database(host))) as connection:
        connection.execute("UPDATE run_recorder_version SET version_num = '9999'")
        connection.commit()
    host.start()
    prompt_id = renders(host, "shot/b")
    (problem,) = [problem for problem in host.health()["problems"] if problem["what"] == "store"]
    assert "9999" in problem["hint"]
    assert host.get(f"/telemetry/prompts/{prompt_id}")[0] == 200
    status, answer = host.get("/telemetry/prompts/4c7e0b5e-0000-4000-8000-000000000000")
    assert (status, answer["error"]["type"]) == (503, "unavailable"), "it may be in there: unknown is not 404"
    host.stop()
    with contextlib.closing(sqlite3.connect(database(host))) as connection:
        assert connection.execute("SELECT count(*) FROM prompts").fetchone() == (1,)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a small tmpfs, which only root may")
def test_a_full_disk_keeps_records_in_memory_until_there_is_room(host: Host, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount a tmpfs")
    try:
        host.env["RUN_RECORDER_DATABASE_URL"] = f"sqlite:///{small / 'records.sqlite3'}"
        host.start()
        host.run(saved("shot/a", marker={}))
        filler = small / "filler"
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(b"\0" * 4096)
                file.flush()
        prompt_ids = []
        for number in range(200):
            prompt_ids.append(renders(host, f"shot/b{number}"))
            if "store" in problems(host):
                break
        assert "store" in problems(host)
        filler.unlink()
        for prompt_id in prompt_ids:
            assert host.wait(prompt_id, 30)["status"] == "success"
        host.until(lambda: not problems(host))
        assert host.health()["store"]["dropped"] == 0
    finally:
        host.stop()
        subprocess.run(["umount", str(small)], check=False)
