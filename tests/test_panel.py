"""The panel in a real browser: as a page of its own on both hosts, and in the sidebar of ComfyUI's own page."""

import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from .graphs import Graph, failing, saved, slow_then_saved
from .hosts import REPO, Host

PANEL = REPO / "web" / "panel"
HOSTILE = (
    "<img src=x onerror=attacked()>",
    "<script>attacked()</script>",
    '"><svg onload=attacked()>',
    "javascript:attacked()",
    "'-attacked()-'",
    "{{constructor.constructor('attacked()')()}}",
    "\u202egnp.exe\u202c",
    "</style><iframe srcdoc='<script>parent.attacked()</script>'>",
    "x" * 10_000,
)


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page with a session of its own; an error that nobody caught in it fails the test."""
    context = browser.new_context(viewport={"width": 900, "height": 800})
    context.set_default_timeout(20_000)
    made = context.new_page()
    faults: list[str] = []
    made.on("pageerror", lambda error: faults.append(str(error)))
    yield made
    context.close()
    assert not faults


def count_becomes(locator: Any, count: int, seconds: float = 20) -> None:
    from playwright.sync_api import expect

    expect(locator).to_have_count(count, timeout=seconds * 1000)


def url(host: Host, query: str = "") -> str:
    return f"http://127.0.0.1:{host.port}/telemetry/{query}"


def ended(host: Host, graph: Graph, **more: Any) -> dict:
    return host.wait(host.queue(graph, **more), 60)


def rows(page: Any) -> Any:
    return page.get_by_role("listbox").get_by_role("option")


def open_first(page: Any) -> None:
    rows(page).first.click()
    page.get_by_role("heading", level=2).wait_for()


# ---------------------------------------------------------------- what is served


def test_the_page_and_its_files_are_served_and_nothing_else(host: Host) -> None:
    reply = host.request("GET", "/telemetry/")
    assert reply.status == 200
    assert "default-src 'none'" in (PANEL / "index.html").read_text("utf-8")  # ComfyUI may set a header of its own
    for file in sorted(path.name for path in PANEL.iterdir()):
        reply = host.request("GET", f"/telemetry/panel/{file}")
        assert (reply.status, reply.headers["X-Content-Type-Options"]) == (200, "nosniff"), file
    assert host.request("GET", "/telemetry/panel/panel.js").headers["Content-Type"].startswith("text/javascript")
    for wrong in ("nothing.js", "..%2F..%2F__init__.py", "%2Fetc%2Fpasswd", "panel.js%00"):
        assert host.request("GET", f"/telemetry/panel/{wrong}").status in (400, 404), wrong


def test_the_address_without_its_slash_leads_there(host: Host) -> None:
    for path in ("/telemetry", "/api/telemetry"):
        with urllib.request.urlopen(f"http://127.0.0.1:{host.port}{path}", timeout=10) as answer:
            assert (answer.status, answer.url.endswith(f"{path}/")) == (200, True)


def test_a_file_that_is_known_is_not_sent_again(host: Host) -> None:
    tag = host.request("GET", "/telemetry/panel/panel.js").headers["ETag"]
    assert host.request("GET", "/telemetry/panel/panel.js", headers={"If-None-Match": tag}).status == 304


def test_all_of_it_is_small_and_asks_nobody_else() -> None:
    files = [*PANEL.iterdir(), *(REPO / "web" / "comfyui").iterdir()]
    assert sum(file.stat().st_size for file in files) < 120_000
    assert [file.name for file in (REPO / "web" / "comfyui").iterdir()] == ["run-recorder.js"]
    for file in files:
        text = file.read_text("utf-8")
        assert set(re.findall(r"https?://[^\s\"'`)]+", text)) <= {"http://www.w3.org/2000/svg"}, file.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text), (
            file.name
        )


def test_typescript_finds_no_fault_in_the_types() -> None:
    tsc = shutil.which("tsc")
    if tsc is None:
        pytest.skip("no TypeScript on this machine")
    done = subprocess.run([tsc, "-p", str(REPO / "web" / "jsconfig.json")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


# ---------------------------------------------------------------- from queueing to the finished prompt


def test_a_prompt_is_watched_from_the_queue_to_its_end(host: Host, page: Any, folder: str) -> None:
    page.goto(url(host))
    page.get_by_role("tab", name="Now").click()
    page.get_by_text("Nothing is running.").wait_for()
    prompt_id = host.queue(slow_then_saved(f"{folder}/a", 3.0))
    waiting = host.queue(saved(f"{folder}/b"))
    page.get_by_text("Waiting in the queue: 1").wait_for()
    page.get_by_role("progressbar", name="Nodes done").wait_for()
    page.get_by_role("progressbar", name="Step").wait_for()
    assert page.get_by_text(re.compile("Running for")).is_visible()
    host.wait(prompt_id, 60)
    host.wait(waiting, 60)
    page.get_by_text("Nothing is running.").wait_for()
    page.get_by_text("The queue is empty.").wait_for()


def test_a_new_prompt_comes_to_the_top_of_the_list_and_its_status_changes(host: Host, page: Any, folder: str) -> None:
    ended(host, saved(f"{folder}/first"))
    page.goto(url(host))
    rows(page).first.wait_for()
    before = rows(page).first.text_content()
    prompt_id = host.queue(slow_then_saved(f"{folder}/a", 1.5))
    page.locator(".row.running").wait_for()
    assert rows(page).first.text_content() != before
    host.wait(prompt_id, 60)
    count_becomes(page.locator(".row.running"), 0)
    assert "success" in (rows(page).first.text_content() or "")


def test_a_name_that_is_given_late_is_shown_at_once_wherever_the_prompt_is(host: Host, page: Any, folder: str) -> None:
    page.goto(url(host))
    past = ended(host, saved(f"{folder}/past"))["prompt_id"]
    rows(page).filter(has_text=f"{folder}/past").wait_for()
    running = host.queue(slow_then_saved(f"{folder}/running", 30.0))
    page.get_by_role("tab", name="Now").click()
    page.get_by_role("button", name=f"{folder}/running").wait_for()
    page.wait_for_timeout(500)  # all that the events before have let be asked for is answered
    for prompt_id, name in ((past, f"{folder} portrait"), (running, f"{folder} landscape")):
        host.request("PUT", f"/telemetry/prompts/{prompt_id}/name", {"name": name})
    page.get_by_role("button", name=f"{folder} landscape").wait_for()
    page.get_by_role("tab", name="History").click()
    rows(page).filter(has_text=f"{folder} portrait").wait_for()
    rows(page).filter(has_text=f"{folder} landscape").wait_for()
    host.interrupt()


def test_a_prompt_is_opened_and_its_node_times_add_up_to_the_records(host: Host, page: Any, folder: str) -> None:
    record = ended(host, slow_then_saved(f"{folder}/a", 0.5, marker={}))
    nodes = host.get(f"/telemetry/prompts/{record['prompt_id']}/nodes")[1]["items"]
    page.goto(url(host, f"?prompt={record['prompt_id']}"))
    table = page.locator("table.nodes tbody tr")
    table.first.wait_for()
    assert table.count() == len(nodes)
    shown = [seconds(text) for text in page.locator("table.nodes td:nth-child(3)").all_text_contents()]
    assert abs(sum(shown) - sum(node["duration_seconds"] or 0 for node in nodes)) < 0.001 * len(nodes) + 0.01
    assert page.locator("svg.timeline rect.bar").count() == sum(not node["cached"] for node in nodes)
    page.get_by_text(f"{folder}/a_00001_.png").wait_for()
    page.get_by_text(f"{folder}/a.done").wait_for()
    assert record["prompt_id"] in (page.locator("dl.facts").first.text_content() or "")


def seconds(text: str) -> float:
    number = float(re.sub(r"[^0-9.]", "", text) or 0)
    return 0.0 if text.startswith("<") else number / 1000 if text.endswith("ms") else number


def test_the_nodes_are_sorted_by_time(host: Host, page: Any, folder: str) -> None:
    record = ended(host, slow_then_saved(f"{folder}/a", 0.5))
    page.goto(url(host, f"?prompt={record['prompt_id']}"))
    page.get_by_role("button", name="Time").click()
    shown = [seconds(text) for text in page.locator("table.nodes td:nth-child(3)").all_text_contents()]
    assert shown == sorted(shown, reverse=True)
    assert page.get_by_role("columnheader", name="Time").get_attribute("aria-sort") == "descending"


def test_an_error_is_shown_with_its_node(host: Host, page: Any, folder: str) -> None:
    record = ended(host, failing(f"{folder}/a", message="the lamp is broken"))
    page.goto(url(host, f"?prompt={record['prompt_id']}"))
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert "the lamp is broken" in (alert.text_content() or "")
    assert record["error"]["node_id"] in (alert.text_content() or "")


def test_a_success_of_which_outputs_were_refused_says_so(host: Host, page: Any, folder: str) -> None:
    graph = saved(f"{folder}/a")
    graph.save(graph.add("EmptyImage", width=-7, height=16, batch_size=1, color=0), f"{folder}/b")
    record = ended(host, graph)
    page.goto(url(host, f"?prompt={record['prompt_id']}"))
    page.locator("h2 .status.partly").wait_for()
    assert "success, 1 output refused" in (page.locator("h2").text_content() or "")
    page.get_by_text("4 (SaveImage)", exact=True).wait_for()
    assert "-7" in (page.get_by_role("region", name="Refused by ComfyUI").text_content() or "")
    page.goto(url(host))
    rows(page).first.wait_for()
    assert "success, 1 output refused" in (rows(page).first.text_content() or "")


def test_how_a_prompt_compares_with_its_like_is_in_its_head(host: Host, page: Any, folder: str) -> None:
    graphs = []
    for number in range(7):  # words are no setting, and let everything run anew
        graph = Graph()
        words = graph.add("ProbeString", text=f"{folder} {number}")
        graph.add(
            "PreviewAny",
            source=graph.add("ProbeSlow", source=words, seconds=0.2, steps=2, salt=hash(folder) % 1000 / 1000),
        )
        graphs.append(graph)
    ended(host, graphs[0])
    page.goto(url(host))
    open_first(page)
    part = page.get_by_role("region", name="Compared with earlier runs")
    part.get_by_text("Too few runs to say what is usual.").wait_for()
    part.get_by_text("run it 5 more times").wait_for()
    for graph in graphs[1:]:
        ended(host, graph)
    page.goto(url(host))
    open_first(page)
    assert re.search(r"Usually 0\.2\d* s|Usually 2\d\d ms", part.inner_text()), part.inner_text()
    assert "6 runs" in part.inner_text()


def test_a_failure_says_in_its_head_what_failed(host: Host, page: Any, folder: str) -> None:
    ended(
        host, failing(f"{folder}/a", "CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 8.00 GiB total capacity)")
    )
    page.goto(url(host))
    open_first(page)
    part = page.get_by_role("region", name="Why it ended so")
    part.get_by_text("ran out of the device's memory: it asked for 2.0 GiB").wait_for()


def test_an_open_prompt_follows_what_happens_to_it(host: Host, page: Any, folder: str) -> None:
    prompt_id = host.queue(slow_then_saved(f"{folder}/a", 2.0))
    page.goto(url(host, f"?prompt={prompt_id}"))
    page.locator("h2 .status.running").wait_for()
    host.wait(prompt_id, 60)
    page.locator("h2 .status.success").wait_for()
    page.get_by_text(f"{folder}/a_00001_.png").wait_for()


def test_a_cached_node_is_shown_as_such(host: Host, page: Any, folder: str) -> None:
    graph = saved(f"{folder}/a")
    ended(host, graph)
    record = ended(host, graph)
    page.goto(url(host, f"?prompt={record['prompt_id']}"))
    page.locator("table.nodes tr.cached").first.wait_for()
    assert record["node_counts"]["cached"] == page.locator("table.nodes tr.cached").count()


def test_a_policy_is_shown_where_a_runner_queued_it(host: Host, page: Any, folder: str) -> None:
    batch = {"run_id": "20260801-101112", "scene_id": "scene-007", "attempt": 1, "policy": {"scene_retry_budget": 3}}
    record = ended(host, saved(f"{folder}/a"), extra_data={"run_recorder": batch})
    page.goto(url(host, f"?prompt={record['prompt_id']}"))
    part = page.get_by_role("region", name="Queue policy")
    part.wait_for()
    assert "scene-007" in (part.text_content() or "") and "scene retry budget" in (part.text_content() or "")


def test_the_contracts_figures_are_badges_where_a_runner_queued_it(host: Host, page: Any, folder: str) -> None:
    record = ended(host, saved(f"{folder}/a"), extra_data={"run_recorder": {"run_id": "r", "scene_id": "s"}})
    page.goto(url(host, f"?prompt={record['prompt_id']}"))
    badges = page.get_by_role("region", name="Telemetry")
    badges.wait_for()
    text = badges.text_content() or ""
    assert all(word in text for word in ("Max wait", "Poll interval", "Poll limit", "Exit reason", "Post-execution")), (
        text
    )


def test_of_an_artist_s_own_prompt_nothing_is_told_of_a_runner_s_telemetry(host: Host, page: Any, folder: str) -> None:
    record = ended(host, saved(f"{folder}/a"))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url(host, f"?prompt={record['prompt_id']}"))
    gpu = page.get_by_role("region", name="GPU")
    gpu.wait_for()
    assert page.get_by_role("region", name="Telemetry").count() == 0
    assert not [one for one in asked if "/contract" in one]
    labels = gpu.locator("dt").all_inner_texts()
    assert labels[:4] == ["Free VRAM before", "Free VRAM after", "Change of free VRAM", "Peak VRAM of the card"], labels


def test_two_prompts_are_compared_node_by_node(host: Host, page: Any, folder: str) -> None:
    ended(host, saved(f"{folder}/first"))  # a server's first prompt may take longer than any difference here
    one, other = ended(host, slow_then_saved(f"{folder}/a", 0.2)), ended(host, slow_then_saved(f"{folder}/b", 1.5))
    page.goto(url(host, f"?prompt={one['prompt_id']}"))
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("button", name="Back").click()
    page.locator(".row").first.click()
    page.locator("h2").wait_for()
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("heading", name="Comparison").wait_for()
    cell = page.locator("tr", has_text="Duration").first.text_content() or ""
    assert "+" in cell and "%" in cell, (cell, one["duration_seconds"], other["duration_seconds"])


def test_it_is_copied_as_json(host: Host, page: Any, folder: str) -> None:
    record = ended(host, saved(f"{folder}/a"))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(url(host, f"?prompt={record['prompt_id']}"))
    page.get_by_role("button", name="Copy as JSON").click()
    page.get_by_text("Copied").wait_for()
    told = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert told["prompt"]["prompt_id"] == record["prompt_id"]
    assert len(told["nodes"]) == record["node_counts"]["executed"] + record["node_counts"]["cached"]


# ---------------------------------------------------------------- controls and their states


def test_filtering_by_status_and_clearing(host: Host, page: Any, folder: str) -> None:
    ended(host, saved(f"{folder}/a"))
    ended(host, failing(f"{folder}/b"))
    page.goto(url(host))
    rows(page).first.wait_for()
    page.get_by_label("Status").select_option("error")
    page.locator(".row.error").first.wait_for()
    assert page.locator(".row.success").count() == 0
    page.get_by_role("button", name="Clear").click()
    page.locator(".row.success").first.wait_for()


def test_searching_and_finding_nothing(host: Host, page: Any, folder: str) -> None:
    record = ended(host, saved(f"{folder}/needle{folder}"))
    page.goto(url(host))
    page.get_by_role("searchbox").fill(f"needle{folder}")
    count_becomes(page.locator(".row"), 1)
    page.get_by_role("searchbox").fill(record["prompt_id"])
    count_becomes(page.locator(".row"), 1)
    page.get_by_role("searchbox").fill("there is nothing like this")
    page.get_by_text("No prompt matches.").wait_for()


def test_deleting_can_be_undone_and_is_done_after_five_seconds(host: Host, page: Any, folder: str) -> None:
    record = ended(host, saved(f"{folder}/a"))
    path = f"/telemetry/prompts/{record['prompt_id']}"
    page.goto(url(host, f"?prompt={record['prompt_id']}"))
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Undo").click()
    page.locator(".row").first.wait_for()
    assert host.get(path)[0] == 200
    page.locator(".row").first.click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_text("Deleted").wait_for()
    assert host.get(path)[0] == 200, "not yet"
    host.until(lambda: host.get(path)[0] == 404, 30)


def test_everything_works_by_keyboard_alone(host: Host, page: Any, folder: str) -> None:
    ended(host, saved(f"{folder}/a"))
    ended(host, saved(f"{folder}/b"))
    page.goto(url(host))
    rows(page).nth(1).wait_for()
    page.get_by_role("listbox").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert rows(page).nth(1).get_attribute("aria-selected") == "true"
    page.keyboard.press("Enter")
    page.get_by_role("heading", level=2).wait_for()
    page.keyboard.press("Escape")
    rows(page).first.wait_for()
    page.keyboard.press("/")
    page.keyboard.type("zzz")
    assert page.get_by_role("searchbox").input_value() == "zzz"
    page.get_by_role("tab", name="History").focus()
    page.keyboard.press("ArrowLeft")
    page.get_by_role("tab", name="Now", selected=True).wait_for()


def test_the_address_opens_a_prompt_and_back_and_reload_work(host: Host, page: Any, folder: str) -> None:
    ended(host, saved(f"{folder}/a"))
    page.goto(url(host))
    open_first(page)
    assert "?prompt=" in page.url
    page.reload()
    page.get_by_role("heading", level=2).wait_for()
    page.get_by_role("button", name="Back").click()
    rows(page).first.wait_for()
    assert "?prompt=" not in page.url


def test_a_prompt_that_is_not_known_is_said(host: Host, page: Any) -> None:
    page.goto(url(host, "?prompt=nobody-knows"))
    page.get_by_text("This prompt is not recorded (any more).").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1200])
def test_nothing_serious_is_found_by_axe_and_nothing_is_wider_than_the_page(
    host: Host, browser: Any, folder: str, scheme: str, width: int
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    ended(host, saved(f"{folder}/a", marker={}))
    record = ended(host, failing(f"{folder}/b"))
    size = {"width": width, "height": 700}
    with browser.new_context(color_scheme=scheme, viewport=size, bypass_csp=True) as context:
        page = context.new_page()
        page.goto(url(host))
        rows(page).first.wait_for()
        looked = [("history", Axe().run(page))]
        page.get_by_role("tab", name="Now").click()
        page.locator(".gauge").first.wait_for()
        looked.append(("now", Axe().run(page)))
        page.goto(url(host, f"?prompt={record['prompt_id']}"))
        page.locator("table.nodes tbody tr").first.wait_for()
        looked.append(("prompt", Axe().run(page)))
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    for name, result in looked:
        bad = [one["id"] for one in result.response["violations"] if one["impact"] in ("serious", "critical")]
        assert not bad, (name, bad, result.generate_report())


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_shown_and_never_run(host: Host, page: Any, folder: str, text: str) -> None:
    graph = failing(f"{folder}/a", message=text)
    graph["fail"]["_meta"] = {"title": text}
    record = ended(host, graph, extra_data={"extra_pnginfo": {"workflow": {"name": text}}})
    page.add_init_script("window.attacked = () => { window.wasAttacked = true }")
    page.goto(url(host, f"?prompt={record['prompt_id']}"))
    page.locator("table.nodes tbody tr").first.wait_for()
    assert text[:20] in (page.locator("pre").text_content() or "") or record["error"]["message"][:20] in (
        page.locator("pre").text_content() or ""
    )
    page.get_by_role("button", name="Back").click()
    rows(page).first.wait_for()
    assert page.evaluate("window.wasAttacked === undefined")
    assert page.evaluate("document.querySelector('#panel').shadowRoot.querySelectorAll('iframe, script').length") == 0


def test_a_token_is_asked_for_in_place_and_kept_out_of_the_address(start_host: Any, page: Any) -> None:
    host = start_host(env={"RUN_RECORDER_TOKEN": "secret-token"})
    page.goto(url(host))
    page.locator(".banner", has_text="This server asks for a token").wait_for()
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Use it").click()
    page.get_by_text("did not accept this token").wait_for()
    page.get_by_label("Token").fill("secret-token")
    page.get_by_role("tab", name="Now").click()
    page.locator(".idle", has_text="asks for a token").wait_for()
    assert page.locator("form").count() == 1, "asked for once, however many questions were refused"
    assert page.get_by_text("Nothing is running").count() == 0, "that is not known"
    page.get_by_role("button", name="Use it").click()
    page.get_by_text("Nothing is running").wait_for()
    page.get_by_role("button", name="all well").wait_for()
    page.get_by_role("tab", name="History").click()
    page.get_by_text("No prompt has been recorded yet").wait_for()
    assert "secret-token" not in page.url
    assert page.evaluate("Object.keys(localStorage).length") == 0


def test_a_server_that_goes_and_returns(start_host: Any, page: Any) -> None:
    host = start_host()
    ended(host, saved("before/a"))
    page.goto(url(host))
    rows(page).first.wait_for()
    unfinished = host.queue(slow_then_saved("before/b", 60.0))
    page.locator(".row.running").wait_for()
    host.kill()
    page.locator(".banner", has_text="The connection is lost").wait_for()
    page.get_by_role("button", name="not known").wait_for()
    host.restart(same_port=True)
    count_becomes(page.locator(".banner", has_text="connection"), 0, 60)
    page.locator(".row.abandoned").wait_for()
    assert host.get(f"/telemetry/prompts/{unfinished}")[1]["status"] == "abandoned"
    abandoned_one_stands_still(page)
    ended(host, saved("after/b"))
    count_becomes(page.locator(".row"), 3)


def abandoned_one_stands_still(page: Any) -> None:
    """It says where it was and when it was seen last, and doesn't grow while one looks."""
    page.locator(".row.abandoned").click()
    told = page.locator(".failure")
    told.wait_for()
    text = told.inner_text()
    assert re.search(r"in node ProbeSlow \(slow\), in step \d+ of 1200\.", text), text
    assert "Last seen" in text
    long = page.locator(".axis").inner_text()
    page.wait_for_timeout(1500)
    page.reload()
    told.wait_for()
    assert page.locator(".axis").inner_text() == long
    page.get_by_role("button", name="Back").click()
    page.locator(".row.abandoned").wait_for()


