"""The HTTP API under /telemetry, on both hosts."""

import http.client
import json
import statistics
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote, urlencode

import jsonschema
import pytest
from openapi_spec_validator import validate

from .graphs import Graph, failing, saved, slow_then_saved
from .hosts import REPO, Host

GETS = {
    "/telemetry/health": "/telemetry/health",
    "/telemetry/environments/{id}": "/telemetry/environments/{environment_id}",
    "/telemetry/prompts": "/telemetry/prompts",
    "/telemetry/prompts/{prompt_id}": "/telemetry/prompts/{prompt_id}",
    "/telemetry/prompts/{prompt_id}/nodes": "/telemetry/prompts/{prompt_id}/nodes",
    "/telemetry/prompts/{prompt_id}/wait": "/telemetry/prompts/{prompt_id}/wait",
    "/telemetry/openapi.json": "/telemetry/openapi.json",
    "/telemetry/schema/{model}": "/telemetry/schema/prompt",
}
"""Documented path to an address that answers, with the fields of a record to fill in."""


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def listed(host: Host, **query: object) -> dict:
    status, body = host.get("/telemetry/prompts?" + urlencode(query, doseq=True))
    assert status == 200, body
    return body


def ids(page: dict) -> list[str]:
    return [item["prompt_id"] for item in page["items"]]


def slow(seconds: float) -> Graph:
    graph = Graph()
    graph.add("ProbeSlow", id="slow", seconds=seconds, steps=max(2, int(seconds * 10)), salt=time.time() % 1)
    return graph


@pytest.fixture
def record(host: Host, folder: str) -> dict:
    """The record of a small prompt that has ended well."""
    return host.run(saved(f"{folder}/a", marker={}))


# --- every route


@pytest.mark.parametrize("root", ["", "/api"])
@pytest.mark.parametrize("route", GETS)
def test_every_route_answers_json_with_the_version_and_without_paths(
    host: Host, record: dict, route: str, root: str
) -> None:
    reply = host.request("GET", root + GETS[route].format(**record))
    assert reply.status == 200
    assert reply.headers["Content-Type"].split(";")[0] == "application/json"
    assert reply.headers["X-Run-Recorder-Version"] == host.health()["version"]
    text = json.dumps(reply.body)
    for path in (str(host.base), str(REPO), str(Path.home())):
        assert path not in text
    assert "/tmp/" not in text


def test_each_setting_that_cannot_be_used_is_a_problem_by_its_name(start_host: Callable[..., Host]) -> None:
    given = {"KEEP_PROMPTS": "many", "KEEP_DAY": "30", "SENTINEL": "perhaps", "TOKEN": "t\u00f6ken"}
    host = start_host(env={f"RUN_RECORDER_{name}": value for name, value in given.items()})
    assert host.get("/telemetry/prompts")[0] == 401, "nobody has that token"
    assert set(host.get("/telemetry/health")[1]) == {"status", "version"}
    said = host.log_text()
    for name, why in (
        ("KEEP_PROMPTS", "KEEP_PROMPTS='many': give a whole number"),
        ("KEEP_DAY", "is RUN_RECORDER_KEEP_DAYS meant?"),
        ("SENTINEL", "on, 1, true, yes"),
        ("TOKEN", "every request is refused meanwhile"),
    ):
        assert f"setting RUN_RECORDER_{name}: " in said and why in said
    assert "ken" not in said.partition("setting RUN_RECORDER_TOKEN")[2].partition("\n")[0].replace("TOKEN", "")


def test_health_has_the_shape_of_the_contract(host: Host, record: dict) -> None:
    health = host.health()
    assert health["status"] == ("degraded" if health["problems"] else "ok")
    assert set(health) >= {"version", "worker", "comfyui_version", "seams", "store", "sampler"}
    assert health["worker"]["alive"] is True
    assert health["worker"]["died_in"] is None
    assert health["comfyui_version"].startswith(".".join(map(str, host.version)))
    assert health["seams"]
    assert all(seam["installed"] for seam in health["seams"].values()), health["seams"]
    assert all(health["seams"][name]["last_seen"] for name in ("put", "add_message", "task_done"))
    assert health["store"]["backend"] == "sqlite"
    assert health["store"]["prompts"] >= 1
    assert health["store"]["bytes"] > 0
    assert health["store"]["dropped"] == 0


