"""The panel where people have it: in the sidebar of ComfyUI's own page, with thousands of prompts.

`COMFYUI_FRONT_END` names another version's files, unpacked (`--front-end-root`).
"""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from run_recorder.telemetry.models.record import PromptRecord
from run_recorder.telemetry.store.changes import Change
from run_recorder.telemetry.store.database import Database
from run_recorder.telemetry.store.store import Store

from .graphs import saved, slow_then_saved
from .hosts import Host

COUNT = 5_000
VIEW = {"width": 1400, "height": 900}
SHADOW = "[...document.querySelectorAll('*')].find((one) => one.shadowRoot?.querySelector('.frame')).shadowRoot"
MEASURE = f"""() => {{
  const inside = [...{SHADOW}.querySelectorAll('*')];
  const all = [...document.querySelectorAll('*'), ...inside];
  const tall = all.filter((one) => one.getBoundingClientRect().height > 3 * window.innerHeight);
  return {{
    rows: inside.filter((one) => one.matches('.row')).length,
    elements: all.length,
    tall: tall.map((one) => one.className || one.tagName),
  }};
}}"""
IN_VIEW = """(one) => {
  const { top, bottom, height } = one.getBoundingClientRect();
  return height > 0 && top >= 0 && bottom <= window.innerHeight;
}"""


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    with browser.new_context(viewport=VIEW) as made:
        made.set_default_timeout(30_000)
        yield made


def filled(path: Path, count: int = COUNT) -> dict[str, str]:
    """The environment of a server whose database has so many prompts."""
    database = Database(f"sqlite:///{path}")
    database.open()
    store = Store(database)
    changes = [
        Change(
            PromptRecord(
                str(uuid.uuid4()),
                1,
                str(uuid.UUID(int=1)),
                status="success",
                queued_ms=1_780_000_000_000 + number * 1000,
                started_ms=1_780_000_000_000 + number * 1000,
                ended_ms=1_780_000_000_900 + number * 1000,
                duration_seconds=0.9,
                workflow_name=f"shot {number}",
            )
        )
        for number in range(count)
    ]
    store.save(changes)
    database.close()
    return {"RUN_RECORDER_DATABASE_URL": f"sqlite:///{path}"}


READY = "window.app?.graph?.nodes?.length && window.app.extensionManager?.workflow?.activeWorkflow"
"""The page has opened the workflow that it starts with: that would take the place of one that is opened before."""


def in_sidebar(host: Host, context: Any) -> Any:
    """ComfyUI's own page, with our tab of its sidebar open."""
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{host.port}/")
    tab = page.locator('button[aria-label^="Run Recorder"]')
    tab.wait_for(timeout=90_000)
    page.wait_for_function(READY, timeout=60_000)
    tab.click()
    page.get_by_role("tab", name="History").wait_for()
    return page


@pytest.fixture
def start_real(start_host: Any, host_kind: str) -> Any:
    if host_kind != "real":
        pytest.skip("the embedded host has no page of ComfyUI's")
    front_end = os.environ.get("COMFYUI_FRONT_END")

    def start(**more: Any) -> Host:
        host = start_host(flags=["--front-end-root", front_end] if front_end else [], **more)
        host.request("POST", "/settings", {"Comfy.TutorialCompleted": True})  # else a first visit opens a dialog
        return host

    return start


def test_five_thousand_prompts_make_no_tall_list_in_the_sidebar(start_real: Any, context: Any, tmp_path: Path) -> None:
    host = start_real(env=filled(tmp_path / "many.sqlite3"))
    page = in_sidebar(host, context)
    page.locator(".row").first.wait_for()
    listbox = page.get_by_role("listbox")
    listbox.focus()
    for there in range(100, COUNT + 1, 100):  # a page more is loaded at each end of the list
        page.wait_for_function(f"{SHADOW}.querySelector('.space').clientHeight >= {there * 56}")
        page.keyboard.press("End")
    page.get_by_text("That is all.").wait_for()
    page.keyboard.press("End")
    page.get_by_text("shot 0", exact=True).wait_for()
    found = page.evaluate(MEASURE)
    assert found["rows"] <= 60 and found["elements"] <= 1_500, found
    assert found["tall"] in ([], ["space"]), found
    assert page.get_by_role("tab", name="History").evaluate(IN_VIEW)
    assert page.get_by_role("searchbox").evaluate(IN_VIEW)
    assert page.locator(".row[aria-selected=true]").evaluate(IN_VIEW)
    page.keyboard.press("Delete")
    undo = page.get_by_role("button", name="Undo")
    undo.wait_for()
    assert undo.evaluate(IN_VIEW)
    undo.click()
    page.wait_for_function(f"{SHADOW}.querySelector('.space').clientHeight === {COUNT * 56}")
    assert page.get_by_text("shot 0", exact=True).evaluate(IN_VIEW), "where it was before"