def test_what_runs_is_seen_however_many_wait_behind_it(start_host: Any, page: Any) -> None:
    host = start_host()
    page.goto(url(host))
    running = host.queue(slow_then_saved("first/a", 60.0))
    host.until_running(running)
    for number in range(230):
        host.queue(saved(f"wait/{number}"))
    page.reload()
    page.get_by_role("tab", name="Now").click()
    page.get_by_text("Waiting in the queue: 230").wait_for()
    page.get_by_text("Running for").wait_for()
    host.clear_queue()
    page.get_by_text("The queue is empty.").wait_for()
    host.interrupt()
    page.get_by_text("Nothing is running.").wait_for()


def test_an_answer_that_is_older_than_what_was_heard_since_takes_nothing_back(
    host: Host, page: Any, folder: str
) -> None:
    page.goto(url(host))
    page.get_by_role("tab", name="Now").click()
    page.get_by_text("Nothing is running.").wait_for()
    prompt_id = host.queue(slow_then_saved(f"{folder}/a", 2.0))
    host.until_running(prompt_id)
    held: list[tuple[Any, Any]] = []
    page.route(re.compile("status=running"), lambda route: held.append((route, route.fetch())))
    with page.expect_request(re.compile("status=running")):
        page.reload()
    page.get_by_role("tab", name="Now").click()
    for _ in range(100):
        page.wait_for_timeout(50)
        if len(held) == 2:
            break
    assert all(len(answer.json()["items"]) == 1 for _, answer in held)
    assert host.wait(prompt_id)["status"] == "success"
    page.wait_for_timeout(500)  # its end is heard meanwhile
    for route, answer in held:
        route.fulfill(response=answer)
    page.get_by_text("Nothing is running.").wait_for()
    page.wait_for_timeout(300)
    assert page.get_by_text("Running for").count() == 0


