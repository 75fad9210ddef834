"""GET /telemetry/metrics: what is counted, in which format, and that a real Prometheus takes it."""

import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import prometheus_client.openmetrics.parser as openmetrics
import prometheus_client.parser as plain
import pytest

from .fakes import FakeNvml, build_nvml, card
from .graphs import Graph, failing, saved, slow_then_saved
from .hosts import FAULT_PACK, REPO, Host, free_port

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TEXT = "text/plain; version=0.0.4"
PARSERS = {TEXT: plain.text_string_to_metric_families, OPENMETRICS: openmetrics.text_string_to_metric_families}
PAGE = (REPO / "docs" / "metrics.md").read_text("utf-8")
DASHBOARD = json.loads((REPO / "docs" / "grafana-dashboard.json").read_text("utf-8"))
TOKEN = "a-token-of-the-test"
NO_PROMETHEUS = "no prometheus and promtool on PATH (Debian: apt-get install prometheus)"
FINAL = ("success", "error", "interrupted", "cancelled", "abandoned")
MARKERS = ("success", "running", "error", "interrupted", "abandoned", "refused", "not written")

Sample = tuple[str, frozenset[tuple[str, str]]]


def documented() -> dict[str, tuple[str, set[str]]]:
    """Type and labels of every metric in the table of docs/metrics.md."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", PAGE, re.MULTILINE)
    return {name: (kind, set(re.findall(r"\w+", labels))) for name, kind, labels in rows}


def scrape(host: Host, accept: str = TEXT, headers: dict[str, str] | None = None) -> list[Any]:
    """The families that are served, by the client's own strict parsers."""
    reply = host.request("GET", "/telemetry/metrics", headers={"Accept": accept, **(headers or {})})
    assert reply.status == 200, reply.body
    assert reply.headers["Content-Type"].split(";")[0] == accept.split(";")[0]
    assert reply.headers["X-Run-Recorder-Version"]
    return list(PARSERS[accept](reply.body))


class Figures:
    """The samples of one scrape; what isn't there is 0."""

    def __init__(self, families: list[Any]) -> None:
        self._values: dict[Sample, float] = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        return self._values.get((name, frozenset(labels.items())), 0)

    def __contains__(self, wanted: tuple[str, dict[str, str]]) -> bool:
        return (wanted[0], frozenset(wanted[1].items())) in self._values


def figures_of(host: Host) -> Figures:
    return Figures(scrape(host))


def until_counted(host: Host, before: Figures, prompts: int) -> Figures:
    """The figures once so many more prompts are counted."""

    def total(figures: Figures) -> float:
        return sum(figures("comfyui_prompts_total", status=status) for status in FINAL)

    def there() -> Figures | None:
        now = figures_of(host)
        return now if total(now) >= total(before) + prompts else None

    now: Figures = host.until(there)
    assert total(now) == total(before) + prompts
    return now


# --- names and formats


@pytest.mark.parametrize("accept", [TEXT, OPENMETRICS], ids=["text", "openmetrics"])
def test_names_types_and_labels_are_those_of_the_docs(host: Host, folder: str, accept: str) -> None:
    host.run(saved(f"{folder}/a", marker={}))
    served = {}
    for family in scrape(host, accept):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        served[name] = family.type
        labels = {key for sample in family.samples for key in sample.labels} - {"le"}
        assert labels == documented()[name][1] or not family.samples, name
        assert family.documentation, name
        assert not [sample.name for sample in family.samples if sample.name.endswith("_created")]
    assert served == {name: kind for name, (kind, _) in documented().items()}


def test_what_is_accepted_decides_on_the_format(host: Host) -> None:
    reply = host.request("GET", "/telemetry/metrics")
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert reply.headers["Cache-Control"] == "no-store"
    prometheus_sends = f"{OPENMETRICS},application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5"
    reply = host.request("GET", "/api/telemetry/metrics", headers={"Accept": prometheus_sends})
    assert reply.headers["Content-Type"].startswith(OPENMETRICS)
    assert reply.body.endswith("# EOF\n")
    assert host.request("GET", "/telemetry/metrics?nosuch=1").status == 400


