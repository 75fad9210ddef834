"""Documentation that can't fall behind: what the code has is in the pages."""

import importlib
import json
import re
import subprocess
import sys

import pytest
from run_recorder.runner.llm_settings import LlmSettings
from run_recorder.telemetry.process.settings import NAMES

from .hosts import REPO
from .problem_names import Source

DOCS = REPO / "docs"
ENVIRONMENT_VARIABLE = re.compile(r"\b(?:RUN_RECORDER|COMFYUI|LOCAL_LLM|LOCAL_STORY)_[A-Z][A-Z_]+\b")
NOT_SETTINGS = {"COMFYUI_DIR", "COMFYUI_VERSION"}


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def source() -> str:
    """The package's own code: what documentation must not fall behind."""
    packages = [init.parent for init in REPO.glob("*/__init__.py") if init.parent.name not in ("tests", "benchmarks")]
    paths = [*REPO.glob("*.py"), *(path for package in packages for path in package.rglob("*.py"))]
    return "\n".join(path.read_text("utf-8") for path in sorted(paths))


def routes():
    return importlib.import_module("run_recorder.server_routes.table").ROUTES


def test_every_route_and_each_of_its_parameters_is_in_the_docs() -> None:
    text = page("http-api.md")
    for route in routes():
        assert f"{route.method} /telemetry{route.path}" in text, (route.method, route.path)
        for name in route.parameters.model_fields:
            assert f"`{name}`" in text, (route.path, name)


def test_every_route_is_in_the_readme() -> None:
    readme = (REPO / "README.md").read_text("utf-8")
    for route in routes():
        assert f"/telemetry{route.path}" in readme, route.path


def test_every_model_and_each_of_its_fields_is_in_the_docs() -> None:
    documents = importlib.import_module("run_recorder.server_routes.documents")
    text = page("http-api.md") + page("done-marker.md") + page("runner.md")
    for name, model in documents.SCHEMAS.items():
        assert f"`{name}`" in text, name
        if name == "batch":
            continue  # named as a whole
        for field in model.model_fields:
            assert f"`{field}`" in text or f'"{field}"' in text, (name, field)


def test_every_command_and_each_of_its_options_is_in_the_docs() -> None:
    typer = importlib.import_module("typer")
    application = importlib.import_module("run_recorder.commands.application")
    text = page("cli.md")

    def walk(command, words):
        children = getattr(command, "commands", None)
        if children:
            for name, child in children.items():
                walk(child, [*words, name])
            return
        assert " ".join(words) in text, words
        for parameter in command.params:
            for option in [*parameter.opts, *parameter.secondary_opts]:
                if option.startswith("--") and option != "--help":
                    assert option in text, (words, option)

    walk(typer.main.get_command(application.app), ["run-recorder"])


def test_every_setting_is_in_the_docs() -> None:
    of_the_model = {str(field.alias) for field in LlmSettings.model_fields.values()}
    named = set(ENVIRONMENT_VARIABLE.findall(source())) - NOT_SETTINGS
    assert {"RUN_RECORDER_TOKEN", "LOCAL_LLM_SEED"} <= NAMES | of_the_model
    text = page("cli.md")
    assert not [name for name in sorted(named | NAMES | of_the_model) if f"`{name}`" not in text]
    of_comfyui = {name for name in named if name.startswith("RUN_RECORDER_") and not name.endswith("_")}
    assert of_comfyui <= NAMES, "telemetry/process/settings.py has every setting"


def test_every_seam_is_in_the_docs() -> None:
    seams = importlib.import_module("run_recorder.comfyui_host.seams")
    text = page("comfyui-host.md")
    assert not [seam for seam in seams.COSTS if f"`{seam}`" not in text]