def test_of_prompts_that_have_ended_before_the_answer_about_them_none_is_asked_for_again(
    host: Host, page: Any, folder: str
) -> None:
    page.goto(url(host))
    page.get_by_role("tab", name="Now").click()
    page.get_by_text("The queue is empty.").wait_for()
    page.wait_for_timeout(500)
    asked: Counter[str] = Counter()
    held: list[Any] = []

    def hold(route: Any) -> None:
        asked[route.request.url.rpartition("/")[2]] += 1
        held.append(route)

    page.route(re.compile(r"/telemetry/prompts/[^?/]+$"), hold)
    queued = [host.queue(saved(f"{folder}/{number}")) for number in range(20)]
    for prompt_id in queued:
        host.wait(prompt_id, 60)
    page.wait_for_timeout(500)  # their ends are heard meanwhile
    while held:
        for route in [held.pop() for _ in range(len(held))]:
            route.continue_()
        page.wait_for_timeout(200)
        assert sum(asked.values()) <= 40
    page.get_by_text("The queue is empty.").wait_for()
    assert set(asked.values()) == {1}
    assert len(asked) <= 4, "so many are asked for at once, and the others had ended"


@pytest.mark.parametrize("how", ["refused", "silent"])
def test_figures_that_are_not_new_are_greyed_with_their_time(host: Host, page: Any, how: str) -> None:
    page.goto(url(host))
    page.get_by_role("tab", name="Now").click()
    page.locator(".gauge").first.wait_for()
    page.route(re.compile("/telemetry/gpu"), lambda route: route.abort() if how == "refused" else None)
    page.locator(".gauges.stale").wait_for()
    assert re.search(r"The last ones came at \d", page.locator(".as-of").inner_text())
    assert page.locator(".gauge").count() > 0
    page.unroute(re.compile("/telemetry/gpu"))
    page.locator(".gauges:not(.stale)").wait_for()
    assert page.locator(".as-of").inner_text() == ""


