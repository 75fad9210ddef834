"""What is looked at before a run: each check with what was found, and what to do about it."""

from __future__ import annotations

import asyncio
import copy
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..client.comfy_client import ComfyClient
from ..client.errors import ServerError
from ..client.outputs import OutputFile
from ..client.outside import Outside
from .disk import output_folder
from .graph_check import Judgement, Kind, class_of, files_of, judge
from .health import check_health
from .keyframes import KeyframeError, check_keyframe
from .llm_settings import LlmSettings
from .patching import OUR_NODE, Mapped
from .replacements import with_replacements
from .run_folder import to_json, write_together
from .scene_graph import STANDING_IN
from .story import Story
from .workflow import unknown_classes

Status = Literal["passed", "warning", "failed"]
GIB, MIB = 2**30, 2**20
LEAST_ROOM, FAIR_ROOM = 100 * MIB, 2 * GIB
LEAST_FREE_VRAM = 0.1
"""Of all of it: less is a warning, since something else is using the card."""
MOST_SKEW_SECONDS = 5.0
GET_PACKS = "install the node packs that bring them, or mend the workflow"
GET_MODELS = "put the files into the server's models or input folder, or choose others"
GET_SAVER = "add a node that saves or shows something, Save Image for one"
MEND = "mend the workflow in ComfyUI, and export it again in API format"
ELSEWHERE = "choose another folder"
NO_OUTPUT = "no node of the graph is an output: the server would refuse it"
KINDS: tuple[Kind, ...] = ("input", "value")
MAPPING = ("node classes", "inputs", "models", "mapping", "graph", "keyframes")
STATUS = ("server", "recorder", "queue", "clock", "gpu", "outputs")
"""Which checks go into `mapping-preflight` and into `comfyui-status`; all are in `check-preflight.log`."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check."""

    name: str
    status: Status
    found: str
    advice: str | None = None
    """What to do about it; null where nothing is to be done."""


async def preflight(
    client: ComfyClient,
    graphs: Sequence[Mapping[str, Any]],
    *,
    template: Mapping[str, Any] | None = None,
    mapping: list[Mapped] | None = None,
    story: Story | None = None,
    llm: LlmSettings | None = None,
    output: Path,
    allow_partial: bool = False,
    allow_some: bool = False,
) -> list[Check]:
    """Every check of one server. Raises nothing of the server's: what it doesn't answer is a check.

    `graphs` are what will be queued, perhaps nothing, `template` is what they were made of, `output` where files are
    collected to. With `allow_partial` a graph of which the server would run a part is a warning,
    with `allow_some` one that it would refuse while it takes another: that scene alone fails.
    """
    try:
        stats = await client.system_stats()
    except ServerError as error:
        advice = "start ComfyUI, or say where it is with --comfyui URL"
        return [Check("server", "failed", str(error), advice), _room(output, story)]
    checks = [_server(client.url, stats)]
    looks = [_recorder(client, graphs), _queue(client), _clock(client), _outputs(client, stats)]
    if graphs:
        judged = _graphs(
            client,
            graphs,
            template,
            with_story=story is not None,
            allow_partial=allow_partial,
            allow_some=allow_some,
        )
        looks.insert(0, judged)
    for look in looks:
        try:
            checks += await look
        except ServerError as error:
            checks.append(went_away(error))
    if mapping is not None:
        checks.append(Check("mapping", "passed", f"{len(mapping)} inputs are mapped"))
    checks.append(await _gpu(client))
    checks.append(_room(output, story))
    if llm is not None:
        checks.append(await _llm(llm))
    return checks


def went_away(error: ServerError) -> Check:
    """What becomes of a check that the server doesn't answer, though it answered before."""
    return Check("server", "failed", str(error), "the server went away while it was being checked")


def _server(url: str, stats: Mapping[str, Any]) -> Check:
    system = stats.get("system")
    version = system.get("comfyui_version") if isinstance(system, dict) else None
    return Check("server", "passed", f"ComfyUI {version or 'of an unknown version'} at {url}")


# ---------------------------------------------------------------- the graph


