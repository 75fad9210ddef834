"""How quick the panel is with a million prompts, and what two hours of events leave behind in the browser.

Prints: the first view, from navigation to the first rows, against that of a server with a thousand prompts; what a
frame costs while the list is scrolled; a prompt of 1,000 nodes drawn, against a plain table of as many rows; the
browser's memory after each of four half hours of events; and what a page whose tab is hidden asks of the server.

    python benchmarks/panel.py [--prompts 1000000] [--keep DIR]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from run_recorder.telemetry.models.record import NodeRecord, PromptRecord  # noqa: E402
from run_recorder.telemetry.store.changes import Change  # noqa: E402
from run_recorder.telemetry.store.database import Database  # noqa: E402
from run_recorder.telemetry.store.store import Store  # noqa: E402

from benchmarks.million import CLASSES, build, served  # noqa: E402
from tests.browser import browsing  # noqa: E402

SMALL, NODES, EVENTS = 1000, 1000, 72_000
FIRST_MS, FRAME_MS, PROMPT_MS, GROWTH = 300.0, 16.0, 100.0, 1.2
"""What is good enough; two hours hold ten events a second."""


def many_nodes(path: Path) -> str:
    """A prompt of 1,000 nodes; its id."""
    database = Database(f"sqlite:///{path}")
    database.open()
    now = round(time.time() * 1000)
    seconds = NODES * 0.05
    record = PromptRecord(
        str(uuid.uuid4()),
        1,
        "bench",
        status="success",
        queued_ms=now,
        started_ms=now,
        ended_ms=now + round(seconds * 1000),
    )
    record.duration_seconds, record.node_total, record.node_executed = seconds, NODES, NODES
    nodes = [
        NodeRecord(
            number,
            str(number),
            class_type=CLASSES[number % len(CLASSES)],
            started_ms=now + number * 50,
            duration_seconds=0.049,
        )
        for number in range(NODES)
    ]
    Store(database).save([Change(record, new_nodes=nodes, outputs=True)])
    database.close()
    return record.prompt_id


def first_view(browser: Any, url: str, rounds: int = 10) -> float:
    """Milliseconds from navigation to the first rows, the median."""
    found = []
    for _ in range(rounds):
        page = browser.new_page()
        begun = time.perf_counter()
        page.goto(url, wait_until="commit")
        page.locator(".row").first.wait_for()
        found.append((time.perf_counter() - begun) * 1000)
        page.close()
    return statistics.median(found)


SCROLL = """async () => {
  const list = document.querySelector('#panel').shadowRoot.querySelector('.list');
  const spent = [];
  for (let frame = 0; frame < 400; frame += 1) {
    await new Promise(requestAnimationFrame);
    const begun = performance.now();
    list.scrollTop += 240;
    list.dispatchEvent(new Event('scroll'));
    await new Promise(requestAnimationFrame);
    list.getBoundingClientRect();
    await new Promise((done) => setTimeout(done, 0));
    spent.push(performance.now() - begun);
  }
  return spent;
}"""
WORK = """async () => {
  const { HistoryView } = await import('./panel/history.js');
  const draw = HistoryView.prototype.draw;
  window.spent = [];
  HistoryView.prototype.draw = function () {
    const begun = performance.now();
    draw.call(this);
    this.list.getBoundingClientRect();
    window.spent.push(performance.now() - begun);
  };
}"""
DRAW = """async () => {
  const { PromptView } = await import('./panel/prompt.js');
  const draw = PromptView.prototype.draw;
  window.drawn = [];
  PromptView.prototype.draw = function () {
    const begun = performance.now();
    draw.call(this);
    this.element.getBoundingClientRect();
    window.drawn.push(performance.now() - begun);
  };
}"""
PLAIN = """(count) => {
  const found = [];
  for (let round = 0; round < 5; round += 1) {
    const begun = performance.now();
    const table = document.createElement('table');
    for (let number = 0; number < count; number += 1) {
      const row = table.insertRow();
      for (let cell = 0; cell < 4; cell += 1) row.insertCell().textContent = `${number} ${cell}`;
    }
    document.body.append(table);
    table.getBoundingClientRect();
    found.push(performance.now() - begun);
    table.remove();
  }
  return found;
}"""


def scrolling(browser: Any, url: str) -> float:
    """Milliseconds that the panel works in a frame of scrolling, the 95th percentile."""
    page = browser.new_page()
    page.goto(url)
    page.locator(".row").first.wait_for()
    page.evaluate(WORK)
    page.evaluate(SCROLL)
    spent = page.evaluate("window.spent")
    page.close()
    return float(statistics.quantiles(spent, n=20)[18])


def drawing(browser: Any, url: str, prompt_id: str) -> tuple[float, float]:
    """Milliseconds to draw a prompt of 1,000 nodes, and a plain table of as many rows: medians."""
    page = browser.new_page()
    page.goto(url)
    page.locator(".row").first.wait_for()
    page.evaluate(DRAW)
    plain = page.evaluate(PLAIN, NODES)
    for _ in range(5):
        page.get_by_role("searchbox").fill(prompt_id)
        page.wait_for_timeout(600)
        page.locator(".row").first.click()
        page.locator("table.nodes tbody tr").nth(NODES - 1).wait_for(state="attached")
        page.get_by_role("button", name="Back").click()
    drawn = page.evaluate("window.drawn")
    page.close()
    return statistics.median(drawn), statistics.median(plain)


def stream(first: int, count: int) -> bytes:
    """So many events of prompts that come, run and end."""
    lines = []
    for number in range(first, first + count):
        prompt, step = divmod(number, 24)
        kinds = {0: "prompt.queued", 1: "prompt.started", 23: "prompt.finished"}
        kind = kinds.get(step, "node.progress" if step % 2 else "node.started")
        data = {
            "prompt_id": f"p{prompt}",
            "at": "2026-11-25T12:00:00.000Z",
            "node_id": str(step),
            "class_type": "KSampler",
        }
        data |= {"status": "success", "value": step, "max": 24}
        lines.append(f"id: {number + 1}\r\nevent: {kind}\r\ndata: {json.dumps(data)}\r\n\r\n")
    return "".join(lines).encode()


def remembering(browser: Any, url: str) -> list[float]:
    """MiB of the page's heap at first, and after each of four half hours of events."""
    page = browser.new_page()
    quarter, given = EVENTS // 4, []

    def events(route: Any) -> None:
        if len(given) < 4:
            given.append(len(given))
            route.fulfill(body=stream((len(given) - 1) * quarter, quarter), content_type="text/event-stream")
        else:
            route.abort()

    page.route("**/telemetry/events", events)
    page.route("**/telemetry/prompts/p*", lambda route: route.fulfill(status=404, body="{}"))
    page.goto(url)
    page.locator(".row").first.wait_for()
    session = page.context.new_cdp_session(page)
    found = []
    deadline = time.monotonic() + 120
    while len(given) < 4 and time.monotonic() < deadline:
        seen = len(given)
        page.wait_for_timeout(500)
        if len(given) != seen:
            found.append(heap(session))
    page.wait_for_timeout(3000)
    found.append(heap(session))
    page.close()
    return found