def test_openapi_says_that_it_is_text(host: Host) -> None:
    answers = host.get("/telemetry/openapi.json")[1]["paths"]["/telemetry/metrics"]["get"]["responses"]
    assert set(answers["200"]["content"]) == {"text/plain", "application/openmetrics-text"}
    assert set(answers["503"]["content"]) == {"application/json"}


def test_no_metric_holds_an_id_or_a_path(host: Host, folder: str) -> None:
    prompt_id = host.queue(failing(f"{folder}/secret", message="of whom nobody is told", filename_prefix=""))
    host.wait(prompt_id)
    text = host.request("GET", "/telemetry/metrics").body
    for word in (prompt_id, folder + "/", "secret", "nobody", str(host.base)):
        assert word not in text


# --- what is counted


def test_a_success_is_counted_once_with_its_nodes_its_time_and_its_marker(host: Host, folder: str) -> None:
    before = figures_of(host)
    record = host.run(slow_then_saved(f"{folder}/a", 0.3))
    now = until_counted(host, before, 1)

    def more(name: str, **labels: str) -> float:
        return now(name, **labels) - before(name, **labels)

    assert more("comfyui_prompts_total", status="success") == 1
    assert more("comfyui_done_markers_total", status="success") == 1
    assert more("comfyui_prompt_duration_seconds_count") == 1
    assert more("comfyui_prompt_duration_seconds_sum") == pytest.approx(record["duration_seconds"], abs=1e-5)
    assert more("comfyui_prompt_duration_seconds_bucket", le="0.1") == 0
    assert more("comfyui_prompt_duration_seconds_bucket", le="+Inf") == 1
    assert more("comfyui_prompt_queue_wait_seconds_count") == 1
    assert more("comfyui_prompt_queue_wait_seconds_sum") == pytest.approx(record["queue_wait_seconds"], abs=1e-5)
    for class_type in ("EmptyImage", "ProbeSlow", "SaveImage", "WriteDoneMarker"):
        assert more("comfyui_nodes_total", class_type=class_type, cached="false") == 1, class_type
        assert more("comfyui_node_duration_seconds_count", class_type=class_type) == 1, class_type
    assert more("comfyui_node_duration_seconds_sum", class_type="ProbeSlow") >= 0.3
    assert more("run_recorder_record_seconds_count") == 4


def test_an_error_is_counted_with_the_node_that_failed(host: Host, folder: str) -> None:
    before = figures_of(host)
    host.run(failing(f"{folder}/a"))
    now = until_counted(host, before, 1)
    assert now("comfyui_prompts_total", status="error") == before("comfyui_prompts_total", status="error") + 1
    assert now("comfyui_done_markers_total", status="error") == before("comfyui_done_markers_total", status="error") + 1
    ran = {"class_type": "ProbeFail", "cached": "false"}
    assert now("comfyui_nodes_total", **ran) == before("comfyui_nodes_total", **ran) + 1
    assert ("comfyui_node_duration_seconds_count", {"class_type": "ProbeFail"}) in now


def test_a_cached_node_is_counted_as_one_and_took_no_time(host: Host, folder: str) -> None:
    graph = saved(f"{folder}/a", marker={})
    host.run(graph)
    before = figures_of(host)
    host.run(graph)
    now = until_counted(host, before, 1)
    for class_type, cached in (("EmptyImage", 1), ("SaveImage", 1), ("WriteDoneMarker", 0)):
        labels = {"class_type": class_type, "cached": "true"}
        assert now("comfyui_nodes_total", **labels) == before("comfyui_nodes_total", **labels) + cached, class_type
        ran = now("comfyui_node_duration_seconds_count", class_type=class_type)
        assert ran == before("comfyui_node_duration_seconds_count", class_type=class_type) + 1 - cached, class_type