def test_openapi_is_valid_and_documents_every_route(host: Host) -> None:
    document = host.get("/telemetry/openapi.json")[1]
    validate(document)
    assert document["openapi"].startswith("3.1")
    documented = {path.replace("{environment_id}", "{id}"): set(item) for path, item in document["paths"].items()}
    assert set(GETS) <= set(documented)
    assert all("get" in documented[path] for path in GETS)
    assert {"get", "delete"} <= documented["/telemetry/prompts"] & documented["/telemetry/prompts/{prompt_id}"]
    names = {p["name"] for p in document["paths"]["/telemetry/prompts"]["get"]["parameters"]}
    assert names >= {"status", "since", "until", "q", "class_type", "output", "limit", "cursor"}
    wait = document["paths"]["/telemetry/prompts/{prompt_id}/wait"]["get"]
    assert {"200", "202", "400", "404"} <= set(wait["responses"])


def test_what_is_served_fits_the_schemas(host: Host, record: dict, folder: str) -> None:
    def check(model: str, value: object) -> None:
        status, schema = host.get(f"/telemetry/schema/{model}")
        assert status == 200
        jsonschema.Draft202012Validator.check_schema(schema)
        checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
        jsonschema.Draft202012Validator(schema, format_checker=checker).validate(value)

    error = host.run(failing(f"{folder}/b"))
    running = host.queue(slow_then_saved(f"{folder}/c", 20))
    waiting = host.queue(saved(f"{folder}/d"))
    now_running = host.until_running(running, "slow")
    for prompt in (record, error, now_running, host.record(waiting)):
        check("prompt", prompt)
    host.clear_queue()
    host.interrupt()
    for prompt_id in (running, waiting):
        check("prompt", host.wait(prompt_id))
    for prompt_id in (record["prompt_id"], error["prompt_id"], running):
        for node in host.nodes(prompt_id):
            check("node", node)
    check("health", host.health())
    check("environment", host.get(f"/telemetry/environments/{record['environment_id']}")[1])
    check("done_marker", host.marker(f"{folder}/a.done"))
    check("error", host.get("/telemetry/prompts/nosuch")[1])


def test_a_request_from_another_site_is_refused(host: Host, record: dict) -> None:
    for method, path in (("GET", "/telemetry/health"), ("DELETE", f"/telemetry/prompts/{record['prompt_id']}")):
        assert host.request(method, path, headers={"Origin": "http://evil.example"}).status == 403
    assert host.record(record["prompt_id"])["status"] == "success"


# --- bad input

BAD = [
    ("/telemetry/prompts?limit=0", "limit"),
    ("/telemetry/prompts?limit=501", "limit"),
    ("/telemetry/prompts?limit=-5", "limit"),
    ("/telemetry/prompts?limit=x", "limit"),
    ("/telemetry/prompts?limit=", "limit"),
    ("/telemetry/prompts?limit=1.5", "limit"),
    ("/telemetry/prompts?cursor=broken", "cursor"),
    ("/telemetry/prompts?cursor=AAAA", "cursor"),
    ("/telemetry/prompts?cursor=%00", "cursor"),
    ("/telemetry/prompts?since=yesterday", "since"),
    ("/telemetry/prompts?since=2026-13-01T00:00:00Z", "since"),
    ("/telemetry/prompts?until=5", "until"),
    ("/telemetry/prompts?status=done", "status"),
    ("/telemetry/prompts?status=success&status=x", "status"),
    ("/telemetry/prompts?q=" + "x" * 300, "q"),
    ("/telemetry/prompts?nosuch=1", "nosuch"),
    ("/telemetry/prompts/{id}?run=0", "run"),
    ("/telemetry/prompts/{id}?run=x", "run"),
    ("/telemetry/prompts/{id}/nodes?run=-1", "run"),
    ("/telemetry/prompts/{id}/wait?timeout=-1", "timeout"),
    ("/telemetry/prompts/{id}/wait?timeout=1e9", "timeout"),
    ("/telemetry/prompts/{id}/wait?timeout=301", "timeout"),
    ("/telemetry/prompts/{id}/wait?timeout=x", "timeout"),
    ("/telemetry/prompts/{id}/wait?timeout=nan", "timeout"),
    ("/telemetry/prompts/{id}/wait?timeout=inf", "timeout"),
]


