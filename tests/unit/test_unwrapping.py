"""The graph is found in what people and services put around it, or the message says where it is."""

import json
from pathlib import Path
from typing import Any

import pytest
from run_recorder.runner.workflow import WorkflowError, read_workflow

GRAPH: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 16}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "w/a"}},
}
TEXT = json.dumps(GRAPH)
EDITOR = {"nodes": [{"id": 1, "type": "EmptyImage"}], "links": [], "version": 0.4}

FOUND: dict[str, Any] = {
    "bare": GRAPH,
    "request": {"prompt": GRAPH},
    "request with a client": {"prompt": GRAPH, "client_id": "x"},
    "request with all": {"prompt": GRAPH, "client_id": "x", "prompt_id": "abc", "number": 3, "front": True},
    "request with extra data": {"prompt": GRAPH, "extra_data": {"extra_pnginfo": {"workflow": EDITOR}}},
    "request of a part": {"prompt": GRAPH, "partial_execution_targets": ["2"]},
    "request as text": {"prompt": TEXT},
    "metadata of a picture": {"prompt": GRAPH, "workflow": EDITOR},
    "metadata of a picture as texts": {"prompt": TEXT, "workflow": json.dumps(EDITOR)},
    "metadata of a video": {"comment": json.dumps({"prompt": TEXT, "workflow": json.dumps(EDITOR)})},
    "metadata by ffprobe": {"format": {"tags": {"prompt": TEXT, "workflow": json.dumps(EDITOR)}}},
    "metadata in capitals": {"Prompt": TEXT, "Workflow": json.dumps(EDITOR)},
    "what the editor's graphToPrompt gives": {"output": GRAPH, "workflow": EDITOR},
    "RunPod": {"input": {"workflow": GRAPH}},
    "RunPod with pictures": {"input": {"workflow": GRAPH, "images": [{"name": "a.png", "image": "data:"}]}},
    "RunPod as text": {"input": {"workflow": TEXT}},
    "RunPod by prompt": {"input": {"prompt": GRAPH}},
    "Salad": {"prompt": GRAPH, "webhook": "http://127.0.0.1/x", "id": "1"},
    "Salad's input": {"input": {"prompt": GRAPH, "id": "x"}},
    "Replicate": {"input": {"workflow_json": TEXT, "randomise_seeds": True}},
    "Modal": {"workflow": GRAPH, "name": "x"},
    "BentoML": {"workflow": GRAPH},
    "ViewComfy": {"workflow_api": GRAPH, "params": {}},
    "fal": {"input": {"workflow": {"prompt": GRAPH}}},
    "ComfyDeploy": {"workflow_api": GRAPH, "workflow": EDITOR, "deployment_id": "x"},
    "a version of ComfyDeploy": {"version": {"workflow_api": GRAPH}},
    "history": {"abc": {"prompt": [0, "abc", GRAPH, {}, ["2"]], "outputs": {}, "status": {}}},
    "history of one": {"prompt": [0, "abc", GRAPH, {}, ["2"]], "outputs": {"2": {"images": []}}},
    "a queue's item": [0, "abc", GRAPH, {"client_id": "x"}, ["2"]],
    "a queue": {"queue_running": [], "queue_pending": [[0, "abc", GRAPH, {}, ["2"]]]},
    "a list of one": [GRAPH],
    "nodes by id": {"id": "x", "revision": 0, "nodes": GRAPH, "links": [], "version": 0.4},
    "a text": TEXT,
    "a text in a text": json.dumps(TEXT),
    "data": {"data": {"attributes": {"graph": GRAPH}}},
    "a list in an object": {"jobs": [{"graph": GRAPH}]},
    "beside the editor's": {"api": GRAPH, "ui": EDITOR},
    "beside texts that are none": {"a": "{", "b": "[not JSON", "prompt": TEXT},
    "a comment beside": {"_comment": "my graph", **GRAPH},
    "a version beside": {"version": 1, "last_node_id": 2, **GRAPH},
    "settings beside": {"extra": {"ds": {"scale": 1}}, **GRAPH},
    "null beside": {"note": None, **GRAPH},
    "a list beside": {"links": [], "groups": [], **GRAPH},
}