def test_it_keeps_its_bounds_when_the_window_changes(start_real: Any, context: Any, tmp_path: Path) -> None:
    host = start_real(env=filled(tmp_path / "some.sqlite3", 300))
    page = in_sidebar(host, context)
    page.locator(".row").first.wait_for()
    for height in (500, 1600, 3800, 900):
        page.set_viewport_size({"width": 1400, "height": height})
        page.wait_for_function(
            f"(() => {{ const box = {SHADOW}.querySelector('.frame').getBoundingClientRect();"
            " return box.bottom <= window.innerHeight && box.bottom > window.innerHeight * 0.7 })()"
        )
        found = page.evaluate(MEASURE)
        assert found["rows"] <= 60, found


def test_a_hundred_and_twenty_prompts_queued_fast_are_all_listed(start_real: Any, context: Any, tmp_path: Path) -> None:
    host = start_real(env=filled(tmp_path / "few.sqlite3", 200))
    page = in_sidebar(host, context)
    page.locator(".row").first.wait_for()
    host.queue(slow_then_saved("fast/slow", 20.0))
    names = {f"fast {number}" for number in range(120)}
    queued = [host.queue(saved(name), **named(name)) for name in sorted(names)]
    host.interrupt()
    for prompt_id in queued:
        host.wait(prompt_id, 120)
    assert names - listed(page, len(queued)) == set()


def named(name: str) -> dict[str, Any]:
    """What a client sends along whose workflow has a name."""
    return {"extra_data": {"extra_pnginfo": {"workflow": {"name": name}}}}


def listed(page: Any, count: int) -> set[str]:
    """The names of the newest prompts that the list shows, scrolled through once it has so many more."""
    grown = f"{SHADOW}.querySelector('.space').clientHeight / 56 >= {100 + count}"
    with contextlib.suppress(Exception):  # a list that lacks some is looked at all the same
        page.wait_for_function(grown, timeout=60_000)
    return set(
        page.evaluate(
            f"""async () => {{
              const list = {SHADOW}.querySelector('.list');
              const found = new Set();
              for (list.scrollTop = 0; ; list.scrollTop += 300) {{
                await new Promise(requestAnimationFrame);
                await new Promise((done) => setTimeout(done, 20));
                for (const name of list.querySelectorAll('.row .name')) found.add(name.textContent);
                if (list.scrollTop + list.clientHeight >= list.scrollHeight - 1) return [...found];
              }}
            }}"""
        )
    )


# ---------------------------------------------------------------- which workflow it is


OPEN = "([graph, name]) => window.app.loadApiJson(graph, name)"


def test_a_prompt_of_this_page_is_called_by_the_workflow_that_is_open(start_real: Any, context: Any) -> None:
    host = start_real()
    page = in_sidebar(host, context)
    page.evaluate(OPEN, [dict(saved("shot/b")), "portrait"])
    page.evaluate("window.app.queuePrompt(0)")
    name = page.locator(".row .name").first
    page.wait_for_function(f"{SHADOW}.querySelector('.row .name')?.textContent === 'portrait'")
    record = host.get("/telemetry/prompts")[1]["items"][0]
    assert (record["workflow_name"], record["name"]) == ("portrait", "portrait")
    host.wait(record["prompt_id"])
    for picture in (host.output / "shot").glob("*.png"):
        assert b"portrait" not in picture.read_bytes(), "nothing goes into the picture"
    page.evaluate(OPEN, [dict(saved("shot/c")), "Unsaved Workflow"])
    page.evaluate("window.app.queuePrompt(0)")
    page.wait_for_function(f"{SHADOW}.querySelector('.row .name')?.textContent === 'shot/c'")
    assert record["prompt_id"] not in (name.text_content() or "")


def test_a_node_is_selected_in_its_own_workflow_only(start_real: Any, context: Any) -> None:
    host = start_real()
    page = in_sidebar(host, context)
    page.evaluate(OPEN, [dict(saved("shot/b")), "one"])
    page.evaluate("window.app.extensionManager.setting.set('run-recorder.badges', true)")
    page.evaluate("window.app.queuePrompt(0)")
    page.wait_for_function(f"{BADGES}.some((text) => /m?s$/.test(text))")
    page.evaluate(OPEN, [dict(saved("shot/c")), "two"])
    page.wait_for_function("window.app.extensionManager.workflow.activeWorkflow.filename === 'two'")
    assert page.evaluate(BADGES) == [], "the figures of another workflow are not this one's"
    page.locator(".row", has_text="one").first.click()
    link = page.locator("table.nodes").get_by_role("button", name="EmptyImage")
    link.click()
    page.get_by_text("This node is in the workflow “one”.").wait_for()
    assert page.evaluate(SELECTED) == []
    page.get_by_role("button", name="Open it").click()
    page.wait_for_function("window.app.extensionManager.workflow.activeWorkflow.filename === 'one'")
    page.wait_for_function(f"JSON.stringify({SELECTED}) === '[\"EmptyImage\"]'")
    assert page.evaluate(BADGES), "they are there again"


SELECTED = "Object.values(window.app.canvas.selected_nodes ?? {}).map((node) => node.type)"
BADGES = (
    "window.app.graph._nodes.flatMap((node) => node.badges.map((badge) => (typeof badge === 'function' ? badge() :"
    " badge).text)).filter((text) => / m?s/.test(text))"
)