async def _graphs(
    client: ComfyClient,
    graphs: Sequence[Mapping[str, Any]],
    template: Mapping[str, Any] | None,
    *,
    with_story: bool,
    allow_partial: bool,
    allow_some: bool,
) -> list[Check]:
    infos = await client.node_infos()
    if not infos:
        advice = "the graph is checked by the server when it is queued"
        return [Check("node classes", "warning", "the server does not say which node classes it has", advice)]
    first = graphs[0]
    if any(unknown_classes(graph, infos) for graph in graphs):
        replacements = await client.replacements()
        graphs = [with_replacements(graph, infos, replacements) for graph in graphs]
    if template is not None and not with_story:
        graphs = [_with_defaults(graph, infos, template) for graph in graphs]
    unknown = [line for graph in graphs for line in unknown_classes(graph, infos)]
    judged = [await _judge(client, graph, infos, template) for graph in graphs]
    count = len({node.get("class_type") for node in first.values()})
    classes = _check(
        "node classes", unknown, f"all {count} classes of the graph's {len(first)} nodes are there", GET_PACKS
    )
    if not unknown and not all(one.outputs for one in judged):
        classes = Check("node classes", "failed", NO_OUTPUT, GET_SAVER)
    bad: Status = "failed"
    if allow_partial and all(len(one.refused) < len(one.outputs) for one in judged):
        bad = "warning"
    if allow_some and any(one.outputs and not one.faults for one in judged):
        bad = "warning"
    wrong = {kind: [str(one) for found in judged for one in found.faults if one.kind == kind] for kind in KINDS}
    inputs = _check("inputs", wrong["input"], "every input that an output needs is there and good", MEND, bad)
    doubts = [doubt for one in judged for doubt in one.doubts]
    if doubts and inputs.status == "passed":
        inputs = _check("inputs", doubts, "", MEND, "warning")
    return [
        classes,
        inputs,
        _check("models", wrong["value"], "every file and choice that the graph names is there", GET_MODELS, bad),
    ]