@pytest.mark.parametrize(("path", "field"), BAD)
def test_bad_input_is_an_error_that_names_the_parameter(host: Host, path: str, field: str) -> None:
    status, body = host.get(path.replace("{id}", "any"))
    assert status == 400, body
    assert body["error"]["type"] == "invalid_parameter"
    assert body["error"]["field"] == field
    assert field in body["error"]["message"]
    assert len(body["error"]["message"]) < 1000


def test_a_message_says_what_was_given_and_what_is_accepted(host: Host) -> None:
    message = host.get("/telemetry/prompts?limit=9999")[1]["error"]["message"]
    assert "9999" in message
    assert "500" in message


@pytest.mark.parametrize("prompt_id", ["nosuch", "00000000-0000-0000-0000-000000000000", "a b", "%", "ü", "x" * 200])
@pytest.mark.parametrize("route", ["", "/nodes", "/wait?timeout=0"])
def test_an_unknown_prompt_is_not_found(host: Host, prompt_id: str, route: str) -> None:
    status, body = host.get(f"/telemetry/prompts/{quote(prompt_id, safe='')}{route}")
    assert status == 404
    assert body["error"]["type"] == "not_found"
    assert isinstance(body["error"]["message"], str)


@pytest.mark.parametrize("prompt_id", ["x" * 201, "x" * 5000, "\0", "../..", "'; DROP TABLE prompts; --", "\ud7ff%F0"])
def test_a_strange_id_is_never_a_fault_of_the_server(host: Host, prompt_id: str) -> None:
    before = host.health()["problems"]
    status, body = host.get(f"/telemetry/prompts/{quote(prompt_id, safe='')}")
    assert status in (400, 404)
    assert not isinstance(body, dict) or body["error"]["type"] in ("not_found", "invalid_parameter")
    assert host.health()["problems"] == before


@pytest.mark.parametrize("path", ["environments/nosuch", "schema/nosuch"])
def test_an_unknown_thing_is_not_found_as_json(host: Host, path: str) -> None:
    status, body = host.get(f"/telemetry/{path}")
    assert (status, body["error"]["type"]) == (404, "not_found")


# --- the list


@pytest.fixture(scope="module")
def seven(shared_host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[dict]]]:
    """A moment, and seven prompts queued after it, oldest first."""
    folder = f"seven-{time.time_ns()}"
    moment = now()
    time.sleep(0.01)
    made = [shared_host.run(saved(f"{folder}/file{n}")) for n in range(3)]
    made += [shared_host.run(failing(f"{folder}/never")) for _ in range(2)]
    made += [shared_host.run(slow(0.02)) for _ in range(2)]
    yield moment, made


def test_the_list_is_newest_first_and_pages_without_gap_or_repetition(host: Host, seven: tuple) -> None:
    since, made = seven
    expected = [record["prompt_id"] for record in reversed(made)]
    until = made[-1]["queued_at"]
    until = (datetime.fromisoformat(until.replace("Z", "+00:00")) + timedelta(milliseconds=1)).isoformat()
    assert ids(listed(host, since=since, until=until)) == expected
    seen: list[str] = []
    query: dict[str, object] = {"since": since, "until": until, "limit": 2}
    while True:
        page = listed(host, **query)
        seen += ids(page)
        assert len(page["items"]) <= 2
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == expected