def heap(session: Any) -> float:
    """MiB in use after a garbage collection."""
    session.send("HeapProfiler.collectGarbage")
    return float(session.send("Runtime.getHeapUsage")["usedSize"]) / 2**20


def hidden(browser: Any, url: str) -> int:
    """How often a page whose tab is hidden asks the server in 10 seconds."""
    page = browser.new_page()
    page.goto(url)
    page.locator(".row").first.wait_for()
    page.wait_for_timeout(1500)
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {get: () => true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/telemetry/" in request.url else None)
    page.wait_for_timeout(10_000)
    page.close()
    return len(asked)


@contextlib.contextmanager
def databases(prompts: int, keep: Path | None) -> Iterator[tuple[Path, Path]]:
    """A large database and a small one."""
    with tempfile.TemporaryDirectory() as name:
        folder = keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        big, small = folder / "big.sqlite3", Path(name) / "small.sqlite3"
        if not big.exists():
            build(big, prompts)
        build(small, SMALL)
        yield big, small


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="Keep the database here, and use one that is there.")
    given = parser.parse_args()
    with databases(given.prompts, given.keep) as (big, small), browsing() as browser:
        prompt_id = many_nodes(big)
        with served(big) as host, served(small) as control:
            url = f"http://127.0.0.1:{host.port}/telemetry/"
            first_view(browser, url, 1)
            other, view = first_view(browser, f"http://127.0.0.1:{control.port}/telemetry/"), first_view(browser, url)
            sys.stdout.write(f"first view: {view:.0f} ms ({view / other:.2f} of that with {SMALL} prompts)\n")
            frame = scrolling(browser, url)
            sys.stdout.write(f"scrolling: {frame:.1f} ms of work a frame (95%)\n")
            drawn, plain = drawing(browser, url, prompt_id)
            sys.stdout.write(f"a prompt of {NODES} nodes: {drawn:.0f} ms ({drawn / plain:.1f} of a plain table)\n")
            sizes = remembering(browser, url)
            told = ", ".join(f"{size:.1f}" for size in sizes)
            sys.stdout.write(f"MiB of heap over {EVENTS} events: {told}\n")
            asked = hidden(browser, url)
            sys.stdout.write(f"hidden for 10 s: {asked} requests\n")
    good = [view <= FIRST_MS, frame <= FRAME_MS, drawn <= PROMPT_MS, sizes[-1] <= sizes[0] * GROWTH, asked == 0]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