def test_the_queue_is_read_when_it_is_asked_for_and_its_ends_are_counted(host: Host, folder: str) -> None:
    before = figures_of(host)
    running = host.queue(slow_then_saved(f"{folder}/a", 20))
    waiting = host.queue(saved(f"{folder}/b", marker={}))
    host.until_running(running, "slow")
    now = figures_of(host)
    assert now("comfyui_queue_depth", state="running") == 1
    assert now("comfyui_queue_depth", state="queued") == 1
    host.delete_queued(waiting)
    host.interrupt()
    host.wait(running)
    now = until_counted(host, before, 2)
    assert now("comfyui_queue_depth", state="running") == 0
    assert now("comfyui_queue_depth", state="queued") == 0
    for status in ("interrupted", "cancelled"):
        assert now("comfyui_prompts_total", status=status) == before("comfyui_prompts_total", status=status) + 1
    count = "comfyui_prompt_duration_seconds_count"
    assert now(count) == before(count) + 1, "a prompt that never started took no time"


def test_recording_a_node_costs_microseconds(host: Host, figures: list[str]) -> None:
    graph = Graph()
    for _ in range(50):
        graph.add("PreviewAny", source=graph.add("ImageInvert", image=graph.image()))
    host.run(graph)
    before = figures_of(host)
    host.run(graph)
    for node in graph.values():
        if node["class_type"] == "EmptyImage":
            node["inputs"]["color"] ^= 1
    host.run(graph)
    now = figures_of(host)
    nodes = now("run_recorder_record_seconds_count") - before("run_recorder_record_seconds_count")
    seconds = now("run_recorder_record_seconds_sum") - before("run_recorder_record_seconds_sum")
    assert nodes >= 150
    figures.append(f"{host.kind}: recording a node costs {seconds / nodes * 1e6:.1f} us on ComfyUI's thread (aim: 10)")
    assert 0 < seconds / nodes < 100e-6


# --- a server of their own


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_new_process_has_every_series_at_0_and_asks_for_the_token(start_host: Callable[..., Host]) -> None:
    host = start_host(env={"RUN_RECORDER_TOKEN": TOKEN})
    for headers in ({}, bearer("another")):
        for root in ("", "/api"):
            reply = host.request("GET", f"{root}/telemetry/metrics", headers=headers)
            assert reply.status == 401
            assert reply.body["error"]["type"] == "unauthorized"
            assert reply.headers["X-Run-Recorder-Version"]
    now = Figures(scrape(host, headers=bearer()))
    expected: list[tuple[str, dict[str, str]]] = [("comfyui_prompts_total", {"status": status}) for status in FINAL]
    expected += [("comfyui_done_markers_total", {"status": status}) for status in MARKERS]
    expected += [("comfyui_queue_depth", {"state": state}) for state in ("queued", "running")]
    expected += [(f"comfyui_prompt_{what}_seconds_count", {}) for what in ("duration", "queue_wait")]
    expected += [("run_recorder_record_seconds_count", {}), ("run_recorder_record_seconds_sum", {})]
    for name, labels in expected:
        assert (name, labels) in now, (name, labels)
        assert now(name, **labels) == 0, (name, labels)


def test_what_a_dead_process_left_open_is_abandoned_and_counters_begin_anew(start_host: Callable[..., Host]) -> None:
    host = start_host()
    host.run(saved("shot/a"))
    running = host.queue(slow_then_saved("shot/b", 30))
    host.until_running(running, "slow")
    time.sleep(0.5)  # a kill may cost the last 200 ms, and with them the start
    host.kill()
    host.start()
    now = figures_of(host)
    assert now("comfyui_prompts_total", status="abandoned") == 1
    assert now("comfyui_prompts_total", status="success") == 0
    assert now("comfyui_done_markers_total", status="abandoned") == 1
    assert now("comfyui_prompt_duration_seconds_count") == 0


def test_a_hook_that_fails_shows_as_a_problem_and_what_it_costs_is_counted(start_host: Callable[..., Host]) -> None:
    host = start_host(packs=[FAULT_PACK])
    for hook in ("on_node_start", "on_node_finish"):
        assert host.request("POST", f"/zz_faults/{hook}", {}).status == 200
    host.wait_history(host.queue(saved("shot/a", marker={})))
    now = figures_of(host)
    assert now("run_recorder_problems_total", what="hook progress") == 6
    assert now("run_recorder_record_seconds_count") == 3
    assert now("run_recorder_record_seconds_sum") > 0