def test_every_metric_and_each_of_its_labels_is_in_the_docs() -> None:
    core = importlib.import_module("run_recorder.telemetry.live.metrics")
    cost = importlib.import_module("run_recorder.telemetry.process.cost").RecordCost()
    problems = importlib.import_module("run_recorder.telemetry.process.problems").Problems()
    record = importlib.import_module("run_recorder.telemetry.models.record")
    metrics = core.Metrics(lambda: (0, 0), problems, cost)
    gpu = importlib.import_module("run_recorder.telemetry.gpu.metrics")
    sampler = importlib.import_module("run_recorder.telemetry.gpu.sampler")
    metrics.registry.register(gpu.GpuMetrics(lambda: None, sampler.ModelCounts()))
    problems.report("a test", "so that it has a series")
    metrics.ended(record.PromptRecord("p", 1, "i", status="success"), [record.NodeRecord(0, "1", duration_seconds=1.0)])
    text = page("metrics.md")
    for family in metrics.registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` | {family.type} |")]
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert all(f"`{label}`" in row for label in labels), name
        assert all(
            f"`{status}`" in row
            for sample in family.samples
            for key, status in sample.labels.items()
            if key in ("status", "state", "cached")
        ), name


def test_every_benchmark_is_in_the_docs() -> None:
    programs = [path.name for path in (REPO / "benchmarks").glob("*.py") if not path.name.startswith("_")]
    assert programs
    assert not [name for name in programs if f"benchmarks/{name}" not in page("testing.md")]


def test_the_fallback_notes_of_the_docs_are_those_of_the_one_module_that_gives_them() -> None:
    outside = importlib.import_module("run_recorder.client.outside")
    said = {head.format(when=" before execution") for head in (outside.UNAVAILABLE, outside.NO_VRAM)}
    said |= {head + outside.USED_SMI for head in said}
    assert set(re.findall(r"^\| `(/system_stats [^`]*)`", page("gpu.md"), re.MULTILINE)) == said
    places = [
        path.name for path in (REPO / "client").rglob("*.py") if "/system_stats unavailable" in path.read_text("utf-8")
    ]
    assert places == ["outside.py"]
    assert source().count("/system_stats unavailable") == 1


def test_the_markers_fields_and_inputs_are_those_of_the_node() -> None:
    text = page("nodes.md")
    graph = json.loads((REPO / "example_workflows" / "done_marker.json").read_text("utf-8"))
    (node,) = [node for node in graph["nodes"] if node["type"] == "WriteDoneMarker"]
    for name in [slot["name"] for slot in node["inputs"]]:
        assert f"`{name}`" in text, name


def test_links_between_pages_lead_somewhere() -> None:
    for path in [REPO / "README.md", *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text("utf-8")):
            assert (path.parent / target).exists(), (path.name, target)


@pytest.mark.parametrize("marker", ["demo", "tests"])
def test_the_readmes_commands_are_one_line_each(marker: str) -> None:
    readme = (REPO / "README.md").read_text("utf-8")
    (block,) = re.findall(rf"<!-- {marker} -->\n```sh\n(.*?)```", readme, re.DOTALL)
    assert len(block.strip().splitlines()) == 1


LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as its hosts make them."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-"))
    return found


@pytest.mark.parametrize(
    "name", sorted(str(path.relative_to(REPO)) for path in [*DOCS.glob("*.md"), REPO / "README.md"])
)
def test_every_link_leads_somewhere(name: str) -> None:
    path = REPO / name
    text = re.sub(r"```[\s\S]*?```", "", path.read_text("utf-8"))
    wrong = []
    for target in (first or second for first, second in LINK.findall(text)):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        place = (path.parent / file).resolve() if file else path
        if not place.exists() or (anchor and anchor not in anchors(place.read_text("utf-8"))):
            wrong.append(target)
    assert not wrong


def test_the_site_is_built_and_has_every_page(tmp_path) -> None:
    pytest.importorskip("material")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "-q",
        "--strict",
        "-f",
        str(REPO / "mkdocs.yml"),
        "-d",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {path.stem for path in DOCS.glob("*.md")} - {"README"}
    assert pages <= {path.name for path in tmp_path.iterdir() if path.is_dir()}


PROBLEM_HEADING = re.compile(r"^### (.*)$", re.MULTILINE)


def test_every_problem_that_health_can_name_is_in_the_docs() -> None:
    text = page("troubleshooting.md")
    headings = {name for heading in PROBLEM_HEADING.findall(text) for name in re.findall(r"`([^`]+)`", heading)}
    beginnings = tuple(name.partition("<")[0] for name in headings if "<" in name)
    found = Source().problems()
    assert {"store", "route ", "setting RUN_RECORDER_TOKEN"} <= {name.text for name in found}
    missing = [
        name.text
        for name in found
        if name.text not in (headings if name.is_whole else beginnings)
        and not (name.is_whole and name.text.startswith(beginnings))
    ]
    assert missing == []
    whole = {name.text for name in found if name.is_whole}
    begun = {name.text for name in found if not name.is_whole}
    stale = [name for name in headings if "<" not in name and name not in whole]
    stale += [one for one in beginnings if one not in begun and not any(name.startswith(one) for name in whole)]
    assert stale == [], "nothing reports these"
    assert not [name for name in NAMES if f"| `setting {name}` |" not in text]


def test_each_problem_in_the_docs_says_what_it_means_costs_and_needs() -> None:
    parts = PROBLEM_HEADING.split(page("troubleshooting.md"))
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        assert re.findall(r"^- \*\*(\w+):\*\*", body, re.MULTILINE) == ["Means", "Costs", "Do"], heading


def test_each_file_of_the_embedded_host_and_the_module_that_it_stands_for_is_in_its_table() -> None:
    rows = re.findall(r"^\| `(\w+\.py)` \|(.*?)\| \S.* \|$", page("embedded-host.md"), re.MULTILINE)
    assert [name for name, _ in rows] == sorted(path.name for path in (REPO / "embedded_host").glob("*.py"))
    modules = importlib.import_module("run_recorder.embedded_host.modules").NAMES
    stands_for = {name: module.__name__.rpartition(".")[2] for name, module in modules.items()}
    told = {module: name.removesuffix(".py") for name, cell in rows for module in re.findall(r"`([\w.]+)`", cell)}
    assert {module: told.get(module) for module in stands_for} == stands_for