def read(tmp_path: Path, content: Any) -> dict[str, Any]:
    path = tmp_path / "w.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return read_workflow(path)


@pytest.mark.parametrize("name", FOUND)
def test_the_graph_is_found(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, FOUND[name]) == GRAPH


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_it_is_read_in_whatever_a_windows_editor_saves(tmp_path: Path, coding: str) -> None:
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(coding, b"")
    assert read(tmp_path, mark + TEXT.encode(coding)) == GRAPH


@pytest.mark.parametrize(
    "ids", [["10:1", "10:2:3"], ["a", "b"], ["1", "node 2"]], ids=["of subgraphs", "letters", "words"]
)
def test_ids_may_be_anything(tmp_path: Path, ids: list[str]) -> None:
    assert list(read(tmp_path, dict(zip(ids, GRAPH.values(), strict=True)))) == ids


@pytest.mark.parametrize(
    "node, kept",
    [
        ({"class_type": "X", "inputs": None}, {}),
        ({"class_type": "X"}, {}),
        ({"class_type": "X", "inputs": {}, "is_changed": [1]}, {}),
        ({"class_type": "X", "inputs": {}, "_meta": "title"}, {}),
        ({"class_type": "X", "inputs": {}, "mode": 4}, {}),
    ],
)
def test_odd_nodes_are_taken_as_they_are(tmp_path: Path, node: dict[str, Any], kept: dict[str, Any]) -> None:
    read_node = read(tmp_path, {**GRAPH, "3": node})["3"]
    assert read_node["inputs"] == kept and read_node["class_type"] == "X"


@pytest.mark.parametrize(
    "content, kind, words",
    [
        ({"a": GRAPH, "b": GRAPH}, "invalid_workflow", "2 graphs, at a, b"),
        ([GRAPH, GRAPH, GRAPH], "invalid_workflow", "3 graphs, at [0], [1], [2]"),
        (
            {name: {"prompt": [0, name, GRAPH, {}, []]} for name in ("x", "y")},
            "invalid_workflow",
            "x.prompt[2], y.prompt[2]",
        ),
        ({"workflow": EDITOR}, "editor_format", "at workflow, a graph in the editor's format"),
        ({"workflow": json.dumps(EDITOR)}, "editor_format", "at workflow"),
        ({"input": {"workflow": EDITOR}}, "editor_format", "at input.workflow"),
        (EDITOR, "editor_format", "is in the editor's format"),
        (
            {**GRAPH, "3": {"inputs": {}, "_meta": {"title": "Missing thing"}}},
            "invalid_workflow",
            "node '3' (Missing thing) has no class_type",
        ),
        ({**GRAPH, "3": None}, "invalid_workflow", "node '3' has no class_type"),
        ({**GRAPH, "3": {"class_type": 5, "inputs": {}}}, "invalid_workflow", "node '3'"),
        ({"scenes": []}, "invalid_workflow", "class_type"),
        ({}, "empty_workflow", "no node"),
        ([], "empty_workflow", "no node"),
        ("once upon a time", "empty_workflow", "no node"),
        (None, "empty_workflow", "no node"),
        (b"// mine\n" + TEXT.encode(), "invalid_workflow", "comments"),
        (TEXT[:-1].encode() + b",}", "invalid_workflow", "commas"),
        (b"\xff\xfe{", "invalid_workflow", "no JSON"),
    ],
)
def test_what_holds_no_graph_or_several_says_so(tmp_path: Path, content: Any, kind: str, words: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        read(tmp_path, content)
    assert caught.value.kind == kind and words in str(caught.value)


def test_a_graph_far_inside_a_large_document_is_not_searched_for_without_end(tmp_path: Path) -> None:
    wide = {str(number): {"a": [0] * 20} for number in range(20_000)}
    with pytest.raises(WorkflowError):
        read(tmp_path, wide)