def test_pages_stay_whole_while_new_prompts_arrive(host: Host, seven: tuple) -> None:
    since, made = seven
    page = listed(host, since=since, limit=4)
    for _ in range(3):
        host.run(slow(0.01))
    rest = listed(host, since=since, limit=500, cursor=page["next_cursor"])
    together = ids(page) + ids(rest)
    assert len(together) == len(set(together))
    assert {record["prompt_id"] for record in made} <= set(together)


def test_items_of_the_list_are_whole_records(host: Host, seven: tuple) -> None:
    since, made = seven
    by_id = {item["prompt_id"]: item for item in listed(host, since=since)["items"]}
    for record in made:
        assert by_id[record["prompt_id"]] == host.record(record["prompt_id"])


FILTERS: dict[str, tuple[dict, Callable[[list], list]]] = {
    "by status": ({"status": "error"}, lambda made: made[3:5]),
    "by two statuses": ({"status": ["error", "success"]}, lambda made: made),
    "by class": ({"class_type": "ProbeFail"}, lambda made: made[3:5]),
    "by a class that none has": ({"class_type": "Probe"}, lambda made: []),
    "by file": ({"output": "file1_00001_.png"}, lambda made: made[1:2]),
    "by words: an output": ({"q": "file2_0"}, lambda made: made[2:3]),
    "by words: a class": ({"q": "EmptyIm"}, lambda made: made[:5]),
    "by words that mean something to SQL": ({"q": "%"}, lambda made: []),
    "by status and class": ({"status": "success", "class_type": "SaveImage"}, lambda made: made[:3]),
}


@pytest.mark.parametrize("name", FILTERS)
def test_the_list_filters(host: Host, seven: tuple, name: str) -> None:
    query, chosen = FILTERS[name]
    since, made = seven
    found = ids(listed(host, since=since, **query))
    mine = [i for i in found if i in {record["prompt_id"] for record in made}]
    assert mine == [record["prompt_id"] for record in reversed(chosen(made))]


def test_the_list_finds_a_prompt_by_its_id_and_by_time(host: Host, seven: tuple) -> None:
    since, made = seven
    wanted = made[4]["prompt_id"]
    assert ids(listed(host, q=wanted)) == [wanted]
    assert ids(listed(host, q=wanted[:13])) == [wanted]
    later = listed(host, since=made[5]["queued_at"])
    assert wanted not in ids(later)
    assert made[6]["prompt_id"] in ids(later)
    assert not {r["prompt_id"] for r in made} & set(ids(listed(host, until=since)))
    offset = since.replace("Z", "+00:00")
    assert ids(listed(host, since=offset)) == ids(listed(host, since=since))


def test_a_prompt_that_runs_and_one_that_waits_are_listed(host: Host, folder: str) -> None:
    since = now()
    running = host.queue(slow(20))
    waiting = host.queue(slow(0.01))
    host.until_running(running)
    assert ids(listed(host, since=since)) == [waiting, running]
    assert ids(listed(host, since=since, status="running")) == [running]
    assert ids(listed(host, since=since, status="queued")) == [waiting]
    host.clear_queue()
    host.interrupt()


# --- wait


def test_wait_answers_202_when_the_time_is_up(host: Host) -> None:
    prompt_id = host.queue(slow(20))
    host.until_running(prompt_id, "slow")
    for timeout in (0, 0.5):
        began = time.monotonic()
        status, body = host.get(f"/telemetry/prompts/{prompt_id}/wait?timeout={timeout}")
        took = time.monotonic() - began
        assert (status, body["status"]) == (202, "running")
        assert timeout - 0.05 <= took < timeout + 0.5
    host.interrupt()
    assert host.wait(prompt_id, 5)["status"] == "interrupted"


def test_wait_answers_at_once_for_a_prompt_that_has_ended(host: Host, record: dict) -> None:
    began = time.monotonic()
    assert host.wait(record["prompt_id"], 300) == record
    assert time.monotonic() - began < 0.5