def _with_defaults(
    graph: Mapping[str, Any], infos: Mapping[str, Any], template: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The graph with the node's own defaults for numbers that a scene is to give: without a story none is known."""
    changed = copy.deepcopy(dict(graph))
    for node_id, node in changed.items():
        asked = template.get(node_id)
        before, given = (asked.get("inputs") if isinstance(asked, dict) else None), node.get("inputs")
        if not isinstance(before, dict) or not isinstance(given, dict):
            continue
        for one in class_of(changed, infos, node_id).inputs(given).values():
            value = given.get(one.name)
            if isinstance(value, int) and before.get(one.name) != value and "default" in one.more:
                given[one.name] = one.more["default"]
    return changed


async def _judge(
    client: ComfyClient, graph: Mapping[str, Any], infos: Mapping[str, Any], template: Mapping[str, Any] | None
) -> Judgement:
    """What the server would say of a graph. The files that it doesn't list are asked for, each once."""
    files: dict[str, bool] = {}
    for node_id, name, value in files_of(graph, infos):
        if not _is_made_later(template, node_id, name, value) and value not in files:
            files[value] = await client.has_input(value)
    return judge(graph, infos, files)


def _is_made_later(template: Mapping[str, Any] | None, node_id: str, name: str, value: str) -> bool:
    """Whether a scene's picture stands there, which is uploaded before its prompt is queued."""
    asked = template.get(node_id) if template is not None else None
    inputs = asked.get("inputs") if isinstance(asked, dict) else None
    before = inputs.get(name) if isinstance(inputs, dict) else None
    return before != value and STANDING_IN in value


def _check(name: str, wrong: list[str], good: str, advice: str, bad: Status = "failed") -> Check:
    if wrong:
        return Check(name, bad, "; ".join(dict.fromkeys(wrong)), advice)
    return Check(name, "passed", good)


# ---------------------------------------------------------------- the server


async def _recorder(client: ComfyClient, graphs: Sequence[Mapping[str, Any]]) -> list[Check]:
    if await client.has_recorder():
        return [Check("recorder", "passed", "Run Recorder is on the server: ends and markers are told at once")]
    ours = any(node.get("class_type") == OUR_NODE for graph in graphs for node in graph.values())
    found = "Run Recorder is not on the server: its ends are heard by the web socket and the history"
    advice = "install it there, or take the Write Done Marker out of the graph" if ours else "install it there for more"
    return [Check("recorder", "warning", found, advice)]


async def _queue(client: ComfyClient) -> list[Check]:
    waiting = len(await client.queued())
    if waiting:
        return [Check("queue", "warning", f"{waiting} other prompts run or wait there", "they come first")]
    return [Check("queue", "passed", "the queue is empty")]


async def _clock(client: ComfyClient) -> list[Check]:
    skew = await client.clock_skew()
    if skew is None:
        return [Check("clock", "warning", "the server does not say what time it has")]
    if abs(skew) > MOST_SKEW_SECONDS:
        way = "ahead of" if skew > 0 else "behind"
        found = f"the server's clock is {abs(skew):.0f} s {way} ours"
        return [Check("clock", "warning", found, "set both by NTP: times of files and records are compared")]
    return [Check("clock", "passed", "the clocks agree")]


async def _outputs(client: ComfyClient, stats: Mapping[str, Any]) -> list[Check]:
    """How files would be had: whether `/view` answers, and whether the server's folder is on this machine."""
    folder = await asyncio.to_thread(output_folder, client.url, stats)
    await client.files.stat(OutputFile("no-such-file.png", ""))
    if folder is not None:
        return [Check("outputs", "passed", "files are copied from the server's own folder, once it is proved to be it")]
    return [Check("outputs", "passed", "files are fetched by /view")]


async def _gpu(client: ComfyClient) -> Check:
    seen = await asyncio.to_thread(Outside(client.url, client.headers).look)
    device = seen.device
    if device is None:
        return Check(
            "gpu", "warning", "nothing says which device the server computes on", "; ".join(seen.notes) or None
        )
    free, total = device.vram_free_bytes, device.vram_total_bytes
    if device.type == "cpu" or not total or free is None:
        return Check("gpu", "warning", f"the server computes on {device.name}", "renders by a processor take long")
    found = f"{device.name}: {free / GIB:.1f} of {total / GIB:.1f} GiB of VRAM are free"
    if free < total * LEAST_FREE_VRAM:
        return Check("gpu", "warning", found, "something else uses the card; ComfyUI may run out of memory")
    return Check("gpu", "passed", found)


async def _llm(settings: LlmSettings) -> Check:
    health = await check_health(settings)
    if health.Skipped:
        return Check("llm", "passed" if settings.url is None else "warning", f"not checked: {health.SkipReason}")
    if health.Status == "success":
        return Check("llm", "passed", f"{health.Models} models at {health.Url}")
    return Check("llm", "failed", f"{health.Url}: {health.Error}", "start it, or set LOCAL_STORY_PROVIDER_URL")


# ---------------------------------------------------------------- here


def _room(output: Path, story: Story | None) -> Check:
    folder = output.absolute()
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    if not os.path.isdir(folder):  # noqa: PTH112  unlike Path.is_dir it never raises
        return Check("disk", "failed", f"{folder} is no folder", ELSEWHERE)
    if not os.access(folder, os.W_OK | os.X_OK):
        return Check("disk", "failed", f"{folder} may not be written", ELSEWHERE)
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Check("disk", "failed", f"{folder}: {error.strerror or error}", ELSEWHERE)
    frames = sum(scene.expected_frames or 1 for scene in story.scenes) if story is not None else 0
    found = f"{free / GIB:.1f} GiB are free for {frames} frames" if frames else f"{free / GIB:.1f} GiB are free"
    if free < LEAST_ROOM:
        return Check("disk", "failed", f"{folder}: {found}", "make room, or choose another disk")
    if free < FAIR_ROOM:
        return Check("disk", "warning", f"{folder}: {found}", "it may become too little")
    return Check("disk", "passed", found)


def given_keyframes(story: Story) -> Check:
    """Whether every picture that a story gives can be read as one."""
    wrong = []
    for scene in story.scenes:
        if scene.keyframe:
            try:
                check_keyframe(Path(scene.keyframe), scene.id)
            except KeyframeError as error:
                wrong.append(str(error))
    count = sum(bool(scene.keyframe) for scene in story.scenes)
    return _check("keyframes", wrong, f"all {count} pictures can be read", "mend the story's paths or the files")


# ---------------------------------------------------------------- what is left of it


def lines(checks: list[Check]) -> list[str]:
    """The checks as text, one a line."""
    return [f"{one.name}: {one.status}: {one.found}" + (f" -> {one.advice}" if one.advice else "") for one in checks]


def write_preflight(checks: list[Check], results_folder: Path) -> None:
    """Write the checks into a run's `test-results/`. Raises OSError."""
    files: dict[Path, str] = {}
    for name, of in (("mapping-preflight", MAPPING), ("comfyui-status", STATUS)):
        some = [one for one in checks if one.name in of]
        passed = not any(one.status == "failed" for one in some)
        document = {"Passed": passed, "Checks": [asdict(one) for one in some]}
        files[results_folder / f"{name}.json"] = to_json(document)
        files[results_folder / f"{name}.log"] = "\n".join(lines(some)) + "\n"
    files[results_folder / "check-preflight.log"] = "\n".join(lines(checks)) + "\n"
    write_together(files)