def test_without_the_client_only_this_route_is_missing(tmp_path: Path) -> None:
    """On the embedded host only, which loads packs in the order of their names."""
    pack = tmp_path / "aa_without_prometheus"
    pack.mkdir()
    (pack / "__init__.py").write_text("import sys\nsys.modules['prometheus_client'] = None\nNODE_CLASS_MAPPINGS = {}\n")
    host = Host("embedded", tmp_path / "host", packs=[pack])
    try:
        host.start()
        reply = host.request("GET", "/telemetry/metrics")
        assert reply.status == 503
        assert reply.body["error"]["type"] == "unavailable"
        assert "pip install" in reply.body["error"]["message"]
        assert host.run(saved("shot/a", marker={}))["status"] == "success"
        assert host.marker("shot/a.done")["FrameCount"] == 1
        told = [problem["what"] for problem in host.health()["problems"]]
        assert told == ["metrics"]
    finally:
        host.stop()


# --- the dashboard


def expressions(window: str = "1m", span: str = "5m") -> list[str]:
    """Every query of the dashboard, with Grafana's variables filled in."""
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    values = {"$__rate_interval": window, "$__range": span, "$instance": ".*"}
    for variable, value in values.items():
        found = [expression.replace(variable, value) for expression in found]
    assert not [expression for expression in found if "$" in expression]
    return found


def test_the_dashboard_uses_all_metrics_and_no_others() -> None:
    used = set(re.findall(r"\b(?:comfyui|run_recorder)_\w+", " ".join(expressions())))
    known: dict[str, str] = {}
    for name, (kind, _) in documented().items():
        suffixes = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}.get(kind, ("",))
        known.update({name + suffix: name for suffix in suffixes})
    assert used <= set(known), used - set(known)
    assert {known[name] for name in used} == set(documented())
    for variable in DASHBOARD["templating"]["list"]:
        named = re.findall(r"\((\w+),", json.dumps(variable))
        assert set(named) <= set(documented()), variable["name"]


def test_the_dashboard_asks_the_datasource_that_is_chosen() -> None:
    assert [v["name"] for v in DASHBOARD["templating"]["list"] if v["type"] == "datasource"] == ["datasource"]
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in DASHBOARD["panels"]:
        assert panel["datasource"] == chosen, panel["title"]
        assert all(target["datasource"] == chosen for target in panel["targets"]), panel["title"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_dashboard_fits_grafanas_own_schema() -> None:
    """Grafana's generated models take in every field of it, and give back what they took."""
    models = pytest.importorskip("grafana_foundation_sdk.models.dashboard", reason="no grafana-foundation-sdk")
    plugins = pytest.importorskip("grafana_foundation_sdk.cog.plugins")
    encoder = pytest.importorskip("grafana_foundation_sdk.cog.encoder")
    plugins.register_default_plugins()
    again = json.loads(encoder.JSONEncoder().encode(models.Dashboard.from_json(DASHBOARD)))

    def check(asked: Any, given: Any, where: str) -> None:
        if isinstance(asked, dict):
            assert isinstance(given, dict), where
            for key, value in asked.items():
                assert key in given, f"{where}.{key} is unknown to Grafana"
                check(value, given[key], f"{where}.{key}")
        elif isinstance(asked, list):
            assert len(asked) == len(given), where
            for number, (one, other) in enumerate(zip(asked, given, strict=True)):
                check(one, other, f"{where}[{number}]")
        else:
            assert asked == given, where

    check(DASHBOARD, again, "dashboard")


# --- a real Prometheus


def prometheus_config(host: Host) -> str:
    """The example of docs/metrics.md, with the test's target, token and pace."""
    (example,) = re.findall(r"```yaml\n(scrape_configs:\n.*?)```", PAGE, re.DOTALL)
    example = example.replace("127.0.0.1:8188", f"127.0.0.1:{host.port}")
    example = example.replace("    # authorization:\n", "    authorization:\n")
    example = example.replace("    #   credentials: <the token>", f"      credentials: {TOKEN}")
    assert "<" not in example
    return f"global:\n  scrape_interval: 1s\n{example}"


class Prometheus:
    """A real Prometheus server on loopback that scrapes one host every second."""

    def __init__(self, base: Path, host: Host) -> None:
        self.config = base / "prometheus.yml"
        self.config.write_text(prometheus_config(host))
        self.log = base / "prometheus.log"
        self.url = f"http://127.0.0.1:{free_port()}"
        self._command = ["prometheus", f"--config.file={self.config}", f"--storage.tsdb.path={base / 'data'}"]
        self._command.append(f"--web.listen-address={self.url.removeprefix('http://')}")

    def start(self) -> "Prometheus":
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT, cwd=self.log.parent)
        return self

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)

    def ask(self, path: str, **query: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
            return json.loads(answer.read())["data"]

    def target(self) -> Any:
        """Our target, once it has been scraped; null before."""
        try:
            (target,) = self.ask("targets")["activeTargets"]
        except (OSError, ValueError):
            return None
        return target if target["health"] != "unknown" else None


def promtool(*arguments: str, text: str = "") -> None:
    done = subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr.strip(), done.stdout + done.stderr


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, Prometheus]]:
    """An embedded host with a token, and the Prometheus that scrapes it."""
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        pytest.skip(NO_PROMETHEUS)
    base = tmp_path_factory.mktemp("prometheus")
    nvml = FakeNvml(build_nvml(base), base / "nvml")
    nvml.says("init 0", card())
    host = Host("embedded", base / "host", env={"RUN_RECORDER_TOKEN": TOKEN, **nvml.env})
    prometheus = Prometheus(base, host.start()).start()
    try:
        yield host, prometheus
    finally:
        prometheus.stop()
        host.stop()