def test_wait_begun_while_queued_answers_at_the_end_with_the_marker_on_disk(host: Host, folder: str) -> None:
    first = host.queue(slow(0.5))
    prompt_id = host.queue(slow_then_saved(f"{folder}/a", 0.3))
    record = host.wait(prompt_id)
    assert host.path(f"{folder}/a.done").exists()
    assert record["status"] == "success"
    assert [m["status"] for m in record["markers"]] == ["success"]
    assert host.record(first)["status"] == "success"


def test_many_wait_at_once_and_all_are_told(host: Host) -> None:
    prompt_id = host.queue(slow(1))
    answers: list[tuple[str, float]] = []

    def waiter() -> None:
        answers.append((host.wait(prompt_id)["status"], time.time()))

    threads = [threading.Thread(target=waiter) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    ended = seconds_of(host.record(prompt_id)["ended_at"])
    assert [status for status, _ in answers] == ["success"] * 40
    assert max(at for _, at in answers) - ended < 2


def test_every_answer_passes_comfyui_s_middleware_and_obeys_it(start_host: Callable[..., Host]) -> None:
    origin = "https://farm.example"
    host = start_host(flags=["--enable-cors-header", origin, "--enable-compress-response-body"])
    prompt_id = host.queue(slow_then_saved("shot/a", 0.5))
    headers = {"Origin": origin, "Accept-Encoding": "gzip"}
    paths = [f"/telemetry/prompts/{prompt_id}/wait", "/telemetry/prompts", "/telemetry/health", "/telemetry/nowhere"]
    for path in paths:
        reply = host.request("GET", path, headers=headers)
        assert reply.headers["Access-Control-Allow-Origin"] == origin, path
        assert reply.headers["X-Run-Recorder-Version"], path
        assert reply.headers["Content-Encoding"] == "gzip", path
    request = urllib.request.Request(host.url + "/telemetry/events", headers={**headers, "Last-Event-ID": "0"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert answer.headers["X-Run-Recorder-Version"]
        assert answer.read(20).startswith(b": run-recorder")


def test_a_client_that_hangs_up_while_waiting_harms_nobody(host: Host) -> None:
    before = host.health()["problems"]
    prompt_id = host.queue(slow(1))
    for _ in range(5):
        connection = http.client.HTTPConnection("127.0.0.1", host.port)
        connection.request("GET", f"/telemetry/prompts/{prompt_id}/wait")
        connection.close()
    assert host.wait(prompt_id)["status"] == "success"
    assert host.health()["problems"] == before


def test_a_long_prompt_is_told_as_soon_as_a_short_one(host: Host, figures: list[str]) -> None:
    def told_after(seconds: float) -> float:
        """From the end of the last node, by the recorder's clock, to the answer."""
        prompt_id = host.queue(slow(seconds))
        host.wait(prompt_id)
        told = time.time()
        (node,) = host.nodes(prompt_id)
        return told - (seconds_of(node["started_at"]) + node["duration_seconds"])

    short = statistics.median(told_after(0.2) for _ in range(5))
    long = told_after(11)
    figures.append(f"{host.kind}: told {short * 1000:.1f} ms after a prompt of 0.2 s, {long * 1000:.1f} ms after 11 s")
    assert short < 0.1
    assert long < 0.15


@pytest.mark.parametrize("route", ["", "/wait?timeout=0", "/nodes"])
def test_a_prompt_is_known_as_soon_as_it_is_posted(host: Host, route: str) -> None:
    tries = 1000 if host.kind == "embedded" and not route else 200
    graph = Graph()
    graph.add("ProbeSilentSaver", filename_prefix="unused", count=0)
    payload = json.dumps({"prompt": graph})
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=30)
    last = ""
    for _ in range(tries):
        connection.request("POST", "/prompt", payload, {"Content-Type": "application/json"})
        last = json.loads(connection.getresponse().read())["prompt_id"]
        connection.request("GET", f"/telemetry/prompts/{last}{route}")
        answer = connection.getresponse()
        answer.read()
        assert answer.status in (200, 202)
    connection.close()
    assert host.wait(last)["status"] == "success"


def test_a_prompt_is_in_the_list_as_soon_as_it_is_posted(host: Host) -> None:
    running = host.queue(slow(60))
    host.until_running(running, "slow")
    missing = []
    for number in range(100):
        prompt_id = host.queue(slow(0.01))
        if prompt_id not in ids(listed(host, limit=5)):
            missing.append(number)
    host.clear_queue()
    host.interrupt()
    assert missing == []


# --- delete


def test_a_prompt_that_has_ended_can_be_deleted_once(host: Host, record: dict) -> None:
    path = f"/telemetry/prompts/{record['prompt_id']}"
    assert host.delete(path) == (204, None)
    assert host.delete(path)[0] == 404
    for route in ("", "/nodes", "/wait"):
        assert host.get(path + route)[0] == 404
    assert record["prompt_id"] not in ids(listed(host))


def test_a_prompt_that_waits_or_runs_cannot_be_deleted(host: Host) -> None:
    running, waiting = host.queue(slow(20)), host.queue(slow(0.01))
    host.until_running(running)
    for prompt_id in (running, waiting):
        status, body = host.delete(f"/telemetry/prompts/{prompt_id}")
        assert (status, body["error"]["type"]) == (409, "conflict")
    assert host.delete(f"/telemetry/prompts?until={now()}") == (204, None)
    assert [host.record(i)["status"] for i in (running, waiting)] == ["running", "queued"]
    host.clear_queue()
    host.interrupt()
    host.wait(running, 10)


def test_many_are_deleted_by_time_only(host: Host) -> None:
    old = host.run(slow(0.01))
    time.sleep(0.01)
    until = now()
    time.sleep(0.01)
    new = host.run(slow(0.01))
    for query in ("", "?until=", "?until=soon", "?since=2020-01-01T00:00:00Z", f"?until={until}&all=1"):
        status, body = host.delete(f"/telemetry/prompts{query}")
        assert (status, body["error"]["type"]) == (400, "invalid_parameter"), query
    assert host.record(old["prompt_id"])
    assert host.delete(f"/telemetry/prompts?until={until}") == (204, None)
    assert host.get(f"/telemetry/prompts/{old['prompt_id']}")[0] == 404
    assert host.record(new["prompt_id"])["status"] == "success"


def test_reading_changes_nothing(host: Host, record: dict) -> None:
    for path in GETS.values():
        for method in ("POST", "PUT", "PATCH"):
            assert host.request(method, path.format(**record), {}).status in (404, 405)
    assert host.record(record["prompt_id"]) == record


# ---------------------------------------------------------------- the name under which it is asked


@pytest.mark.parametrize("prefix", ["", "/api"])
@pytest.mark.parametrize("path", ["/telemetry/health", "/telemetry/prompts", "/telemetry/", "/telemetry/events"])
def test_a_page_that_makes_its_name_mean_this_machine_is_refused(host: Host, prefix: str, path: str) -> None:
    strange = {"Host": "evil.example", "Origin": "http://evil.example"}
    answer = host.request("GET", prefix + path, headers=strange)
    assert answer.status == 403


def test_a_record_cannot_be_erased_under_a_strange_name(host: Host, folder: str) -> None:
    record = host.run(saved(f"{folder}/a"))
    path = f"/telemetry/prompts/{record['prompt_id']}"
    for name in ("evil.example", f"evil.example:{host.port}", "127.0.0.1.evil.example"):
        answer = host.request("DELETE", path, headers={"Host": name, "Origin": f"http://{name}"})
        assert answer.status == 403
    assert host.get(path)[0] == 200
    assert host.request("DELETE", path, headers={"Host": f"localhost:{host.port}"}).status == 204
