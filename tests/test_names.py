"""`PUT /telemetry/prompts/{prompt_id}/name` on a running server: the first name counts, and lasts."""

import http.client
import json
from typing import Any

import pytest

from .graphs import saved, slow_then_saved
from .hosts import Host

ACCEPTED = "1 to 200 characters"


def put(host: Host, prompt_id: str, name: Any, query: str = "") -> tuple[int, Any]:
    reply = host.request("PUT", f"/telemetry/prompts/{prompt_id}/name{query}", {"name": name})
    return reply.status, reply.body


def test_a_prompt_of_the_page_is_called_by_its_workflow_in_every_answer(host: Host, folder: str) -> None:
    prompt_id = host.queue(slow_then_saved(f"{folder}/a", 1.0))
    assert host.record(prompt_id)["name"] == f"{folder}/a", "until then by the prefix of its saver"
    status, told = put(host, prompt_id, f"Portrait {folder}")
    assert (status, told["workflow_name"], told["name"]) == (200, f"Portrait {folder}", f"Portrait {folder}")
    assert host.wait(prompt_id)["workflow_name"] == f"Portrait {folder}"
    found = host.get(f"/telemetry/prompts?q=portrait%20{folder}")[1]["items"]
    assert [one["prompt_id"] for one in found] == [prompt_id]


def test_the_first_name_counts(host: Host, folder: str) -> None:
    prompt_id = host.queue(saved(f"{folder}/a"))
    assert put(host, prompt_id, "first")[1]["name"] == "first"
    assert put(host, prompt_id, "second")[1]["name"] == "first"
    host.wait(prompt_id)
    assert put(host, prompt_id, "third")[1]["name"] == "first"
    own = host.queue(saved(f"{folder}/b"), extra_data={"extra_pnginfo": {"workflow": {"name": "its own"}}})
    assert put(host, own, "other")[1]["name"] == "its own"


def test_a_prompt_that_has_ended_is_named_too_and_one_run_of_an_id_alone(host: Host, folder: str) -> None:
    prompt_id = host.queue(saved(f"{folder}/a"))
    host.wait(prompt_id)
    again = host.queue(saved(f"{folder}/b"), prompt_id=prompt_id)
    assert again == prompt_id
    host.until(lambda: host.record(prompt_id, run=2)["status"] == "success")
    assert put(host, prompt_id, "of the first", "?run=1")[0] == 200
    assert [host.record(prompt_id, run=run)["workflow_name"] for run in (1, 2)] == ["of the first", None]


def test_a_name_outlives_a_kill(start_host: Any) -> None:
    host = start_host()
    running, waiting = host.queue(slow_then_saved("a", 60.0)), host.queue(saved("b"))
    for prompt_id in (running, waiting):
        assert put(host, prompt_id, f"named {prompt_id}")[0] == 200
    host.kill()
    host.restart()
    for prompt_id in (running, waiting):
        record = host.record(prompt_id)
        assert (record["status"], record["name"]) == ("abandoned", f"named {prompt_id}")


def test_the_name_is_told_to_those_who_read_events(host: Host, folder: str) -> None:
    prompt_id = host.queue(slow_then_saved(f"{folder}/a", 1.0))
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=20)
    connection.request("GET", f"/telemetry/events?prompt_id={prompt_id}")
    answer = connection.getresponse()
    put(host, prompt_id, "told")
    kind = ""
    for line in answer:
        if line.startswith(b"event: "):
            kind = line.decode().split(": ", 1)[1].strip()
        elif line.startswith(b"data: ") and kind == "prompt.named":
            assert json.loads(line[6:])["workflow_name"] == "told"
            break
    else:
        pytest.fail("no prompt.named")
    connection.close()


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "a\x00b", "x" * 201, 7, None, ["a"], {"a": 1}])
def test_a_name_that_is_none_is_refused_with_what_is_accepted(host: Host, folder: str, name: Any) -> None:
    prompt_id = host.queue(saved(f"{folder}/a"))
    status, told = put(host, prompt_id, name)
    assert (status, told["error"]["type"], told["error"]["field"]) == (400, "invalid_parameter", "name")
    assert ACCEPTED in told["error"]["message"]
    assert host.record(prompt_id)["workflow_name"] is None


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b'{"name": "a", "more": 1}', b'{"name": "\\ud800"}', b"\xff", b" " * 5000]
)
def test_a_body_that_is_none_is_refused(host: Host, folder: str, body: bytes) -> None:
    prompt_id = host.queue(saved(f"{folder}/a"))
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=20)
    connection.request("PUT", f"/telemetry/prompts/{prompt_id}/name", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    assert (answer.status, told["error"]["type"]) == (400, "invalid_parameter"), told
    assert ACCEPTED in told["error"]["message"]


def test_a_prompt_that_nobody_knows_has_no_name(host: Host) -> None:
    status, told = put(host, "nobody-knows", "a")
    assert (status, told["error"]["type"]) == (404, "not_found")


def test_the_openapi_document_says_what_is_sent(host: Host) -> None:
    told = host.get("/telemetry/openapi.json")[1]["paths"]["/telemetry/prompts/{prompt_id}/name"]["put"]
    assert told["requestBody"]["content"]["application/json"]["schema"]["required"] == ["name"]
    assert set(told["responses"]) >= {"200", "400", "404", "409"}


def test_nothing_of_it_goes_into_the_picture(host: Host, folder: str) -> None:
    prompt_id = host.queue(slow_then_saved(f"{folder}/a", 1.0))
    put(host, prompt_id, "a name that is nobody else's")
    host.wait(prompt_id)
    for picture in (host.output / folder).glob("*.png"):
        assert b"nobody else" not in picture.read_bytes()
