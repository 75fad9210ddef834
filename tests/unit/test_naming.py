"""What a prompt is called, by the best that is known of it."""

import pytest
from run_recorder.telemetry.markers.outputs import ReportedFile
from run_recorder.telemetry.models.naming import called_by_graph, name_of
from run_recorder.telemetry.models.prompt import Batch
from run_recorder.telemetry.models.record import PromptRecord


def record(**more: object) -> PromptRecord:
    return PromptRecord("3f1c7a52-0000-4000-8000-000000000000", 1, "instance", **more)  # type: ignore[arg-type]


def saver(prefix: object, kind: str = "SaveImage") -> dict[str, object]:
    return {"class_type": kind, "inputs": {"filename_prefix": prefix}}


FILE = ReportedFile("9", "hero_00001_.png", "shot/a", "output")
BATCH = Batch(run_id="20260801-101112", scene_id="scene-007")


def test_the_workflows_own_name_is_the_best() -> None:
    assert name_of(record(workflow_name="flux", batch=BATCH, outputs=[FILE], called="x")) == "flux"


def test_then_comes_the_scene_with_its_run() -> None:
    assert name_of(record(batch=BATCH, outputs=[FILE], called="x")) == "scene-007 · 20260801-101112"
    assert name_of(record(batch=Batch(run_id="r"), outputs=[FILE])) == "r"
    assert name_of(record(batch=Batch(attempt=1), outputs=[FILE])) == "shot/a/hero"


@pytest.mark.parametrize(
    ("filename", "subfolder", "name"),
    [
        ("hero_00001_.png", "", "hero"),
        ("hero_00001_.png", "shot\\a", "shot/a/hero"),
        ("hero_00001_.png", "/srv/secret", "hero"),
        ("hero_00001_.png", "C:/secret", "hero"),
        ("hero_00001_.png", "../secret", "hero"),
        ("final.png", "", "final"),
    ],
)
def test_then_the_prefix_of_the_first_output_without_a_folder_of_the_server(
    filename: str, subfolder: str, name: str
) -> None:
    assert name_of(record(outputs=[ReportedFile("9", filename, subfolder, "output")], called="x")) == name


def test_a_preview_is_no_output_that_names_a_prompt() -> None:
    assert name_of(record(outputs=[ReportedFile("9", "t_00001_.png", "", "temp"), FILE])) == "shot/a/hero"


def test_an_id_is_never_the_name() -> None:
    assert name_of(record()) is None


@pytest.mark.parametrize(
    ("graph", "accepted", "called"),
    [
        ({"1": saver("shot/a")}, {"1"}, "shot/a"),
        ({"1": saver("%date:yyyy%/a")}, {"1"}, "SaveImage"),
        ({"1": saver("/etc/a")}, {"1"}, "SaveImage"),
        ({"1": saver(["4", 0], "SaveVideo")}, {"1"}, "SaveVideo"),
        ({"1": {"class_type": "PreviewImage"}, "2": {"class_type": "SaveEXR"}}, {"1", "2"}, "SaveEXR"),
        ({"1": {"class_type": "SaveEXR"}, "2": {"class_type": "WriteDoneMarker"}}, {"1", "2"}, "SaveEXR"),
        ({"1": {"class_type": "Refused"}, "2": "no node"}, set(), None),
        ({}, set(), None),
    ],
)
def test_before_anything_is_saved_the_graph_says_it(graph: dict, accepted: set, called: str | None) -> None:
    literals = {
        key: node["inputs"]["filename_prefix"]
        for key, node in graph.items()
        if isinstance(node, dict) and isinstance(node.get("inputs", {}).get("filename_prefix"), str)
    }
    assert called_by_graph(graph, frozenset(accepted), literals) == called