def test_figures_are_asked_for_while_nothing_runs_too(host: Host, page: Any) -> None:
    page.goto(url(host))
    page.get_by_role("tab", name="Now").click()
    page.locator(".gauge").first.wait_for()
    with page.expect_request(re.compile("/telemetry/gpu"), timeout=7000):
        pass


def test_health_is_a_word_in_the_head_and_says_what_to_do_on_a_click(start_host: Any, page: Any) -> None:
    host = start_host(env={"RUN_RECORDER_KEEP_DAY": "3"})
    page.goto(url(host))
    word = page.get_by_role("button", name="1 problem")
    word.wait_for()
    assert page.get_by_text("RUN_RECORDER_KEEP_DAY").count() == 0 or not page.locator(".problems").is_visible()
    word.click()
    page.locator(".problems li").wait_for()
    text = page.locator(".problems").inner_text()
    assert host.health()["problems"][0]["hint"] in text
    page.route(re.compile("/telemetry/health"), lambda route: route.abort())
    word.click()
    word.click()
    page.get_by_role("button", name="not known").wait_for()


def test_a_route_that_is_missing_costs_only_its_part(host: Host, page: Any, folder: str) -> None:
    record = ended(host, saved(f"{folder}/a"))
    page.route(re.compile("/samples|/contract"), lambda route: route.fulfill(status=404, body="{}"))
    page.goto(url(host, f"?prompt={record['prompt_id']}"))
    page.locator("table.nodes tbody tr").first.wait_for()
    assert page.get_by_role("region", name="Telemetry").count() == 0


