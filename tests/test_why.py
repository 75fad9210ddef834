"""Why a prompt took what it took, or failed: by the route, and by the command, on a server."""

import json
import time
import uuid
from typing import Any

import pytest

from .graphs import Graph, failing
from .hosts import Host, cli


def slow(seconds: float) -> Graph:
    """What is cached of it is made anew by its words, which are no setting."""
    graph = Graph()
    words = graph.add("ProbeString", text=uuid.uuid4().hex)
    graph.add("PreviewAny", source=graph.add("ProbeSlow", source=words, seconds=seconds, steps=2, salt=0.5))
    return graph


def why(host: Host, prompt_id: str) -> Any:
    status, told = host.get(f"/telemetry/prompts/{prompt_id}/why")
    assert status == 200, told
    return told


@pytest.fixture(scope="module")
def six(shared_host: Host) -> list[str]:
    """Six runs of one workflow with the same settings, each of which runs all of its nodes."""
    seconds = 0.2 + int(uuid.uuid4().hex[:4], 16) / 1e6
    return [shared_host.run(slow(seconds))["prompt_id"] for _ in range(6)]


def test_what_is_usual_is_known_after_five_runs(host: Host, six: list[str]) -> None:
    assert [why(host, prompt_id)["verdict"] for prompt_id in six[:5]] == ["too few runs"] * 5
    told = why(host, six[5])
    assert told["usual"]["runs"] == 5
    low, high = told["usual"]["interval"]
    assert 0.2 <= low <= told["usual"]["median"] <= high
    assert told["ratio"] == pytest.approx(host.record(six[5])["duration_seconds"] / told["usual"]["median"], rel=1e-3)
    assert told["verdict"] in ("usual", "slower", "faster")
    assert told["notes"] == []


def test_settings_that_ask_for_more_are_a_reason(host: Host, six: list[str]) -> None:
    prompt_id = host.run(slow(1.5))["prompt_id"]
    told = why(host, prompt_id)
    assert told["verdict"] == "too few runs"
    (reason,) = [one for one in told["reasons"] if one["kind"] == "more_work"]
    (changed,) = reason["evidence"].items()
    assert changed[0] == "2.seconds" and changed[1][0] < 0.3 and changed[1][1] == 1.5
    assert told["nodes"][0]["class_type"] == "ProbeSlow"
    shown = cli("why", prompt_id, "--comfyui", host.url, env={"COLUMNS": "200"})
    assert shown.returncode == 0, shown.stderr
    assert "too few runs" in shown.stdout and "[more_work]" in shown.stdout and "Nodes that carry it" in shown.stdout
    assert json.loads(cli("why", prompt_id, "--json", "--comfyui", host.url).stdout) == told


def test_a_failed_one_says_what_failed(host: Host, folder: str) -> None:
    told = why(host, host.run(failing(f"{folder}/a", "it broke"))["prompt_id"])
    (reason,) = told["reasons"]
    assert (told["verdict"], reason["kind"]) == ("failed", "node_error")
    assert "ProbeFail" in reason["text"] and "it broke" in reason["text"]
    memory = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 24.00 GiB"
    (reason,) = why(host, host.run(failing(f"{folder}/b", memory))["prompt_id"])["reasons"]
    assert reason["kind"] == "out_of_memory"
    assert reason["evidence"]["asked_bytes"] == [None, 2 * 2**30]


def test_a_running_one_has_no_verdict_and_an_unknown_one_is_not_found(host: Host) -> None:
    prompt_id = host.queue(slow(20.0))
    host.until_running(prompt_id)
    told = why(host, prompt_id)
    assert (told["verdict"], told["ratio"], told["reasons"]) == (None, None, [])
    host.interrupt()
    host.wait(prompt_id)
    assert [one["kind"] for one in why(host, prompt_id)["reasons"]] == ["interrupted"]
    assert host.get(f"/telemetry/prompts/{uuid.uuid4()}/why")[0] == 404
    assert cli("why", str(uuid.uuid4()), "--comfyui", host.url).returncode == 2


def test_it_is_answered_soon(host: Host, six: list[str], figures: list[str]) -> None:
    began = time.perf_counter()
    for _ in range(5):
        why(host, six[5])
    figures.append(f"why: {(time.perf_counter() - began) / 5 * 1000:.1f} ms")


def test_a_report_is_markdown_with_nothing_private_in_it(host: Host, folder: str) -> None:
    words = f"private{uuid.uuid4().hex[:8]}"
    graph = failing(f"{folder}/{words}", f"it broke at /home/{words}/x with token=sk-{words}0123456789abcdef")
    graph.add("ProbeString", text=words, title=words)
    extra = {"extra_pnginfo": {"workflow": {"name": words}}}
    prompt_id = host.run(graph, client_id=words, extra_data=extra)["prompt_id"]
    host.until(lambda: host.record(prompt_id)["environment_id"], 20)
    reply = host.request("GET", f"/telemetry/prompts/{prompt_id}/report")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/markdown; charset=utf-8")
    text = reply.body if isinstance(reply.body, str) else reply.body.decode()
    assert words not in text and str(host.base) not in text
    for part in ("## Error", "`probe_pack", "## Environment", "## Conditions", "| `fail` | `ProbeFail` |"):
        assert part in text, text
    assert len(text.splitlines()) < 60
    shown = cli("report", prompt_id[:13], "--comfyui", host.url)
    assert (shown.returncode, shown.stdout.split()) == (0, text.split())
    assert (
        json.loads(cli("report", prompt_id, "--json", "--comfyui", host.url).stdout)["report"].split() == text.split()
    )
    assert host.get(f"/telemetry/prompts/{uuid.uuid4()}/report")[0] == 404
