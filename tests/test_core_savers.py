"""A graph with every saver of ComfyUI's own that needs no model, as this host's /object_info tells them."""

import json
import os
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from run_recorder.sentinel.options import Options
from run_recorder.sentinel.service import Sentinel

from .graphs import Graph, Link
from .hosts import Host

NEEDS_A_MODEL = {"MODEL", "CLIP", "VAE", "CLIP_VISION", "LORA_MODEL"}


class Sources:
    """Adds to a graph, once each, the nodes that make what savers take."""

    def __init__(self, graph: Graph, host: Host) -> None:
        self.graph = graph
        self.host = host
        self.made: dict[str, Link] = {}

    def make(self, type_name: str) -> Link | None:
        if type_name not in self.made:
            link = self._add(type_name)
            if link is None:
                return None
            self.made[type_name] = link
        return self.made[type_name]

    def _add(self, type_name: str) -> Link | None:
        graph, first = self.graph, type_name.split(",")[0]
        if first == "IMAGE":
            return graph.image(batch_size=2, width=64, height=64)
        if first == "LATENT":
            return graph.add("EmptyLatentImage", width=64, height=64, batch_size=1)
        if first == "AUDIO" and self.host.node_class("EmptyAudio"):
            return graph.add("EmptyAudio", duration=0.2, sample_rate=44100, channels=2)
        if first == "VIDEO":
            return graph.add("CreateVideo", images=self.make("IMAGE"), fps=8.0)
        if first == "STRING":
            return graph.add("ProbeString", text="some text")
        if first == "SVG":
            return graph.add("ProbeSVG")
        if first == "MESH":
            return graph.add("ProbeMesh")
        if first.startswith("FILE_3D"):
            extension = "ply" if "PLY" in type_name else "glb"
            return graph.add("ProbeFile3D", extension=extension)
        return None


def filled(required: dict[str, Any], sources: Sources, prefix: str, above: str = "") -> dict[str, Any] | None:
    """Inputs for a saver: links, defaults, first choices. None where something can't be made."""
    inputs: dict[str, Any] = {}
    for name, spec in required.items():
        type_name, options = spec[0], (spec[1] if len(spec) > 1 else {})
        if name == "filename_prefix":
            inputs[name] = prefix
        elif type_name == "COMFY_DYNAMICCOMBO_V3":
            chosen = options["options"][0]
            deeper = filled(chosen["inputs"].get("required", {}), sources, prefix, f"{above}{name}.")
            if deeper is None:
                return None
            inputs |= {f"{above}{name}": chosen["key"], **deeper}
        elif isinstance(type_name, list) or type_name == "COMBO":
            choices = type_name if isinstance(type_name, list) else options["options"]
            inputs[above + name] = options.get("default", choices[0])
        elif type_name == "LOAD_3D":
            inputs[above + name] = {}
        elif "default" in options and not options.get("forceInput"):
            inputs[above + name] = options["default"]
        else:
            link = sources.make(type_name)
            if link is None:
                return None
            inputs[above + name] = link
    return inputs


def core_savers(host: Host) -> dict[str, dict[str, Any]]:
    """ComfyUI's own output nodes with a prefix that need no model, deprecated ones too."""
    found = {}
    for name, node in host.get("/object_info")[1].items():
        required = node["input"].get("required", {})
        types = {str(spec[0]) for spec in (*required.values(), *node["input"].get("optional", {}).values())}
        core = "custom_nodes" not in node.get("python_module", "") and not node.get("api_node")
        if node["output_node"] and core and "filename_prefix" in required and not types & NEEDS_A_MODEL:
            found[name] = required
    return {name: required for name, required in found.items() if "folder_name" not in required}


def grouped_from_outside(files: Path, copy: Path) -> dict[str, set[str]]:
    """The markers that the sentinel makes of the same files, by their names alone: by prefix the files listed."""
    shutil.copytree(files, copy, ignore=shutil.ignore_patterns("*.done"))
    for path in copy.rglob("*"):
        os.utime(path, (0, 0))
    Sentinel([copy], Options()).once()
    found = {path.relative_to(copy): json.loads(path.read_text("utf-8")) for path in copy.rglob("*.done")}
    return {path.with_suffix("").as_posix(): {file["Name"] for file in told["Files"]} for path, told in found.items()}


def test_every_core_saver_is_recorded_and_marked(host: Host, folder: str, figures: list[str], tmp_path: Path) -> None:
    graph = Graph()
    sources = Sources(graph, host)
    prefixes: dict[str, str] = {}
    for name, required in core_savers(host).items():
        inputs = filled(required, sources, f"{folder}/{name}/x_{name}")
        if inputs is not None:
            (node_id, _) = graph.add(name, **inputs)
            prefixes[node_id] = f"{folder}/{name}/x_{name}"
    if host.kind == "embedded" and len(prefixes) < 2:
        pytest.skip("the embedded host has one saver; its own tests and the others here have that")
    if host.node_class("ImageCompare"):
        sources.make("IMAGE")
    graph.marker()
    status, body = host.post(graph)
    assert status == 200, body
    assert body["node_errors"] == {}
    record = host.wait(body["prompt_id"])
    assert record["status"] == "success", record["error"]
    savers = {node_id: graph[node_id]["class_type"] for node_id in prefixes}
    figures.append(f"{host.kind}: {len(savers)} core savers: {', '.join(sorted(savers.values()))}")

    on_disk = {p.relative_to(host.output).as_posix() for p in host.path(folder).rglob("*") if p.is_file()}
    files = {name for name in on_disk if not name.endswith(".done")}
    outputs = {(f"{o['subfolder']}/{o['filename']}", o["node_id"], o["type"]) for o in record["outputs"]}
    told = {(name, node_id) for name, node_id, kind in outputs if kind != "temp"}
    silent = {node_id for node_id, name in savers.items() if name == "DemoSilentSaver"}
    assert {name for name, _ in told} == files
    for name, node_id in told:
        if node_id is not None:
            assert PurePosixPath(name).is_relative_to(PurePosixPath(prefixes[node_id]).parent), savers[node_id]
    assert {node_id for _, node_id in told if node_id} == set(prefixes) - silent, "a saver's files are missing"

    for node_id, prefix in prefixes.items():
        marker = host.marker(f"{prefix}.done")
        names = {f"{PurePosixPath(prefix).parent}/{file['Name']}" for file in marker["Files"]}
        folder_of_saver = f"{PurePosixPath(prefix).parent}/"
        assert names == {name for name, _ in told if name.startswith(folder_of_saver)} != set(), savers[node_id]
        assert marker["Status"] == "success"
        assert marker["Notes"] == [], savers[node_id]
    assert {name for name in on_disk if name.endswith(".done")} == {f"{p}.done" for p in prefixes.values()}
    assert sorted(m["status"] for m in record["markers"]) == ["success"] * len(prefixes)

    from_outside = grouped_from_outside(host.path(folder), tmp_path / "copy")
    assert {f"{folder}/{prefix}" for prefix in from_outside} == set(prefixes.values())
    for prefix, names in from_outside.items():
        listed = {file["Name"] for file in host.marker(f"{folder}/{prefix}.done")["Files"]}
        assert names == listed, prefix