def test_nothing_is_asked_while_the_tab_is_hidden(host: Host, page: Any, folder: str) -> None:
    page.goto(url(host))
    page.get_by_role("tab", name="Now").click()
    page.locator(".gauge").first.wait_for()
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {get: () => true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    ended(host, slow_then_saved(f"{folder}/a", 2.5))
    time.sleep(0.5)
    assert asked == []


# ---------------------------------------------------------------- in ComfyUI's own page


def test_the_sidebar_has_a_tab_that_follows_a_prompt_and_selects_a_node(
    start_host: Any, host_kind: str, browser: Any
) -> None:
    if host_kind != "real":
        pytest.skip("the embedded host has no page of ComfyUI's")
    front_end = os.environ.get("COMFYUI_FRONT_END")  # another version's files, unpacked
    host = start_host(flags=["--front-end-root", front_end] if front_end else [])
    host.request("POST", "/settings", {"Comfy.TutorialCompleted": True})  # else a first visit opens a dialog
    record = ended(host, saved("shot/a", marker={}))
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{host.port}/")
    tab = page.locator('button[aria-label^="Run Recorder"]')
    tab.wait_for(timeout=90_000)
    page.wait_for_function("window.app?.graph", timeout=60_000)
    graph = dict(saved("shot/b", marker={}))
    page.evaluate("graph => window.app.loadApiJson(graph, 'sidebar')", graph)
    tab.click()
    page.locator(".row").first.wait_for()
    assert page.locator(".row").count() == 1
    second = host.queue(saved("shot/c"))
    host.wait(second, 60)
    count_becomes(page.locator(".row"), 2)
    page.get_by_role("searchbox").fill(record["prompt_id"])
    count_becomes(page.locator(".row"), 1)
    page.locator(".row").first.click()
    page.locator("table.nodes").wait_for()
    page.locator("table.nodes").get_by_role("button", name="EmptyImage").click()
    selected = page.evaluate("Object.values(window.app.canvas.selected_nodes ?? {}).map(node => node.type)")
    assert selected == ["EmptyImage"]
    tab.click()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    host.wait(host.queue(saved("shot/d")), 60)
    page.wait_for_timeout(500)
    assert not [one for one in asked if "/telemetry/" in one], "closed, it asks nothing"
    page.evaluate("window.app.extensionManager.setting.set('run-recorder.badges', true)")
    page.evaluate("window.app.queuePrompt(0)")
    page.wait_for_function(
        "window.app.graph._nodes.every(node => node.type !== 'EmptyImage' || "
        "node.badges.some(badge => / m?s/.test((typeof badge === 'function' ? badge() : badge).text)))",
        timeout=30_000,
    )
    context.close()