def run_one_of_each(host: Host, folder: str) -> None:
    """A success, the same cached, an error, one that is interrupted, and one that is cancelled."""
    graph = saved(f"{folder}/a", marker={})
    slow = slow_then_saved(f"{folder}/c", 20)
    ids = [host.queue(each) for each in (graph, graph, failing(f"{folder}/b"))]
    for prompt_id in ids:
        host.wait_history(prompt_id)
    running = host.queue(slow)
    waiting = host.queue(saved(f"{folder}/d"))
    host.until(lambda: running in host.queued_ids()[0])
    host.delete_queued(waiting)
    time.sleep(0.2)
    host.interrupt()
    host.wait_history(running)


def test_promtool_finds_nothing_to_say(scraped: tuple[Host, Prometheus]) -> None:
    host, prometheus = scraped
    run_one_of_each(host, "promtool")
    promtool("check", "config", str(prometheus.config))
    reply = host.request("GET", "/telemetry/metrics", headers=bearer())
    promtool("check", "metrics", text=reply.body)


def test_a_real_prometheus_scrapes_us_and_the_dashboard_has_its_data(scraped: tuple[Host, Prometheus]) -> None:
    host, prometheus = scraped
    target = host.until(prometheus.target, 30, 0.2)
    assert target["health"] == "up", target["lastError"]
    for number in range(3):
        run_one_of_each(host, f"prometheus{number}")
        time.sleep(1.5)
    metadata = prometheus.ask("metadata")
    for name, (kind, _) in documented().items():
        (told,) = metadata.get(name) or metadata[name.removesuffix("_total")]
        assert told["type"] == kind, name
        assert told["help"], name
    for expression in expressions():
        found = prometheus.ask("query", query=expression)["result"]
        assert found, expression
        values = [series["value"][1] for series in found]
        assert not [value for value in values if value in ("NaN", "+Inf")], (expression, values)
    ended = prometheus.ask("query", query="comfyui_prompts_total")["result"]
    counts = {series["metric"]["status"]: float(series["value"][1]) for series in ended}
    assert all(counts[status] >= 3 for status in ("success", "error", "interrupted", "cancelled")), counts
    for alert in re.findall(r"```promql\n(.*?)```", PAGE, re.DOTALL)[0].splitlines():
        assert isinstance(prometheus.ask("query", query=alert)["result"], list), alert
    target = prometheus.target()
    assert target["health"] == "up", target["lastError"]
    assert target["lastError"] == ""
    told = [line for line in prometheus.log.read_text("utf-8", "replace").splitlines() if "level=info" not in line]
    assert told == []
