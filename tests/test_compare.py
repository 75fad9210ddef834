"""Two prompts of one server beside each other: by the route, and by the command."""

import json
import uuid

import pytest

from .graphs import Graph
from .hosts import Host, cli


def picture(prefix: str, color: int, size: int = 16, words: str = "a cat") -> Graph:
    graph = Graph()
    image = graph.add("EmptyImage", width=size, height=16, batch_size=1, color=color)
    graph.add("ProbeString", text=words)
    graph.save(image, prefix)
    return graph


def test_two_prompts_are_compared_the_older_one_first(host: Host, folder: str) -> None:
    older = host.run(picture(f"{folder}/a", 0))["prompt_id"]
    newer = host.run(picture(f"{folder}/b", 0x010203, words="a dog"))["prompt_id"]
    host.until(lambda: host.record(newer)["environment_id"], 20)
    status, told = host.get(f"/telemetry/compare?a={newer}&b={older}")
    assert status == 200
    assert (told["before"]["prompt_id"], told["after"]["prompt_id"]) == (older, newer)
    assert (told["same_workflow"], told["same_settings"]) == (True, False)
    assert told["settings"] == [
        {"node_id": "1", "class_type": "EmptyImage", "input": "color", "before": 0, "after": 0x010203}
    ]
    assert (told["environment"], told["notes"]) == ([], [])
    assert {one["what"] for one in told["figures"]} >= {"duration_seconds", "process_rss_peak_bytes"}
    assert {one["class_type"] for one in told["nodes"]} >= {"EmptyImage", "SaveImage"}
    (shown,) = told["pictures"]
    assert (shown["identical"], shown["pixels"], shown["pixels_different"]) == (False, 256, 256)
    assert (shown["greatest_difference"], shown["mean_difference"]) == (3, 1.5)
    assert "a cat" not in json.dumps(told)


def test_a_picture_that_was_made_again_is_identical(host: Host, folder: str) -> None:
    color = int(uuid.uuid4().hex[:6], 16)
    first = host.run(picture(f"{folder}/a", color))["prompt_id"]
    host.run(picture(f"{folder}/between", color ^ 1))
    again = host.run(picture(f"{folder}/c", color, words="other words in the file"))["prompt_id"]
    (shown,) = host.get(f"/telemetry/compare?a={first}&b={again}")[1]["pictures"]
    assert (shown["identical"], shown["pixels_different"], shown["note"]) == (True, 0, None)


def test_bad_questions_are_answered_with_what_is_wrong(host: Host, folder: str) -> None:
    known = host.run(picture(f"{folder}/a", 1))["prompt_id"]
    for query, status, parameter in (
        (f"a={known}&b=never", 404, "prompt_id"),
        (f"a={known}&b={known}&b_run=7", 404, "prompt_id"),
        (f"a={known}", 400, "b"),
        (f"a=&b={known}", 400, "a"),
        (f"a={known}&b={known}&a_run=0", 400, "a_run"),
        (f"a={known}&b={known}&c=1", 400, "c"),
    ):
        found, told = host.get(f"/telemetry/compare?{query}")
        assert (found, told["error"]["field"]) == (status, parameter), query
    status, told = host.get(f"/telemetry/compare?a={known}&b={known}")
    assert (status, told["same_settings"], told["settings"]) == (200, True, [])


def test_the_command_prints_what_differs(host: Host, folder: str) -> None:
    older = host.run(picture(f"{folder}/a", 2))["prompt_id"]
    newer = host.run(picture(f"{folder}/b", 3, size=24))["prompt_id"]
    at = ("--comfyui", host.url)
    shown = cli("compare", newer, older, *at, env={"COLUMNS": "200"})
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.index(f"Before: {older}") < shown.stdout.index(f"After: {newer}")
    for words in ("Settings", "color", "width", "Figures", "Pictures", "16 x 16 before, 24 x 16 after"):
        assert words in shown.stdout
    told = json.loads(cli("compare", older, newer, "--json", *at).stdout)
    assert told == host.get(f"/telemetry/compare?a={older}&b={newer}")[1]
    assert cli("compare", older, "never", *at).returncode == 2


@pytest.mark.parametrize("parameter", ["workflow", "settings", "environment", "instance"])
def test_prompts_are_listed_by_what_they_have_in_common(host: Host, folder: str, parameter: str) -> None:
    prompt_id = host.run(picture(f"{folder}/a", 5))["prompt_id"]
    host.until(lambda: host.record(prompt_id)["environment_id"], 20)
    record = host.record(prompt_id)
    value = {
        "workflow": record["workflow_fingerprint"],
        "settings": record["settings_fingerprint"],
        "environment": record["environment_id"],
        "instance": record["instance"]["id"],
    }[parameter]
    listed = host.get(f"/telemetry/prompts?{parameter}={value}")[1]["items"]
    assert prompt_id in [one["prompt_id"] for one in listed]
    assert host.get(f"/telemetry/prompts?{parameter}={value[:-1]}")[1]["items"] == []
    at = ("--comfyui", host.url)
    told = json.loads(cli("prompts", "list", f"--{parameter}", value, "--json", *at).stdout)
    assert prompt_id in [one["prompt_id"] for one in told["items"]]
